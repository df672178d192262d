"""`rella summarize` and `rella export trsr`, as the terminal runs them."""

import json
import os
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from commands import Run, kill_when_written, runner

from rella_cpp import DataSet

HISTORY = [{"title": f"movie {n}", "rating": 1 + n % 5, "overview": f"plot {n} " * 40} for n in range(12)]
SHORT = ("--summary-tokens", 8, "--block-size", 4, "-n", 2)


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str], roomy_model: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RELLA_MODEL", str(roomy_model))
    return runner(capsys)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    (tmp_path / "h.json").write_text(json.dumps(HISTORY))
    return tmp_path / "h.json"


def words(text: str) -> str:
    """A text as it is read, wherever a narrow terminal breaks its lines."""
    return " ".join(text.split())


def test_one_history_shows_its_blocks_and_how_the_summary_grew(rella: Run, history: Path) -> None:
    shown = rella("summarize", "--history", history, *SHORT)
    assert shown.code == 0, shown.err
    told = words(shown.out)
    for part in (
        "Block 1 of 3 movie 0 1 star movie 1 2 stars movie 2 3 stars movie 3 4 stars The summary so far:",
        "Block 3 of 3 movie 8 4 stars movie 9 5 stars Preference summary:",
        "A judging prompt shows the latest 2 behaviors beside it",
        "recurrent · 3 texts generated, 0 from the cache",
        "12 item texts shortened (--item-tokens)",
    ):
        assert part in told
    assert "movie 10" not in told  # the prompt shows it, and no block
    again = words(rella("summarize", "--history", history, *SHORT).out)
    assert "0 texts generated, 3 from the cache" in again
    few = words(rella("summarize", "--history", history, *SHORT, "--method", "hierarchical", "--max-blocks", 2).out)
    assert "Block 2 of 2" in few and "The summary of this block:" in few and "1 older block left out" in few


def test_the_json_is_the_summary(rella: Run, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = rella("summarize", "--history", history, *SHORT, "--json").lines()
    assert list(found) == ["summary", "method", "blocks", "generated", "shortened", "skipped", "empty"]
    assert [block["behaviors"] for block in found["blocks"]] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]  # type: ignore[attr-defined]
    assert (found["method"], found["generated"]) == ("recurrent", 3)
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(history.read_bytes())))
    (piped,) = rella("summarize", "--history", "-", *SHORT, "--json").lines()
    assert piped == found | {"generated": 0}


def test_a_history_too_short_for_a_block_says_so(rella: Run, history: Path) -> None:
    short = words(rella("summarize", "--history", history, "-n", 20).out)
    assert "No summary: the history is too short for a block." in short
    assert "A judging prompt shows the latest 12 behaviors in its place, as they are" in short
    assert "0 texts generated" in short
    (found,) = rella("summarize", "--history", history, "-n", 20, "--json").lines()
    assert (found["summary"], found["blocks"], found["generated"]) == (None, [], 0)


