import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broken_build import BrokenBuild, break_build
from commands import Run, runner
from peft_folder import write_soft
from tiny_model import Shape, write_model

from rella_cli.views.progress import ProgressBar
from rella_cpp import Cache, EngineError, EngineSettings, Rella
from rella_cpp.engine.machine.amx import build_command
from rella_cpp.engine.machine.processor import Processor
from rella_cpp.engine.trial.probe import REFUSED, STAGES, Job
from rella_cpp.engine.trial.trial import EXTRA_BUFFERS, Trial, describe, found_here, here
from rella_cpp.engine.trial.verdicts import Death, Verdict, Verdicts

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = ("--history", EXAMPLES / "history.json", "--item", EXAMPLES / "item.json")
AT_PROMPTS = "if extra and batch.n_tokens > 1: die()"
Break = Callable[..., BrokenBuild]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Break:
    return lambda **statements: break_build(tmp_path / "site", monkeypatch, **statements)


def test_what_dies_at_a_prompt_is_run_without_the_extra_buffers_and_tried_once(
    broken: Break, run: Run, roomy_model: Path
) -> None:
    build = broken(on_decode=AT_PROMPTS)
    score = ("score", *FILES, "--model", roomy_model)
    first = run(*score)
    assert first.code == 0, first.err
    (warning,) = [line for line in first.err.splitlines() if "WARNING" in line]
    assert "SIGSEGV while reading a prompt of 600 tokens" in warning
    assert (
        "so it runs without extra buffers (repacked weights), which may be slower" in warning
        and "docs/install.md" in warning
    )
    assert build.starts == 2  # as it is, and the safer settings
    again = run(*score, "--threads", "1")  # threads do not count
    assert (again.code, build.starts) == (0, 2) and again.out == first.out
    assert "extra buffers" in again.err
    assert run(*score, "--no-cache").code == 0
    assert build.starts == 2
    assert run(*score, "--ctx", "2048").code == 0
    assert build.starts == 4  # other settings are tried anew


def test_inspect_and_the_version_say_what_was_found(broken: Break, run: Run, roomy_model: Path) -> None:
    broken(on_decode=AT_PROMPTS)
    inspect = ("gguf", "inspect", roomy_model)
    assert "tried here" not in run(*inspect).out and run(*inspect, "--json").lines()[0]["trials"] == []
    assert run("score", *FILES, "--model", roomy_model, "--ctx", "2048").code == 0
    assert "tried here" in (out := run(*inspect).out) and "with ctx 2048: llama.cpp failed on it (SIGSEGV while" in out
    found = run(*inspect, "--json").lines()[0]["trials"]
    assert "'switched_off': {'extra buffers (repacked weights)': {'extra_bufts': False}}" in str(found)
    assert found_here() == found_here(Cache(None).fingerprint(roomy_model)) and found_here("other") == []


def test_a_child_leaves_no_core(broken: Break, roomy_model: Path, tmp_path: Path) -> None:
    limit = tmp_path / "limit"
    broken(on_load=f"import resource; open({str(limit)!r}, 'w').write(str(resource.getrlimit(resource.RLIMIT_CORE)))")
    Rella.from_gguf(roomy_model, cache=Cache(None)).close()
    assert limit.read_text() == "(0, 0)"


def test_what_was_found_is_part_of_what_scores_depend_on(broken: Break, roomy_model: Path) -> None:
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as rella:
        as_it_is = rella.settings()
        assert rella.engine.settings.extra_bufts
    broken(on_decode=AT_PROMPTS)
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as rella:
        found = rella.settings()
        assert not rella.engine.settings.extra_bufts
    assert found["engine"] == f"{as_it_is['engine']} extra_bufts=off"


