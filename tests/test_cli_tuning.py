"""From a prepared data set to rows, a head and an adapter in use, through the commands."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import Run, runner
from peft_folder import write_peft
from tiny_model import Shape, write_adapter, write_model

from rella_cpp import Cache, DataSet, Rella, build_index


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="module")
def world(small_data: DataSet, roomy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data, an index, models and adapters; made once, since nothing of it may be changed."""
    folder = tmp_path_factory.mktemp("world")
    files = {"data": small_data.folder, "model": roomy_model, "index": folder / "index", "folder": folder}
    files |= {name: folder / name for name in ("nowhere", "out", "out.jsonl", "books.index")}
    files["history"], files["items"] = folder / "history.json", folder / "items.json"
    files["history"].write_text(json.dumps([{**b.item.fields, "rating": b.rating} for b in small_data.history(5, 12)]))
    files["items"].write_text('[{"title": "Stranger"}]')
    files["gguf"] = write_adapter(folder / "adapter.gguf")
    files["peft"] = write_peft(folder / "peft")
    files["other"] = write_model(folder / "other.gguf", shape=Shape(embd=32, ctx=4096), seed=9)
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as judge:
        build_index(judge.vectors, small_data.all_items(), files["index"])
    return files


def test_rows_are_exported_with_a_manifest(rella: Run, world: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "train.jsonl"
    result = rella("export", "reit", world["data"], "--index", world["index"], "--shots", 30, "-k", 5, "-o", out)
    assert result.code == 0, result.err
    assert "60 in" in result.out and "30 in" in result.out and str(tmp_path / "train.manifest.json") in result.out
    assert len(out.read_text().splitlines()) == 60
    (facts,) = rella(
        "export", "reit", world["data"], "--mix", "original", "--shots", 30, "--format", "text", "-m", world["model"],
        "--valid", 7, "-o", tmp_path / "text.jsonl", "--json",
    ).lines()  # fmt: skip
    assert (facts["rows"], facts["valid_rows"], facts["train"]) == (30, 7, str(tmp_path / "text.jsonl"))


def test_sequences_are_exported_and_only_tokens_and_frames_need_a_model(
    rella: Run, world: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "train.jsonl"
    result = rella("export", "stream", world["data"], "-k", 5, "--valid", 30, "-o", out)
    assert result.code == 0, result.err
    rows, checks = (path.read_text().splitlines() for path in (out, tmp_path / "train.valid.jsonl"))
    answers = sum(len(json.loads(row)["answers"]) for row in rows)
    assert f"{len(rows)} in" in result.out and f"{answers}" in result.out and f"{len(checks)} in" in result.out
    assert sum(len(json.loads(row)["answers"]) for row in checks) == 30
    more = ("--tokens", 2000, "--drop", 0.3, "--chat-format", "chatml", "-m", world["model"], "--json")
    (facts,) = rella("export", "stream", world["data"], "-k", 5, *more, "-o", tmp_path / "chat.jsonl").lines()
    manifest = json.loads((tmp_path / "chat.manifest.json").read_text())
    assert (facts["rows"], facts["tokens"], facts["answers"], facts["valid_answers"]) == tuple(
        manifest["samples"][name] for name in ("rows", "written", "answers", "valid")
    )
    assert manifest["chat_format"] == "chatml" and manifest["layout"] == "stream"
    assert manifest["samples"] | {"k": 5, "tokens": 2000, "drop": 0.3, "seed": 0} == manifest["samples"]
    assert 2000 <= facts["tokens"] < 4000  # type: ignore[operator]


def test_a_head_is_fitted_and_judges(rella: Run, world: dict[str, Path], tmp_path: Path) -> None:
    made = rella(
        "tune", "head", world["data"], "--index", world["index"], "--shots", 30, "-k", 5, "-m", world["model"],
        "-o", tmp_path / "head",
    )  # fmt: skip
    assert made.code == 0 and "cross-validated" in made.out, made.err
    files = ("--history", world["history"], "-m", world["model"], "--head", tmp_path / "head")
    (score,) = rella("score", *files, "--item", world["items"], "--json").lines()
    assert {"head", "head_logit", "probability"} <= score.keys()
    assert "before the head" in rella("score", *files, "--item", world["items"]).out
    found = rella("recommend", *files, "--index", world["index"], "-n", 3, "--json").lines()
    assert [row["head"] for row in found] == sorted((row["head"] for row in found), reverse=True)  # type: ignore[type-var]
    run = ("evaluate", world["data"], "-m", world["model"], "--head", tmp_path / "head", "--index", world["index"])
    told = rella(*run, "--limit", 20, "-k", 5, "-o", tmp_path / "run", "--json")
    assert told.code == 0 and "head" in told.lines()[0]["metrics"], told.err  # type: ignore[operator]


def test_a_head_that_is_killed_goes_on(world: dict[str, Path], tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "rella_cli", "tune", "head", world["data"], "--index", world["index"], "--shots", "60",
        "-k", "5", "-m", world["model"], "-o",
    ]  # fmt: skip
    whole = subprocess.run([*map(str, command), str(tmp_path / "whole")], check=True, capture_output=True)
    assert whole.returncode == 0
    process = subprocess.Popen([*map(str, command), str(tmp_path / "cut")], stderr=subprocess.DEVNULL)
    features = tmp_path / "cut.features/features.part"
    deadline = time.monotonic() + 60
    while not (features.exists() and features.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert features.stat().st_size and not (tmp_path / "cut").exists()
    subprocess.run([*map(str, command), str(tmp_path / "cut")], check=True, capture_output=True)
    for name in ("head.safetensors", "manifest.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_peft_folder_serves_wherever_an_adapter_does(rella: Run, world: dict[str, Path]) -> None:
    files = ("--history", world["history"], "--item", world["items"], "-m", world["model"], "--json")
    (plain,) = rella("score", *files).lines()
    adapted = rella("score", *files, "--lora", f"{world['peft']}=0.5")
    (score,) = adapted.lines()
    assert score["probability"] != plain["probability"]
    assert score["model"]["adapters"][0]["name"] == "peft.gguf"  # type: ignore[index]
    assert adapted.err.count("does not say what it was tuned on") == 1
    (info,) = rella("cache", "info", "--json").lines()
    assert info["adapters"] == 1


BAD = [
    ("export reit {nowhere} -o {out.jsonl}", "nowhere: no such folder"),
    ("export reit {data} -o {out.jsonl}", "mix both needs an index; give --index DIR"),
    ("export reit {data} --index {data} -o {out.jsonl}", "is a prepared data set, not an index"),
    ("export reit {data} --index {index} --domain books -o {out.jsonl}", "domain movies"),
    ("export reit {data} --index {index} --shots 0 -o {out.jsonl}", "shots is 0"),
    ("export reit {data} --index {index} --shots 99999 -o {out.jsonl}", "99,999 are wanted; ask for"),
    ("export reit {data} --index {index} --mix all -o {out.jsonl}", "mix is 'all'; one of both, original, retrieved"),
    (
        "export reit {data} --index {index} --format csv -o {out.jsonl}",
        "format is 'csv'; one of messages, alpaca, text",
    ),
    ("export reit {data} --index {index} --valid -1 -o {out.jsonl}", "-1 validation samples"),
    ("export reit {data} --index {index} --shots 20 -o {items}", "items.json: is there already"),
    ("export reit {data} --index {index} --shots 20 -o {index}/deep/out.jsonl", "make its folder first"),
    ("export stream {data} -k 0 -o {out.jsonl}", "K is '0'"),
    ("export stream {data} --drop 2 -o {out.jsonl}", "drop is 2; give a share from 0 to 1"),
    ("export stream {data} --tokens 0 -o {out.jsonl}", "tokens is 0"),
    ("export stream {data} --seed -1 -o {out.jsonl}", "seed is -1"),
    ("export stream {data} --valid -1 -o {out.jsonl}", "-1 validation samples"),
    (
        "export stream {data} --format alpaca -o {out.jsonl}",
        "which has one answer a row; a stream has many; one of text, m",
    ),
    ("export stream {data} --format csv -o {out.jsonl}", "format is 'csv'; one of text, messages"),
    ("export stream {data} --domain news -o {out.jsonl}", "the domain news does not say how a stream is written"),
    ("export stream {data} --tokens 99 -m {nowhere} -o {out.jsonl}", "nowhere: no such file"),
    ("export stream {data} -o {items}", "items.json: is there already"),
    ("tune head {data} -m {model} -o {out}", "mix both needs an index"),
    ("tune head {data} --index {index} --shots 5 -m {model} -o {out}", "5 shots are too few"),
    ("tune head {data} --index {index} --parts middle -m {model} -o {out}", "a head cannot read middle"),
    ("tune head {data} --index {index} -m {model} -o {index}", "is there already, and no head"),
    ("tune head {data} --index {index} -m {nowhere} -o {out}", "nowhere: no such file"),
    ("score --history {history} --item {items} -m {model} --head {nowhere}", "no such folder; make one"),
    ("score --history {history} --item {items} -m {model} --head {index}", "index: is no head"),
    ("score --history {history} --item {items} -m {model} --lora {index}", "adapter_config.json"),
    ("score --history {history} --item {items} -m {other} --lora {peft}", "give the base model"),
    ("evaluate {data} --baselines-only --lora {gguf} -o {out}", "--baselines-only needs DATA and no model's options"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(rella: Run, world: dict[str, Path], arguments: str, said: str) -> None:
    before = {path: path.read_bytes() for path in world["folder"].rglob("*") if path.is_file()}
    for name, path in world.items():
        arguments = arguments.replace(f"{{{name}}}", str(path))
    result = rella(*arguments.split())
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")
    assert {path: path.read_bytes() for path in world["folder"].rglob("*") if path.is_file()} == before
    assert not world["out"].exists()
