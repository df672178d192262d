"""`rella evaluate --protocol rank`, through the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Run, kill_when_written, runner
from tiny_model import Shape, write_model

from rella_cpp import DataSet, EvaluationSettings, Histories, evaluate, load_domain


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def test_a_ranking_prints_one_table_in_80_columns_and_everything_as_json(
    rella: Run, sparse_data: DataSet, roomy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    common = ("-m", roomy_model, "--contrast", "--protocol", "rank", "--limit", 5, "--negatives", 6)
    command = ("evaluate", sparse_data.folder, *common, "-o", tmp_path / "run")
    shown = rella(*command)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    rows = [line.split()[0] for line in lines if line.count("0.") + line.count("1.") >= 9]
    assert rows == ["model", "contrast", "popularity", "chance"]
    assert "5 users, each with one item liked among 6 never touched" in " ".join(shown.out.split())
    assert "similarity baseline left out: it needs --index" in shown.err
    assert "were computed, since what prompts share is read once" in shown.err
    again = rella(*command)
    assert again.out == shown.out and "were computed" not in again.err  # complete: nothing was read
    (whole,) = rella(*command, "--json").lines()
    assert set(whole) >= {"run", "settings", "protocol", "metrics", "chance", "differences", "verdicts", "notes"}
    assert whole["candidates"] == 7 and whole["settings"]["samples"]["count"] == 35  # type: ignore[index]


def test_rankings_are_compared(rella: Run, sparse_data: DataSet, roomy_model: Path, tmp_path: Path) -> None:
    common = ("evaluate", sparse_data.folder, "-m", roomy_model, "--protocol", "rank", "--limit", 4, "--negatives", 5)
    for k in (1, 3):
        assert rella(*common, "-k", k, "--retrieval", "recent", "-o", tmp_path / f"k{k}").code == 0
    rows = rella("compare", tmp_path / "k1", tmp_path / "k3", "--json").lines()
    assert [(row["run"], row["predictor"], row["users"]) for row in rows] == [
        ("k1", "model", 4),
        ("k1", "popularity", 4),
        ("k3", "model", 4),
    ]
    table = rella("compare", tmp_path / "k1", tmp_path / "k3")
    assert "NDCG@10" in table.out and "k3 model is" in table.out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_with_9_and_run_again_gives_the_same_files(
    sparse_data: DataSet, models: Path, tmp_path: Path, own_cache: Path
) -> None:
    model = write_model(models / "slow-rank.gguf", shape=Shape(ctx=4096, embd=128, ff=256, layers=4))

    def command(out: Path) -> list[str]:
        arguments = f"evaluate {sparse_data.folder} -m {model} --protocol rank --negatives 4 --split train --limit 18"
        return [sys.executable, "-m", "rella_cli", *arguments.split(), "-o", str(out)]

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(whole), check=True, capture_output=True)
    part = cut / "predictions.jsonl.part"
    kill_when_written(command(cut), part)
    assert 0 < part.read_bytes().count(b"\n") < 18 * 5
    subprocess.run(command(cut), check=True, capture_output=True)
    for name in ("predictions.jsonl", "run.json", "metrics.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


BAD = [
    ("evaluate {data} --protocol list -o {out}", "protocol is 'list'; one of clicks, rank, choose"),
    ("evaluate {data} --negatives 5 -o {out}", "--negatives are those of --protocol rank"),
    ("evaluate {data} --protocol rank --negatives 0 -o {out}", "0 negatives are wanted; give 1 to 1,000"),
    ("evaluate {data} --protocol rank --negatives 36 --baselines-only -o {out}", "items untouched, 36 are wanted"),
    ("evaluate {data} --protocol rank --sweep k=3,4 -o {out}", "reads one K; leave out --sweep"),
    ("evaluate {data} --protocol rank --calibration x -o {out}", "leave out --calibration"),
    ("evaluate --prompts {nowhere} --protocol rank -o {out}", "ready prompts have no histories"),
    ("evaluate {data} --protocol rank --limit 0 -o {out}", "limit is 0; give at least 1 user"),
    ("evaluate {data} --protocol rank --split all --baselines-only -o {out}", "split is 'all'"),
    ("evaluate {data} --protocol rank --negatives 4 --baselines-only -o {clicks}", "is a run with another samples."),
    ("evaluate {data} --baselines-only -o {ranking}", "is a run with another samples."),
    ("calibrate {ranking} -o {out}", "calibrate on one of --protocol clicks"),
    ("compare {clicks} {ranking}", "compare runs of one protocol"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(
    rella: Run, sparse_data: DataSet, tmp_path: Path, arguments: str, said: str
) -> None:
    files = {name: tmp_path / name for name in ("out", "nowhere", "clicks", "ranking")} | {"data": sparse_data.folder}
    histories = Histories(sparse_data, None, load_domain("movies"))
    evaluate(histories, files["clicks"], EvaluationSettings(limit=9), judge=None)
    common = ("--protocol", "rank", "--negatives", 4, "--baselines-only", "--split", "valid")
    assert rella("evaluate", sparse_data.folder, *common, "-o", files["ranking"]).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = rella(*arguments.format(**files).split())
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
