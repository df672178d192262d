"""`--context summary`, through the commands that judge."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Run, runner

from rella_cpp import ItemIndex

HISTORY = [{"title": f"movie {n}", "rating": 1 + n % 5, "overview": f"plot {n} " * 40} for n in range(12)]
SUMMARY = ("--context", "summary", "--summary-tokens", 8)


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def files(tmp_path: Path, roomy_model: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setenv("RELLA_MODEL", str(roomy_model))
    (tmp_path / "h.json").write_text(json.dumps(HISTORY))
    (tmp_path / "i.json").write_text(json.dumps([{"title": "Heat", "overview": "a thief"}, {"title": "Alien"}]))
    return ["--history", tmp_path / "h.json", "--item", tmp_path / "i.json"]


@pytest.mark.parametrize("command", ["score", "rank"])
def test_scores_have_their_summary(rella: Run, files: list[object], command: str) -> None:
    result = rella(command, *files, *SUMMARY, "-n", 2, "--json", "--show-prompt")
    assert result.code == 0, result.err
    for score in result.lines():
        assert score["used"] == [10, 11]
        summary = score["summary"]
        assert isinstance(summary, dict) and list(summary) == ["text", "method", "blocks", "shortened"]
        assert (summary["method"], summary["blocks"], summary["shortened"]) == ("recurrent", 2, 12)
        assert summary["text"] in str(score["prompt"]) or summary["text"] == ""
    assert "overview" not in result.err  # the prompts show it
    shown = rella(command, *files, *SUMMARY, "--method", "hierarchical")
    assert "Preference summary:" in shown.out and "12 item texts shortened" in " ".join(shown.out.split())


def test_without_a_summary_nothing_changes(rella: Run, files: list[object]) -> None:
    plain = rella("score", *files, "--json", "--show-prompt")
    assert "summary" not in plain.lines()[0] and "plot" not in plain.out.partition('"prompt"')[2].partition("}")[0]
    assert "does not show overview" in plain.err


def test_a_recommendation_reads_the_summary(rella: Run, files: list[object], small_index: ItemIndex) -> None:
    found = rella("recommend", *files[:2], "--index", small_index.folder, *SUMMARY, "--recent", 3, "-n", 2, "--json")
    assert found.code == 0, found.err
    assert [len(row["used"]) for row in found.lines()] == [3, 3]  # type: ignore[arg-type]
    assert all("summary" in row for row in found.lines())


def test_a_worker_reads_summaries(rella: Run, files: list[object]) -> None:
    request = {"history": HISTORY, "item": {"title": "Heat"}}
    command = [sys.executable, "-m", "rella_cli", "score", "--jsonl", "--show-prompt", *map(str, SUMMARY)]
    done = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, check=True)
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    alone = rella("score", *files, *SUMMARY, "--json", "--show-prompt").lines()[0]
    assert row["score"]["summary"] == alone["summary"] and b"overview" not in done.stderr
    done = subprocess.run(command, input=json.dumps({**request, "k": 3}).encode(), capture_output=True, check=True)
    error = json.loads(done.stdout)["error"]
    assert error["place"] == "k" and "the worker shows summaries; leave k out" in error["message"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--context", "both"], "context is 'both'; one of history, summary"),
        (["--method", "recurrent"], "--method is for preference summaries; add --context summary"),
        (["--overlap"], "--overlap is for preference summaries; add --context summary"),
        (["-n", 3], "--recent is for preference summaries; add --context summary"),
        ([*SUMMARY, "-k", 4], "-k chooses behaviors, and --context summary shows the latest; leave one of them out"),
        ([*SUMMARY, "--retrieval", "recent"], "--retrieval chooses behaviors"),
        ([*SUMMARY, "--method", "best"], "method is 'best'; one of recurrent, hierarchical"),
        ([*SUMMARY, "--block-size", 0], "block size is 0; give a whole number, 1 to 1,000,000 (--block-size)"),
        ([*SUMMARY, "--item-tokens", 3], "item tokens is 3; give a whole number, 8 to"),
        ([*SUMMARY, "-n", -1], "recent is -1; give a whole number, 0 to 1,000,000 (--recent)"),
        ([*SUMMARY, "--block-size", 12, "-n", 0, "--ctx", 512], "do not fit the context of 512; lower --block-size"),
    ],
)
def test_options_that_mean_nothing_are_refused(rella: Run, files: list[object], given: list[object], said: str) -> None:
    result = rella("score", *files, *given)
    assert result.code == 2 and result.out == "" and len(result.err.splitlines()) == 1
    assert said in result.err


def test_a_domain_without_words_is_refused(rella: Run, files: list[object], tmp_path: Path) -> None:
    text = rella("domains", "movies").out
    (tmp_path / "own.toml").write_text(text.partition("[summary]")[0])
    result = rella("score", *files, *SUMMARY, "-d", tmp_path / "own.toml")
    assert result.code == 2 and "domain own: has no words for preference summaries; add [summary]" in result.err
    assert len(result.err.splitlines()) == 1
