import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Run, runner
from peft_folder import peft_tensors, write_peft
from tiny_model import Shape, random_weights, spm_vocab, write_adapter, write_model


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def test_convert_shows_what_it_wrote_and_inspect_what_is_there(rella: Run, tmp_path: Path, spm_model: Path) -> None:
    folder = write_peft(tmp_path / "mine", alpha_pattern={"v_proj": 1})
    (folder / "rella.json").write_text('{"data": "ml-1m", "samples": {"k": 30}, "domain": "' + "x" * 999 + '"}')
    out = tmp_path / "a.gguf"
    shown = rella("lora", "convert", folder, "--base", spm_model, "-o", out)
    assert (shown.code, shown.err) == (0, "")
    for part in ("llama", "4 matrices: q_proj, v_proj", "4; 2 rescaled to that", "record: data", "ml-1m"):
        assert part in shown.out
    seen = rella("gguf", "inspect", out).out
    for part in (
        "adapter.lora.alpha",
        "4 matrices: attn_q, attn_v",
        "tiny/base",
        "record: samples",
        "k 30",
        "record: domain",
    ):
        assert part in seen
    assert "xxx" * 100 not in seen
    lora: Any = rella("gguf", "inspect", out, "--json").lines()[0]["lora"]
    assert (lora["ranks"], lora["record"]["data"]) == ([2], "ml-1m")
    assert not list(tmp_path.glob("*.part"))


def test_convert_as_json(rella: Run, tmp_path: Path, spm_model: Path) -> None:
    folder, out = write_peft(tmp_path / "mine", odd_key=1), tmp_path / "a.gguf"
    done = rella("lora", "convert", folder, "--base", spm_model, "-o", out, "--json")
    (row,) = done.lines()
    assert list(row) == "out base architecture pairs ranks targets alpha rescaled record notes".split()
    assert (row["out"], row["pairs"], row["alpha"]) == (str(out), 4, 4.0)
    assert any("odd_key" in note for note in row["notes"]) and done.err == ""  # type: ignore[attr-defined]
    again = rella("lora", "convert", folder, "--base", spm_model, "-o", out)
    assert again.code == 2 and "a.gguf: is there already; name another, or overwrite it with --force" in again.err
    forced = rella("lora", "convert", folder, "--base", spm_model, "-o", out, "--force")
    assert forced.code == 0 and "odd_key" in forced.err and forced.err.startswith("note: ")


def test_a_converted_adapter_judges(rella: Run, tmp_path: Path) -> None:
    # The same item, with the adapter and with it at scale 0: another probability, and the base's own.
    base = write_model(tmp_path / "m.gguf", shape=Shape(ctx=4096))
    rella("lora", "convert", write_peft(tmp_path / "mine"), "--base", base, "-o", tmp_path / "a.gguf")
    (tmp_path / "i.json").write_text('[{"title": "Heat"}]')
    item = ("--history", tmp_path / "i.json", "--item", tmp_path / "i.json", "--allow-empty-history")
    usual = ("score", *item, "--model", base, "--json")
    plain, tuned, idle = (
        rella(*usual, *lora).lines()[0]["probability"]
        for lora in ((), ("--lora", tmp_path / "a.gguf"), ("--lora", f"{tmp_path / 'a.gguf'}=0"))
    )
    assert tuned != plain == idle


def bad_files(folder: Path) -> dict[str, Path]:
    """Make the files and folders that the table of bad input names."""
    weights = random_weights(len(spm_vocab().tokens), Shape(), 0)
    del weights["output.weight"]
    files = {
        "base": write_model(folder / "base.gguf"),
        "tied": write_model(folder / "tied.gguf", weights=weights),
        "wide": write_model(folder / "wide.gguf", shape=Shape(embd=32)),
        "deep": write_peft(folder / "deep", shape=Shape(layers=3)),
        "adapter": write_adapter(folder / "adapter.gguf"),
        "good": write_peft(folder / "good"),
        "head": write_peft(folder / "head", targets=("lm_head",)),
        "words": write_peft(folder / "words", targets=("embed_tokens",)),
        "rank0": write_peft(folder / "rank0", r=0),
        "alpha0": write_peft(folder / "alpha0", alpha=0),
        "nor": write_peft(folder / "nor", r=None),
        "dora": write_peft(folder / "dora", use_dora=True),
        "bias": write_peft(folder / "bias", bias="all"),
        "saved": write_peft(folder / "saved", modules_to_save=["lm_head"]),
        "ia3": write_peft(folder / "ia3", peft_type="IA3"),
        "pissa": write_peft(folder / "pissa", init_lora_weights="pissa"),
        "f64": write_peft(folder / "f64", dtype="F64"),
        "odd": write_peft(
            folder / "odd", tensors={name.replace("q_proj", "c_attn"): value for name, value in peft_tensors().items()}
        ),
        "vision": write_peft(
            folder / "vision",
            tensors={name.replace("model.layers", "visual.blocks"): value for name, value in peft_tensors().items()},
        ),
        "cut": write_peft(folder / "cut"),
        "pickle": write_peft(folder / "pickle"),
        "record": write_peft(folder / "record"),
        "json": write_peft(folder / "json"),
        "empty": folder / "empty",
        "missing": folder / "missing",
        "out": folder / "out.gguf",
        "linked": folder / "linked.gguf",
    }
    (folder / "linked.gguf.part").symlink_to(files["adapter"])
    files["empty"].mkdir()
    weights_file = files["cut"] / "adapter_model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-7])
    (files["pickle"] / "adapter_model.safetensors").rename(files["pickle"] / "adapter_model.bin")
    (files["record"] / "rella.json").write_text("[1]")
    (files["json"] / "adapter_config.json").write_text('{"r": 8,\n "peft_type": LORA}')
    return files


