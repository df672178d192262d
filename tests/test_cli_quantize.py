import shlex
from pathlib import Path

import pytest
from commands import Run, runner
from tiny_model import Shape, write_adapter, write_model, write_vocabulary_only

from rella_cli.commands.quantize import quantize_command

SHAPE = Shape(embd=64, ff=128)


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "tiny.F32.gguf", shape=SHAPE)


def test_quantize_writes_and_says_what(rella: Run, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "q4.gguf"
    shown = rella("gguf", "quantize", model, "-o", out, "--type", "q4_k_m")
    assert shown.code == 0 and out.is_file()
    assert "13 Q5_0" in shown.out and "F32" in shown.out and "13 × Q5_0" in shown.err
    again = rella("gguf", "quantize", model, "-o", out, "--type", "Q8_0")
    assert (again.code, again.out) == (2, "") and "q4.gguf: is there already" in again.err
    (row,) = rella("gguf", "quantize", out, "-o", tmp_path / "f16.gguf", "--type", "F16", "--json").lines()
    assert row["out"] == str(tmp_path / "f16.gguf") and row["fallbacks"] == {} and row["requantized"] is True
    assert row["bytes"] == (tmp_path / "f16.gguf").stat().st_size and "at most as good" in str(row["notes"])
    assert rella("gguf", "quantize", model, "-o", out, "--type", "Q8_0", "--force").code == 0


def test_advise_shows_a_table_and_json(rella: Run, model: Path) -> None:
    table = rella("gguf", "advise", model, "--types", "Q8_0, Q4_0", "--repeats", 1, "--threads", 1, "--layers", 1)
    assert table.code == 0 and "as it is" in table.out and "Q4_0" in table.out
    assert "measured on 1 layer of 2" in table.err and "prompt of 256 tokens" in table.err
    rows = rella("gguf", "advise", model, "--types", "Q8_0", "--repeats", 1, "--threads", 1, "--json").lines()
    keys = "type as_is bytes tokens_per_second relative loss layers of_layers recommended"
    assert [row["type"] for row in rows] == ["F32", "Q8_0"] and all(list(row) == keys.split() for row in rows)
    assert [row["recommended"] for row in rows].count(True) == 1


@pytest.mark.parametrize(
    ("given", "path", "expected"),
    [
        (None, "SmolLM2-135M-Instruct.Q4_1.gguf", "rella gguf quantize -o SmolLM2-135M-Instruct.Q8_0.gguf"),
        ("a b/m-q4_k_m.gguf", "a b/m-q4_k_m.gguf", "rella gguf quantize 'a b/m-q4_k_m.gguf' -o m.Q8_0.gguf"),
        ("x.gguf", "big-f16-00001-of-00003.gguf", "rella gguf quantize x.gguf -o big.Q8_0.gguf"),
        ("plain.gguf", "plain.gguf", "rella gguf quantize plain.gguf -o plain.Q8_0.gguf"),
    ],
)
def test_the_next_command_can_be_pasted(given: str | None, path: str, expected: str) -> None:
    command = quantize_command(given, Path(path), "Q8_0")
    assert command == f"{expected} --type Q8_0" and shlex.split(command)[:3] == ["rella", "gguf", "quantize"]


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text.gguf").write_text("no model")
    (folder / "truncated.gguf").write_bytes(model.read_bytes()[:-100])
    return {
        "good": model,
        "text": folder / "text.gguf",
        "truncated": folder / "truncated.gguf",
        "missing": folder / "missing.gguf",
        "adapter": write_adapter(folder / "adapter.gguf"),
        "vocabulary": write_vocabulary_only(folder / "vocabulary.gguf"),
        "out": folder / "out.gguf",
        "folder": folder,
    }


BAD = [
    ("quantize {text} -o {out} --type Q4_0", "text.gguf: is no GGUF file"),
    ("quantize {truncated} -o {out} --type Q4_0", "truncated.gguf: has"),
    ("quantize {missing} -o {out} --type Q4_0", "missing.gguf: no such file"),
    ("quantize {adapter} -o {out} --type Q4_0", "adapter.gguf: is a GGUF of the kind adapter"),
    ("quantize {vocabulary} -o {out} --type Q4_0", "vocabulary.gguf: is a GGUF of the kind vocabulary"),
    ("quantize {good} -o {out} --type Q4_X", "unknown quantisation 'Q4_X'; did you mean"),
    ("quantize {good} -o {out} --type IQ2_XS", "IQ2_XS needs an importance matrix"),
    ("quantize {good} -o {out} --type Q4_0 --threads 0", "threads is 0"),
    ("quantize {good} -o {good} --type Q4_0 --force", "tiny.F32.gguf: is one of the inputs"),
    ("quantize {good} -o {folder} --type Q4_0 --force", "is a folder"),
    ("quantize {good} -o {folder}/none/out.gguf --type Q4_0", "make its folder first"),
    ("quantize {good} -o {folder}/m-00001-of-00002.gguf --type Q4_0", "name of a part of a split model"),
    ("quantize {good} --type Q4_0", "-o"),
    ("quantize {good} -o {out}", "--type"),
    ("advise {text}", "text.gguf: is no GGUF file"),
    ("advise {truncated}", "truncated.gguf: has"),
    ("advise {missing}", "missing.gguf: no such file"),
    ("advise {adapter}", "adapter.gguf: is a GGUF of the kind adapter"),
    ("advise {good} --types Q4_0,Q9", "unknown quantisation 'Q9'"),
    ("advise {good} --types ,", "unknown quantisation ''"),
    ("advise {good} --layers 0", "layers is 0"),
    ("advise {good} --repeats 0", "repeats is 0"),
    ("advise {good} --threads 0", "threads is 0"),
    ("advise hf:../..", "hf:../.. names no repository"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(rella: Run, bad_files: dict[str, Path], arguments: str, said: str) -> None:
    result = rella("gguf", *arguments.format(**bad_files).split())
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")
    assert not bad_files["out"].exists()
