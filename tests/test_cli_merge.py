import json
from pathlib import Path

import pytest
from commands import Run, runner
from lora_files import normal, tensor_bytes, write_pairs
from peft_folder import write_peft
from tiny_model import Shape, write_adapter

from rella_gguf import merge_adapters

Q = "blk.0.attn_q.weight"


@pytest.fixture
def merge(capsys: pytest.CaptureFixture[str]) -> Run:
    run = runner(capsys)
    return lambda *arguments: run("lora", "merge", *arguments)


def test_a_merge_is_shown_and_is_the_librarys(merge: Run, spm_model: Path, adapter: Path, tmp_path: Path) -> None:
    result = merge(spm_model, f"{adapter}=0.5", "-o", tmp_path / "m.gguf")
    assert (result.code, result.err) == (0, "")
    for said in (
        "adapter.gguf × 0.5",
        "4 tensors",
        "4 F32 → F32",
        "17 tensors, byte for byte",
        "% of the weights, blk.",
    ):
        assert said in result.out
    merge_adapters(spm_model, [(adapter, 0.5)], tmp_path / "n.gguf")
    assert (tmp_path / "m.gguf").read_bytes() == (tmp_path / "n.gguf").read_bytes()


def test_json_gives_every_change(merge: Run, spm_model: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    result = merge(spm_model, adapter, "-o", out, "--type", "Q4_K", "--json")
    (found,) = result.lines()
    assert (found["out"], found["base"], found["type"], found["copied"]) == (str(out), str(spm_model), "Q4_K", 17)
    assert found["bytes"] == out.stat().st_size and len(found["changes"]) == 4  # type: ignore[arg-type]
    first = found["changes"][0]  # type: ignore[index]
    assert (first["tensor"], first["shape"], first["before"], first["after"]) == (Q, [16, 16], "F32", "F16")
    assert 0 < first["rounding"] < 1e-2 < first["relative_change"] and first["adapters"] == ["adapter.gguf"]
    assert found["notes"] and result.err == ""


def test_a_dry_run_lists_what_would_change_and_writes_nothing(
    merge: Run, spm_model: Path, adapter: Path, tmp_path: Path
) -> None:
    for more in ([], ["-o", tmp_path / "m.gguf"]):
        result = merge(spm_model, adapter, "--dry-run", "--type", "Q8_0", *more)
        assert result.code == 0 and list(tmp_path.iterdir()) == []
        assert Q in result.out and "F32 → F16" in result.out and "17 tensors, byte for byte" in result.out
    planned = merge(spm_model, adapter, "--dry-run", "--json").lines()[0]
    done = merge(spm_model, adapter, "-o", tmp_path / "m.gguf", "--json").lines()[0]
    measured = ("relative_change", "rounding", "kept")
    assert planned["changes"] == [
        {key: value for key, value in change.items() if key not in measured}
        for change in done["changes"]  # type: ignore[attr-defined]
    ]
    assert all(planned[key] == done[key] for key in ("base", "type", "copied", "bytes"))


def test_a_folder_that_peft_saved_is_converted_first(merge: Run, spm_model: Path, tmp_path: Path) -> None:
    folder, run = write_peft(tmp_path / "peft"), merge
    assert run(spm_model, f"{folder}=2", "-o", tmp_path / "m.gguf").code == 0
    from rella_gguf import convert_adapter

    convert_adapter(folder, tmp_path / "a.gguf", base=spm_model)
    merge_adapters(spm_model, [(tmp_path / "a.gguf", 2)], tmp_path / "n.gguf")
    assert tensor_bytes(tmp_path / "m.gguf") == tensor_bytes(tmp_path / "n.gguf") != tensor_bytes(spm_model)
    twice = run(spm_model, folder, f"{tmp_path}/./peft=2", "-o", tmp_path / "x.gguf")
    assert twice.code == 2 and "peft: is named twice" in twice.err
    over = run(spm_model, folder, "-o", folder / "adapter_model.safetensors", "--force")
    assert over.code == 2 and "adapter_model.safetensors: is one of the inputs" in over.err
    assert not (tmp_path / "x.gguf").exists()


BAD = [
    ("{model} {adapter}", "no output is named; give it as -o OUT.gguf"),
    ("{model} -o {out}", "Missing argument 'ADAPTER[=SCALE]...'"),
    ("-o {out}", "Missing argument"),
    ("{missing} {adapter} -o {out}", "missing.gguf: no such file"),
    ("{model} {missing} -o {out}", "missing.gguf: no such file"),
    ("{adapter} {adapter} -o {out}", "adapter.gguf: is an adapter, not a base model; name the base first"),
    ("{model} {model} -o {out}", "is a full model, not a LoRA adapter"),
    ("{model} {wide} -o {out}", "wide.gguf: blk.0.attn_q.weight.lora_a is made for a width of 32"),
    ("{model} {qwen} -o {out}", "qwen.gguf: was made for the architecture qwen2, the model is llama"),
    ("{model} {cut} -o {out}", "cut.gguf: has "),
    ("{model} {empty} -o {out}", "adapter_config.json: no such file"),
    ("{model} {adapter}=much -o {out}", "the scale is 'much'"),
    ("{model} {adapter}=inf -o {out}", "adapter.gguf: the scale is inf"),
    ("{model} {adapter} {adapter}=2 -o {out}", "adapter.gguf: is named twice"),
    ("{model} {adapter} -o {model} --force", "is one of the inputs; name another output"),
    ("{model} {adapter} -o {adapter} --force", "adapter.gguf: is one of the inputs"),
    ("{model} {adapter} -o {adapter}", "adapter.gguf: is one of the inputs"),
    ("{model} {adapter} -o {wide}", "wide.gguf: is there already"),
    ("{model} {adapter} -o {wide} --dry-run", "wide.gguf: is there already"),
    ("{model} {adapter} -o {empty}/none/m.gguf", "make its folder first"),
    ("{model} {adapter} -o {empty} --force", "empty: is a folder"),
    (
        "{model} {adapter} -o {out} --type Q3_K",
        "the type is 'Q3_K'; one of keep, F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K",
    ),
    ("{model} {nan} -o {out}", "what the adapters add: not all are finite"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(
    merge: Run, spm_model: Path, tmp_path: Path, arguments: str, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    files = {
        "model": spm_model,
        "adapter": write_adapter(tmp_path / "adapter.gguf"),
        "wide": write_adapter(tmp_path / "wide.gguf", shape=Shape(embd=32)),
        "qwen": write_adapter(tmp_path / "qwen.gguf", arch="qwen2"),
        "nan": write_pairs(tmp_path / "nan.gguf", {Q: (normal(2, 16) * float("nan"), normal(16, 2))}),
        "cut": tmp_path / "cut.gguf",
        "empty": tmp_path / "empty",
        "missing": tmp_path / "missing.gguf",
        "out": tmp_path / "out.gguf",
    }
    files["cut"].write_bytes(files["adapter"].read_bytes()[:-64])
    before = {path: path.read_bytes() for path in (*tmp_path.iterdir(), spm_model) if path.is_file()}
    result = merge(*arguments.format(**files).split())
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")
    assert {path: path.read_bytes() for path in (*tmp_path.iterdir(), spm_model) if path.is_file()} == before


def test_what_was_merged_can_be_read_from_the_file(merge: Run, spm_model: Path, adapter: Path, tmp_path: Path) -> None:
    from rella_gguf import read_header

    merge(spm_model, f"{adapter}=-0.25", "-o", tmp_path / "m.gguf")
    (merged,) = json.loads(read_header(tmp_path / "m.gguf").text("rella.merged"))
    assert [(a["file"], a["scale"]) for a in merged["adapters"]] == [("adapter.gguf", -0.25)]