BAD = [
    ("{missing} --base {base}", "missing: no such folder; give the folder that PEFT's save_pretrained wrote"),
    ("{base} --base {base}", "base.gguf: is no folder"),
    ("{empty} --base {base}", "adapter_config.json: no such file"),
    ("{json} --base {base}", "adapter_config.json, line 2, column 15: is not JSON"),
    ("{nor} --base {base}", "adapter_config.json: has no r"),
    ("{rank0} --base {base}", "adapter_config.json, r: is 0"),
    ("{alpha0} --base {base}", "adapter_config.json, lora_alpha: is 0"),
    ("{ia3} --base {base}", "is a PEFT adapter of the type IA3"),
    ("{dora} --base {base}", "use_dora: is DoRA"),
    ("{bias} --base {base}", "bias: trains biases"),
    ("{saved} --base {base}", "modules_to_save: trains whole modules"),
    ("{pissa} --base {base}", "init_lora_weights: pissa changes the base's weights"),
    (
        "{pickle} --base {base}",
        "adapter_model.bin: is a pickle, which can run any code when it is read; load it in peft",
    ),
    ("{cut} --base {base}", "adapter_model.safetensors: is damaged or truncated"),
    ("{f64} --base {base}", "q_proj.lora_A.weight: has the type F64"),
    ("{record} --base {base}", "rella.json: is no JSON object"),
    ("{odd} --base {base}", "c_attn: is a module that is not known; known are q_proj"),
    ("{vision} --base {base}", "visual.blocks.0.self_attn.q_proj: is in the vision tower of a multimodal model"),
    ("{deep} --base {base}", "model.layers.2.self_attn.q_proj: is not in base.gguf, which has 2 layers"),
    ("{good} --base {wide}", "at the size 16 × 16, the base's blk.0.attn_q.weight is 32 × 32 (wide.gguf)"),
    ("{head} --base {tied}", "lm_head: is adapted, and tied.gguf has one matrix for embeddings and output (tied)"),
    ("{words} --base {tied}", "embed_tokens: is adapted, and tied.gguf has one matrix"),
    ("{good} --base {adapter}", "adapter.gguf: is a GGUF of the kind adapter, not a model"),
    ("{good} --base {missing}", "missing: no such file"),
    ("{good} --base {good}", "good: is a folder"),
    ("{good}", "adapts tiny/base, and no config.json of that is on this machine; give the base's GGUF with --base"),
    ("{good} --base {base} -o {base}", "base.gguf: is one of the inputs"),
    ("{good} --base {base} -o {base} --force", "base.gguf: is one of the inputs"),
    ("{good} --base {base} -o {good}/adapter_config.json --force", "adapter_config.json: is one of the inputs"),
    ("{good} --base {base} -o {adapter}", "adapter.gguf: is there already"),
    ("{good} --base {base} -o {linked}", "linked.gguf.part: is a symbolic link, and is to be written; remove it"),
    ("{good} --base {base} -o {empty} --force", "empty: is a folder; name a file"),
    ("{good} --base {base} -o {missing}/a.gguf", "a.gguf: cannot be written (No such file or directory); make its"),
    ("--base {base}", "Missing argument 'PEFT_DIR'"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return bad_files(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(rella: Run, files: dict[str, Path], arguments: str, said: str) -> None:
    words = arguments.format(**files).split()
    before = {path: path.stat().st_mtime_ns for path in files["base"].parent.rglob("*")}
    result = rella("lora", "convert", *words, *([] if "-o" in words else ["-o", files["out"]]))
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")
    assert {path: path.stat().st_mtime_ns for path in files["base"].parent.rglob("*")} == before


def test_a_file_that_cannot_grow_leaves_nothing(tmp_path: Path, spm_model: Path) -> None:
    # A limit of one block (1024 bytes) on the size of files fails as a full disk does, in the middle of the writing.
    folder, out = write_peft(tmp_path / "mine"), tmp_path / "a.gguf"
    command = [sys.executable, "-m", "rella_cli", "lora", "convert", folder, "--base", spm_model, "-o", out]
    line = 'ulimit -f 1; exec "$@"'
    done = subprocess.run(["bash", "-c", line, "x", *map(str, command)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a.gguf: cannot be written (File too large)" in done.stderr and len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != "") == []


def test_the_json_of_a_refusal_is_empty(rella: Run, files: dict[str, Path]) -> None:
    result = rella("lora", "convert", files["dora"], "-o", files["out"], "--json")
    assert (result.code, result.out) == (2, "") and json.dumps(result.err)
