"""The child process of a trial: how its ends are told apart, and what it asks of a model."""

import os
import sys
import time
from pathlib import Path

import pytest
from tiny_model import Shape, write_model

from rella_cpp import EngineSettings
from rella_cpp.engine.trial.child import run as run_child
from rella_cpp.engine.trial.probe import BEAT, MARK, REFUSED, STAGES, Job, probe
from rella_cpp.engine.trial.verdicts import Death

JOB = Job("model.gguf", EngineSettings())


def entry(*statements: str) -> str:
    return "; ".join(("import os, signal, sys, time", *statements))


def say(text: str) -> str:
    line = f"{MARK}{text}\n".encode()
    return f"os.write(1, {line!r})"


def test_a_child_that_says_nothing_for_long_is_dead() -> None:
    start = time.monotonic()
    told: list[str] = []
    outcome = run_child(JOB, told.append, entry=entry(say(STAGES[2]), "time.sleep(60)"), patience=1.2)
    assert told.count(STAGES[2]) >= 2  # said again while nothing goes on
    assert outcome.death == Death("no progress for 1 s", STAGES[2]) and not outcome.before_first_decode
    assert time.monotonic() - start < 30


def test_a_slow_child_that_goes_on_lives() -> None:
    beats = f"[({say(BEAT)}, time.sleep(0.1)) for _ in range(15)]; {say(STAGES[-1])}"
    told: list[str] = []
    outcome = run_child(JOB, told.append, entry=entry(say(STAGES[2]), beats), patience=1.0)
    assert outcome.well and told.count(STAGES[2]) >= 16


def test_a_child_that_only_talks_is_dead() -> None:
    talk = "[(print('still here', flush=True), time.sleep(0.05)) for _ in range(600)]"
    outcome = run_child(JOB, lambda _: None, entry=entry(say(STAGES[2]), talk), patience=0.6)
    assert outcome.death is not None and outcome.death.signal == "no progress for 1 s"


def test_a_model_that_is_refused_is_no_death() -> None:
    assert run_child(JOB, lambda _: None, entry=entry(f"sys.exit({REFUSED})")) == (False, None, False)


def test_a_child_that_cannot_run_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert run_child(JOB, lambda _: None, entry="import nothing_of_that_name") == (False, None, False)
    assert "could not be tried (ModuleNotFoundError" in caplog.text


@pytest.mark.parametrize(
    "words",
    [
        "libgomp: Thread creation failed: Resource temporarily unavailable",
        "MemoryError",
        "ImportError: numpy.so: failed to map segment from shared object",
    ],
)
def test_a_child_that_lacks_memory_dies_of_it(words: str, caplog: pytest.LogCaptureFixture) -> None:
    outcome = run_child(JOB, lambda _: None, entry=entry(say(STAGES[2]), f"sys.exit({words!r})"))
    assert outcome.death is not None and (outcome.death.signal, outcome.death.words) == ("status 1", words)
    assert not outcome.death.comes_again and "memory may have run out" in outcome.death.remedy and not caplog.text


@pytest.mark.parametrize("statement", ["pass", "sys.exit(2)", "sys.exit(0)"])
def test_what_is_no_python_tells_nothing(statement: str, caplog: pytest.LogCaptureFixture) -> None:
    assert run_child(JOB, lambda _: None, entry=entry(statement)) == (False, None, False)
    assert "could not be tried" in caplog.text


def test_an_interpreter_that_cannot_be_run_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert run_child(JOB, lambda _: None) == (False, None, False)
    assert "/no/such/python cannot be run (No such file" in caplog.text


def test_a_child_that_goes_on_without_a_word_is_dead() -> None:
    closing = ("os.close(1)", "os.close(2)", "time.sleep(60)")
    outcome = run_child(JOB, lambda _: None, entry=entry(say(STAGES[2]), *closing), patience=0.6)
    assert outcome.death is not None and outcome.death.signal == "no progress for 1 s"


def test_a_death_shows_though_another_process_holds_the_output() -> None:
    left = "subprocess.Popen(['sleep', '5'])"
    outcome = run_child(
        JOB,
        lambda _: None,
        entry=entry("import subprocess", say(STAGES[2]), left, "os.kill(os.getpid(), signal.SIGSEGV)"),
        patience=0.6,
    )
    assert outcome.death is not None and outcome.death.signal == "SIGSEGV"


def test_a_time_in_which_all_was_stopped_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 10**6, 100))  # each step oversleeps by a hundred seconds
    monkeypatch.setattr(time, "monotonic", lambda: float(next(times)))
    beats = f"[({say(BEAT)}, time.sleep(0.1)) for _ in range(5)]; {say(STAGES[-1])}"
    assert run_child(JOB, lambda _: None, entry=entry(say(STAGES[2]), beats), patience=20.0).well


def test_an_interruption_ends_the_child() -> None:
    found: list[int] = []

    def interrupt(stage: str) -> None:
        if stage.isdigit():
            found.append(int(stage))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child(JOB, interrupt, entry=entry(f"print({MARK!r} + str(os.getpid()), flush=True)", "time.sleep(60)"))
    with pytest.raises(ProcessLookupError):
        os.kill(found[0], 0)


@pytest.mark.parametrize("exact", [False, True])
def test_a_probe_reads_a_token_a_prompt_a_batch_and_hidden_states(spm_model: Path, exact: bool) -> None:
    said: list[str] = []
    probe(Job(str(spm_model), EngineSettings(exact=exact)), said.append)
    assert (
        [text for text in said if text != BEAT]
        == [
            *STAGES[1:3],
            "reading a prompt of 512 tokens",  # the context's length
            *STAGES[4:],
        ]
    )


def test_a_model_of_one_token_can_be_probed(tmp_path: Path) -> None:
    said: list[str] = []
    probe(Job(str(write_model(tmp_path / "m.gguf", shape=Shape(ctx=1))), EngineSettings()), said.append)
    assert STAGES[-1] in said