def test_a_data_set_is_summarised_and_its_rows_are_exported(rella: Run, small_data: DataSet, tmp_path: Path) -> None:
    command = ("summarize", small_data.folder, "-o", tmp_path / "s", *SHORT, "--limit", 10)
    shown = rella(*command)
    assert shown.code == 0, shown.err
    told = words(shown.out)
    assert "(10 train, 10 valid, 10 test)" in told and " generated, " in told
    (report,) = rella(*command, "--json").lines()
    assert (report["samples"], report["generated"], report["reused"]) == (30, 0, 0)  # finished before
    assert report["settings"]["samples"]["limit"] == 10  # type: ignore[index]
    rows = ("export", "trsr", small_data.folder, "--summaries", tmp_path / "s")
    exported = rella(*rows, "-o", tmp_path / "rows.jsonl")
    assert exported.code == 0, exported.err
    assert "50.0% liked" in exported.out and "training samples that were not liked" in exported.out
    (facts,) = rella(
        *rows, "-o", tmp_path / "few.jsonl", "--shots", 2, "--valid", 1, "--format", "text", "--json"
    ).lines()
    assert (facts["rows"], facts["valid_rows"], facts["liked"]) == (4, 2, 0.5)
    assert len((tmp_path / "few.jsonl").read_text().splitlines()) == 4 and isinstance(facts["left_out"], int)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_goes_on_to_the_same_files(small_data: DataSet, roomy_model: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "rella_cli", "summarize", small_data.folder, "--split", "train", "--limit", 40,
        "-m", roomy_model, "--summary-tokens", 24, "--block-size", 2, "--no-cache", "-o",
    ]  # fmt: skip
    given = [str(part) for part in command]
    subprocess.run([*given, str(tmp_path / "whole")], check=True, capture_output=True)
    kill_when_written([*given, tmp_path / "cut"], tmp_path / "cut/summaries.jsonl.part")
    subprocess.run([*given, str(tmp_path / "cut")], check=True, capture_output=True)
    for name in ("summaries.json", "summaries.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


BAD = [
    ("summarize", "give DATA or --history FILE, and not both"),
    ("summarize {data} --history {history} -o {out}", "give DATA or --history FILE, and not both"),
    ("summarize {data}", "the summaries need a folder; name it: -o SUMMARIES"),
    ("summarize --history {history} --limit 3", "h.json: -o, --split, --limit, --seed and --force are for DATA"),
    ("summarize --history {nowhere}", "nowhere: no such file"),
    ("summarize {nowhere} -o {out}", "nowhere: no such folder"),
    ("summarize {data} -o {out} --block-size 0", "block size is 0; give a whole number, 1 to"),
    ("summarize {data} -o {out} --method daily", "method is 'daily'; one of recurrent, hierarchical"),
    ("summarize {data} -o {out} --split exam", "split is 'exam'; one of train, valid, test, all"),
    ("summarize {data} -o {out} --limit 0", "limit is 0"),
    ("summarize {data} -o {data}", "holds something else than a folder of summaries"),
    ("summarize {data} -o {made} --seed 1 --split train --limit 3", "another samples.seed: 0, not 1"),
    ("summarize --history {history} -d {wordless}", "has no words for preference summaries; add [summary]"),
    ("summarize {data} -o {out} -d {wordless}", "has no words for preference summaries; add [summary]"),
    ("export trsr {data} --summaries {nowhere} -o {rows}", "nowhere: no such folder; make one: rella summarize DATA"),
    ("export trsr {data} --summaries {data} -o {rows}", "is no folder of summaries"),
    ("export trsr {data} --summaries {made} -o {rows} --shots 9", "9 are wanted; ask for"),
    ("export trsr {data} --summaries {made} -o {rows} --format csv", "format is 'csv'; one of messages, alpaca, text"),
    ("export trsr {data} --summaries {made} -o {rows} --shots 0", "shots is 0"),
    ("export trsr {data} --summaries {made} -o {rows} --valid -1", "-1 validation samples are wanted"),
    ("export trsr {data} --summaries {made} -o {rows} -d {wordless}", "was written in other words than the domain"),
    ("export trsr {data} --summaries {made} -o {history}", "h.json: is there already"),
]


@pytest.fixture
def files(rella: Run, small_data: DataSet, history: Path, tmp_path: Path) -> dict[str, Path]:
    made = rella("summarize", small_data.folder, "-o", tmp_path / "made", "--split", "train", "--limit", 3)
    assert made.code == 0, made.err
    movies = rella("domains", "movies").out
    (tmp_path / "wordless.toml").write_text(movies.partition("[summary]")[0])
    names = {name: tmp_path / name for name in ("made", "nowhere", "out", "rows")}
    return {**names, "data": small_data.folder, "history": history, "wordless": tmp_path / "wordless.toml"}


def test_bad_input_gets_one_line_and_exit_2(rella: Run, files: dict[str, Path]) -> None:
    folders = (files["made"].parent, files["data"])
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*.json*")}
    for arguments, said in BAD:
        for name, path in files.items():
            arguments = arguments.replace(f"{{{name}}}", str(path))
        result = rella(*arguments.split())
        assert (result.code, result.out) == (2, ""), arguments
        assert said in result.err and len(result.err.splitlines()) == 1, (arguments, result.err)
        assert result.err.startswith("rella: ")
        assert not files["out"].exists() and not files["rows"].exists(), arguments
    assert {path: path.read_bytes() for folder in folders for path in folder.rglob("*.json*")} == before
