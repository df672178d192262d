import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, runner
from peft_folder import soft_embeddings, write_peft, write_soft
from tiny_model import Shape, write_adapter, write_model

from rella_gguf import read_soft_prompt


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def test_convert_shows_what_it_wrote_and_inspect_what_is_there(rella: Run, tmp_path: Path, spm_model: Path) -> None:
    folder, out = write_soft(tmp_path / "mine", kind="P_TUNING"), tmp_path / "s.gguf"
    (folder / "rella.json").write_text('{"data": "ml-1m", "samples": {"k": 30}}')
    shown = rella("soft", "convert", folder, "--base", spm_model, "--at", "marker", "-o", out)
    assert (shown.code, shown.err) == (0, "")
    for part in ("s.gguf", "Tiny", "llama", "5 tokens, each of a width of 16", "P_TUNING", "marker", "ml-1m"):
        assert part in shown.out
    seen = rella("gguf", "inspect", out).out
    digest = read_soft_prompt(out).base_sha256 or "-"
    for part in ("soft_prompt", "5 tokens", "marker", f"Tiny ({digest[:12]})", "record: samples", "k 30"):
        assert part in seen
    soft: Any = rella("gguf", "inspect", out, "--json").lines()[0]["soft"]
    assert (soft["tokens"], soft["width"], soft["at"], soft["base_sha256"]) == (5, 16, "marker", digest)
    assert soft["record"]["data"] == "ml-1m"
    assert not list(tmp_path.glob("*.part"))


def test_convert_as_json(rella: Run, tmp_path: Path) -> None:
    folder, out = write_soft(tmp_path / "mine"), tmp_path / "s.gguf"
    done = rella("soft", "convert", folder, "-o", out, "--json")
    (row,) = done.lines()
    assert list(row) == "out base architecture tokens width kind at record notes".split()
    assert (row["base"], row["tokens"], row["kind"], row["at"]) == ("tiny/base", 5, "PROMPT_TUNING", "start")
    assert len(row["notes"]) == 2 and done.err == ""  # type: ignore[arg-type]
    assert np.array_equal(read_soft_prompt(out).embeddings, soft_embeddings())
    again = rella("soft", "convert", folder, "-o", out)
    assert again.code == 2 and "s.gguf: is there already; name another, or overwrite it with --force" in again.err
    forced = rella("soft", "convert", folder, "-o", out, "--force")
    assert forced.code == 0 and forced.err.count("note: ") == 2


def bad_files(folder: Path) -> dict[str, Path]:
    """Make the files and folders that the table of bad input names."""
    files = {
        "base": write_model(folder / "base.gguf"),
        "wide": write_model(folder / "wide.gguf", shape=Shape(embd=32)),
        "gemma": write_model(folder / "gemma.gguf", arch="gemma2"),
        "adapter": write_adapter(folder / "adapter.gguf"),
        "good": write_soft(folder / "good"),
        "lora": write_peft(folder / "lora"),
        "prefix": write_soft(folder / "prefix", kind="PREFIX_TUNING"),
        "two": write_soft(folder / "two", num_transformer_submodules=2),
        "record": write_soft(folder / "record"),
        "json": write_soft(folder / "json"),
        "empty": folder / "empty",
        "missing": folder / "missing",
        "out": folder / "out.gguf",
    }
    files["empty"].mkdir()
    (files["record"] / "rella.json").write_text("[1]")
    (files["json"] / "adapter_config.json").write_text('{"num_virtual_tokens": 8,\n "peft_type": NONE}')
    return files


BAD = [
    ("soft convert {missing} -o {out}", "missing: no such folder; give the folder that PEFT's save_pretrained wrote"),
    ("soft convert {base} -o {out}", "base.gguf: is no folder"),
    ("soft convert {empty} -o {out}", "adapter_config.json: no such file"),
    ("soft convert {json} -o {out}", "adapter_config.json, line 2, column 15: is not JSON"),
    ("soft convert {lora} -o {out}", "is a LoRA adapter (the PEFT type LORA); rella lora convert converts it"),
    ("soft convert {prefix} -o {out}", "is no prompt: it holds keys and values for each layer (the PEFT type PREFIX"),
    ("soft convert {two} -o {out}", "num_transformer_submodules: is 2"),
    ("soft convert {record} -o {out}", "rella.json: is no JSON object"),
    ("soft convert {good} -o {out} --at end", "the place of a soft prompt is 'end'; it is start or marker"),
    ("soft convert {good} -o {out} --base {wide}", "is made for a width of 16, the model's embeddings have 32"),
    ("soft convert {good} -o {out} --base {gemma}", "the architecture gemma2, which scales its input embeddings"),
    ("soft convert {good} -o {out} --base {adapter}", "adapter.gguf: is a GGUF of the kind adapter, not a model"),
    ("soft convert {good} -o {out} --base {missing}", "missing: no such file"),
    ("soft convert {good} -o {adapter}", "adapter.gguf: is there already"),
    ("soft convert {good} -o {base} --base {base} --force", "base.gguf: is one of the inputs"),
    ("soft convert {good} -o {good}/adapter_config.json --force", "adapter_config.json: is one of the inputs"),
    ("soft convert {good} -o {empty} --force", "empty: is a folder; name a file"),
    ("soft convert {good} -o {missing}/s.gguf", "s.gguf: cannot be written (No such file or directory); make its"),
    ("soft convert -o {out}", "Missing argument 'PEFT_DIR'"),
    ("lora convert {good} -o {out} --base {base}", "it is a soft prompt: rella soft convert"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return bad_files(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize(("command", "finding"), BAD)
def test_wrong_input_gives_one_line_and_no_file(rella: Run, files: dict[str, Path], command: str, finding: str) -> None:
    done = rella(*(part.format(**files) for part in command.split()))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("rella: ") and done.err.count("\n") == 1 and finding in done.err
    assert not files["out"].exists() and not list(files["out"].parent.glob("*.part"))


def test_a_soft_prompt_in_place_of_a_model_or_an_adapter(rella: Run, tmp_path: Path, spm_model: Path) -> None:
    out = tmp_path / "s.gguf"
    rella("soft", "convert", write_soft(tmp_path / "mine"), "-o", out)
    (tmp_path / "i.json").write_text(json.dumps([{"title": "Heat"}]))
    item = ("score", "--history", tmp_path / "i.json", "--item", tmp_path / "i.json")
    as_model, as_adapter = rella(*item, "--model", out), rella(*item, "--model", spm_model, "--lora", out)
    assert (as_model.code, as_adapter.code) == (2, 2)
    assert "s.gguf: is a soft prompt, not a model; give the base model in its place;" in as_model.err
    assert "s.gguf: is a soft prompt, not a LoRA adapter; give it with --soft" in as_adapter.err