def test_flash_attention_goes_next(broken: Break, roomy_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    build = broken(on_decode="if flash and batch.n_tokens > 1: die(signal.SIGFPE)")
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as rella:
        assert (rella.engine.settings.extra_bufts, rella.engine.settings.flash_attn) == (False, "off")
    assert build.starts == 3 and "SIGFPE" in caplog.text
    assert "so it runs without extra buffers (repacked weights) and flash attention, which" in caplog.text


def test_a_quantised_cache_keeps_flash_attention(broken: Break, tmp_path: Path) -> None:
    model = write_model(tmp_path / "wide.gguf", shape=Shape(embd=128))  # blocks of 32 divide its heads
    build = broken(on_decode="if flash and batch.n_tokens > 1: die()")
    with pytest.raises(EngineError, match="llama.cpp fails on it"):
        Rella.from_gguf(model, cache=Cache(None), settings=EngineSettings(kv_type="q8_0"))
    assert build.starts == 2


def test_a_death_with_every_setting_is_one_line(
    broken: Break, run: Run, roomy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build = broken(on_decode="die()")
    code, out, err = run("score", *FILES, "--model", roomy_model)
    assert (code, out, build.starts) == (1, "", 3)
    assert err.count("\n") == 1 and err.startswith(
        f"rella: {roomy_model}: llama.cpp fails on it (SIGSEGV while reading"
    )
    assert "also without extra buffers (repacked weights) and flash attention" in err
    assert run("score", *FILES, "--model", roomy_model, "--no-trial").code == 0  # this process's build is sound
    assert build.starts == 3


def test_a_death_before_the_first_decode_ends_the_ladder(broken: Break, run: Run, roomy_model: Path) -> None:
    words = 'os.write(2, b"/build/llama.cpp/src/llama-vocab.cpp:3422: GGML_ASSERT(tokenizer) failed\\n")'
    build = broken(on_load=f"{words}; die(signal.SIGABRT)")
    code, _, err = run("score", *FILES, "--model", roomy_model)
    assert (code, build.starts, err.count("\n")) == (1, 1, 1)
    assert "(SIGABRT while loading it: llama-vocab.cpp:3422: GGML_ASSERT(tokenizer) failed)" in err


LACK = 'os.write(2, b"what():  std::bad_alloc\\n")'


@pytest.mark.parametrize("end", ["die(signal.SIGKILL)", f"({LACK}, die(signal.SIGABRT))"])
def test_what_lack_of_memory_ends_is_not_remembered(broken: Break, roomy_model: Path, end: str) -> None:
    build = broken(on_decode=f"if extra: {end}")
    for starts in (2, 4):  # memory may be there the next time
        with Rella.from_gguf(roomy_model, cache=Cache(None)) as rella:
            assert not rella.engine.settings.extra_bufts
        assert build.starts == starts


def test_an_adapter_has_a_trial_of_its_own(broken: Break, run: Run, adapter: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "base.gguf", shape=Shape(ctx=4096))
    build = broken(on_adapter="die(signal.SIGABRT)")
    command = ("score", *FILES, "--model", model)
    code, out, err = run(*command, "--lora", adapter)
    assert (code, out, build.starts) == (1, "", 2)
    (line,) = [line for line in err.splitlines() if not line.startswith("rella: WARNING")]
    assert line.startswith(f"rella: {adapter}: llama.cpp fails with it (SIGABRT while")
    assert run(*command).code == 0
    assert build.starts == 2


def test_an_adapter_that_lives_is_tried_once(broken: Break, spm_model: Path, adapter: Path) -> None:
    build = broken()
    for _ in range(2):
        with Rella.from_gguf(spm_model, cache=Cache(None), lora=adapter) as rella:
            rella.adapters = [(adapter, 0.5)]
    assert build.starts == 2  # the model, the adapter


def test_a_soft_prompt_has_a_trial_of_its_own(broken: Break, spm_model: Path, tmp_path: Path) -> None:
    soft = write_soft(tmp_path / "soft")
    build = broken(on_decode="if batch.embd: die()")
    with Rella.from_gguf(spm_model, cache=Cache(None)) as rella:
        with pytest.raises(EngineError, match=r"soft: llama\.cpp fails with it \(SIGSEGV while reading one token"):
            rella.use_soft(soft)
        assert rella.soft is None
    assert build.starts == 2


def test_progress_tells_the_stage_and_the_seconds(broken: Break, spm_model: Path) -> None:
    broken()
    told: list[tuple[object, ...]] = []
    Rella.from_gguf(spm_model, cache=Cache(None), progress=lambda *each: told.append(each)).close()
    tried = [each for each in told if "trying the model" in str(each[0])]
    assert list(dict.fromkeys(each[1] for each in tried)) == [*range(7)]
    assert {each[2] for each in tried} == {len(STAGES)}
    notes = [str(each[3]) for each in tried if len(each) > 3]
    assert notes[0] == "starting, 0 s" and any(note.startswith("a prompt of 512 tokens, ") for note in notes)


@pytest.mark.parametrize(
    ("signal", "words", "again", "remedy"),
    [
        ("SIGSEGV", "", True, "the file may be damaged"),
        ("SIGABRT", "a.cpp:1: GGML_ASSERT(x) failed", True, "the file may be damaged"),
        ("SIGILL", "", True, "build llama.cpp on this machine"),
        ("no progress for 60 s", "", True, "the file may be damaged"),
        ("status 0xc0000005", "", True, "the file may be damaged"),
        ("SIGKILL", "", False, "memory may have run out"),
        ("SIGABRT", "what():  std::bad_alloc", False, "memory may have run out"),
        (
            "SIGABRT",
            "ggml.c:1: GGML_ASSERT(ctx->mem_buffer) failed to allocate 3 bytes",
            False,
            "memory may have run out",
        ),
        ("SIGTERM", "", False, "the file may be damaged"),
        ("SIGXCPU", "", False, "the file may be damaged"),
    ],
)
def test_a_death_says_whether_it_comes_again_and_what_to_do(signal: str, words: str, again: bool, remedy: str) -> None:
    death = Death(signal, STAGES[2], words)
    assert death.comes_again is again and remedy in death.remedy


@pytest.mark.parametrize("amx", [True, False])
def test_with_amx_the_warning_gives_the_command_that_builds_faster(monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    xeon = Processor("Xeon", ("amx_int8", "amx_tile") if amx else ())
    monkeypatch.setattr("rella_cpp.engine.trial.trial.processor", lambda: xeon)
    off: dict[str, Any] = {EXTRA_BUFFERS: {"extra_bufts": False}}
    said = describe(Verdict(off, (Death("SIGSEGV", "reading a prompt of 600 tokens"),)))
    assert "docs/install.md" in said and (build_command() in said) is amx
    install = (Path(__file__).parent.parent / "docs/install.md").read_text(encoding="utf-8")
    assert build_command() in install.splitlines()


def test_a_damaged_verdict_is_found_anew(tmp_path: Path) -> None:
    verdicts, tried = Verdicts(tmp_path), {"model": "m"}
    verdict = Verdict({"extra buffers": {"extra_bufts": False}}, (Death("SIGSEGV", "reading a batch", "", ()),))
    assert verdicts.find(tried) is None
    verdicts.keep(tried, verdict)
    assert verdicts.find(tried) == verdict and verdicts.matching(model="m") == [(tried, verdict)]
    assert verdicts.matching(model="n") == [] and verdicts.find({"model": "n"}) is None
    (file,) = (tmp_path / "trials").iterdir()
    assert (file.parent.stat().st_mode & 0o777) == 0o700
    file.write_text(file.read_text().replace("SIGSEGV", "SIGABRT"))
    assert verdicts.find(tried) is None
    impossible: list[dict[str, Any]] = [{"x": 3}, {"x": {"threads": -1}}, {"x": {"unknown": 1}}]
    for wrong in (*(Verdict(off, verdict.deaths) for off in impossible), Verdict({"x": {}})):
        verdicts.keep(tried, wrong)  # sealed, and impossible
        assert verdicts.find(tried) is None
    file.unlink()
    file.mkdir()
    verdicts.keep(tried, verdict)
    assert verdicts.find(tried) is None and list(file.parent.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_said(
    broken: Break, spm_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RELLA_STATE", str(tmp_path / "file"))
    Rella.from_gguf(spm_model, cache=Cache(None)).close()
    assert "cannot be kept" in caplog.text and "RELLA_STATE" in caplog.text


def test_a_verdict_holds_for_a_build_a_processor_a_model_and_settings(tmp_path: Path, spm_model: Path) -> None:
    verdicts = Verdicts(tmp_path)
    Trial(Cache(None), lambda *_: None, verdicts).settings(spm_model, EngineSettings(threads=1))
    ((tried, verdict),) = verdicts.matching(**here())
    assert verdict == Verdict({}) and set(tried) == {"build", "processor", "model", "settings"}
    assert tried["model"] == Cache(None).fingerprint(spm_model) and "threads" not in tried["settings"]


def test_the_child_ends_with_its_parent(broken: Break, spm_model: Path) -> None:
    broken(on_decode="time.sleep(60)")
    program = "from rella_cpp.engine.trial.probe import main; main()"
    command = [sys.executable, "-c", program, Job(str(spm_model), EngineSettings()).dump()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        while STAGES[2].encode() not in process.stdout.readline():
            pass
        process.stdin.close()  # as when the parent is killed
        assert process.wait(30) == REFUSED


def test_a_frozen_program_trusts_its_models(
    spm_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setenv("RELLA_STATE", str(tmp_path))
    Rella.from_gguf(spm_model, cache=Cache(None)).close()
    assert "no Python interpreter" in caplog.text and not list(tmp_path.iterdir())


def test_nothing_is_said_of_a_sound_model(spm_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Rella.from_gguf(spm_model, cache=Cache(None)).close()
    assert not [record for record in caplog.records if record.name == "rella_cpp"]


def test_a_long_trial_is_mentioned_once_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as silent, ProgressBar(patience=0.0) as bar:
        for progress in (silent, bar):
            for done in (1, 2):
                progress("trying the model once", done, 6, "loading it, 2 s")
    assert capsys.readouterr().err == "note: trying the model once (loading it, 2 s)\n"
