"""`--by likelihood` and `rella evaluate --protocol choose`, through the commands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Result, Run, kill_when_written, runner
from tiny_model import Shape, write_model

from rella_cpp import DataSet, ItemIndex
from rella_cpp.datasets.leave_one_out import LeaveOneOut

EXAMPLES = Path(__file__).parent.parent / "examples"
HISTORY, ITEMS = (str(EXAMPLES / name) for name in ("history.json", "items.json"))


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def rank(rella: Run, roomy_model: Path) -> Run:
    """`rella rank --by likelihood` on the examples."""

    def run(*arguments: object, command: str = "rank") -> Result:
        files = ("--history", HISTORY, "--items", ITEMS, "-m", roomy_model, "--threads", 1)
        return rella(command, *files, "--by", "likelihood", *arguments)

    return run


def test_rank_by_likelihood_as_json_has_one_object_an_item(rank: Run) -> None:
    first, second = rank("--json", "--exact"), rank("--json", "--exact")
    assert first.code == 0 and first.out == second.out
    rows = first.lines()
    assert [row["item"] for row in rows] == json.loads(Path(ITEMS).read_text())
    keys = "item log_probability tokens per_token share prompt_tokens used dropped model rank"
    assert all(list(row) == keys.split() for row in rows)
    assert sorted(rows, key=lambda row: -row["log_probability"]) == sorted(rows, key=lambda row: row["rank"])  # type: ignore[operator, arg-type, return-value]
    assert sum(row["share"] for row in rows) == pytest.approx(1)  # type: ignore[misc]
    assert len({row["prompt_tokens"] for row in rows}) == 1
    prompts = [row.get("prompt") for row in rank("--json", "--show-prompt").lines()]
    assert "Which one is it?" in str(prompts[0]) and prompts[1:] == [None] * (len(rows) - 1)  # once
    assert len(rank("--json", "-k", 2).lines()[0]["used"]) == 2  # type: ignore[arg-type]


def test_a_person_sees_a_table_the_likeliest_first(rank: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = rank("--show-prompt")
    assert shown.code == 0, shown.err
    head, *lines = shown.out.splitlines()
    assert head.split() == ["share", "log-probability", "per", "token", "item"]
    found = [float(line.split()[3]) for line in lines[:5]]
    assert found == sorted(found, reverse=True) and [line.split()[0] for line in lines[:5]] == list("12345")
    assert shown.out.count("Which one is it?") == 1 and "tokens, once for all" in " ".join(shown.out.split())
    assert "does not show" not in shown.err
    alone = rank("--retrieval", "recent", "--order", "time", "--context", "history", "--by", "likelihood")
    assert alone.code == 0 and alone.out in shown.out  # what a choice does may be said


def test_recommendations_by_likelihood_come_from_the_index(
    rella: Run, small_data: DataSet, small_index: ItemIndex, roomy_model: Path, tmp_path: Path
) -> None:
    history = tmp_path / "history.json"
    history.write_text(json.dumps([{**small_data.item(row).fields, "rating": 5} for row in (0, 5, 9)]))
    common = ("--history", history, "--index", small_index.folder, "-m", roomy_model, "-n", 4, "--candidates", 8)
    rows = rella("recommend", *common, "--by", "likelihood", "--json").lines()
    assert [row["rank"] for row in rows] == [1, 2, 3, 4] and {"near", "cosine", "share"} <= set(rows[0])
    values = [row["log_probability"] for row in rows]
    assert values == sorted(values, reverse=True)  # type: ignore[type-var]
    assert sum(row["share"] for row in rows) < 1  # type: ignore[misc]  # four more were candidates
    judged = rella("recommend", *common[:-4], "-n", 8, "--candidates", 8, "--json").lines()
    assert {row["item"]["id"] for row in rows} <= {row["item"]["id"] for row in judged}  # type: ignore[index]
    shown = rella("recommend", *common, "--by", "likelihood")
    assert shown.code == 0 and "per token" in shown.out and shown.out.count("  near ") == 4


REFUSED = [
    ("--retrieval subr", "--retrieval subr with --by likelihood: it shows the latest behaviors"),
    ("--order similarity", "--order similarity with --by likelihood"),
    ("--contrast", "--contrast with --by likelihood"),
    ("--calibration x.json", "--calibration with --by likelihood"),
    ("--head x", "--head with --by likelihood"),
    ("--index x", "--index with --by likelihood"),
    ("--context summary", "--context summary with --by likelihood"),
    ("--jsonl", "No such option: --jsonl"),
    ("--by luck", "by is 'luck'; one of yes-no, likelihood"),
    ("-k 0", "K is '0'"),
    ("--ctx 300", "examples/items.json: a prompt of"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_what_a_choice_does_not_know_is_refused(rank: Run, arguments: str, said: str) -> None:
    result = rank(*arguments.split())
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1


def test_one_item_is_no_choice(rank: Run) -> None:
    result = rank(command="score")
    assert (result.code, result.out) == (2, "") and "No such option: --by" in result.err


def test_choices_print_one_table_in_80_columns_and_everything_as_json(
    rella: Run, sparse_data: DataSet, roomy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    left, table = LeaveOneOut(sparse_data), tmp_path / "lists.jsonl"
    rows = [
        {"user": sparse_data.user_id(user), "position": position, "items": [sparse_data.item_id(0)], "scores": [1.5]}
        for user, position in zip(left.users.tolist(), left.positions("test").tolist(), strict=True)
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lists = tmp_path / "lists"
    made = rella("data", "import-ranking", table, "--data", sparse_data.folder, "--name", "SASRec", "-o", lists)
    assert made.code == 0, made.err
    common = ("--protocol", "choose", "--limit", 5, "--candidates", 6, "--ranking", lists)
    command = ("evaluate", sparse_data.folder, "-m", roomy_model, *common, "-o", tmp_path / "run")
    shown = rella(*command)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    found = [line.split()[0] for line in lines if re.match(r"\w+ +[01]\.\d{3} +[01]\.\d{3}", line)]
    assert found == ["model", "per_token", "popularity", "SASRec", "chance"]
    assert "5 users, each with the next item among 5 never touched" in " ".join(shown.out.split())
    assert "were computed, since what prompts share is read once" in shown.err
    again = rella(*command)
    assert again.out == shown.out and "were computed" not in again.err  # complete: nothing was read
    (whole,) = rella(*command, "--json").lines()
    assert (whole["protocol"], whole["candidates"]) == ("choose", 6)
    assert set(whole["settings"]["ranking"]) == {"name", "fingerprint"}  # type: ignore[index]
    plain = rella("evaluate", sparse_data.folder, *common, "--baselines-only", "-o", tmp_path / "plain")
    assert plain.code == 0 and "model" not in plain.out and "SASRec" in plain.out
    asked = (
        "evaluate",
        sparse_data.folder,
        "-m",
        roomy_model,
        *common[:-2],
        "--by",
        "yes-no",
        "-o",
        tmp_path / "asked",
    )
    assert rella(*asked).code == 0
    table_of_both = rella("compare", tmp_path / "run", tmp_path / "asked")
    assert table_of_both.code == 0 and "HR@1" in table_of_both.out and "MRR" in table_of_both.out
    rows_of_both = rella("compare", tmp_path / "run", tmp_path / "asked", "--json").lines()
    assert [(row["run"], row["predictor"]) for row in rows_of_both if row["predictor"] == "model"] == [
        ("run", "model"),
        ("asked", "model"),
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_with_9_and_run_again_gives_the_same_files(
    sparse_data: DataSet, models: Path, tmp_path: Path, own_cache: Path
) -> None:
    model = write_model(models / "slow-choose.gguf", shape=Shape(ctx=4096, embd=128, ff=256, layers=4))

    def command(out: Path) -> list[str]:
        arguments = f"evaluate {sparse_data.folder} -m {model} --protocol choose --candidates 4 --limit 18 --threads 1"
        return [sys.executable, "-m", "rella_cli", *arguments.split(), "-o", str(out)]

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(whole), check=True, capture_output=True)
    part = cut / "predictions.jsonl.part"
    kill_when_written(command(cut), part)
    assert 0 < part.read_bytes().count(b"\n") < 18 * 4
    subprocess.run(command(cut), check=True, capture_output=True)
    for name in ("predictions.jsonl", "run.json", "metrics.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


BAD = [
    ("--negatives 4 --protocol choose", "--negatives are those of --protocol rank; count the next item, too"),
    ("--candidates 4 --protocol rank", "--candidates are those of --protocol choose; leave one out, or give both"),
    ("--candidates 4", "--candidates are those of --protocol choose"),
    ("--ranking {nowhere} --protocol rank", "--ranking is that of --protocol choose"),
    ("--ranking {nowhere}", "--ranking is that of --protocol choose"),
    ("--by likelihood", "--by is that of --protocol rank and choose"),
    ("--protocol choose --by luck", "by is 'luck'"),
    ("--protocol choose --candidates 1", "1 candidates are wanted; give 2 to 1,000 (--candidates 15)"),
    ("--protocol choose --candidates 1001", "1001 candidates are wanted"),
    ("--protocol choose --sweep k=3,4", "--protocol choose reads one K; leave out --sweep"),
    ("--protocol choose --calibration x", "--protocol choose needs no calibrated probabilities"),
    ("--protocol choose --retrieval subr", "--retrieval subr with --by likelihood"),
    ("--protocol choose --order reversed", "--order reversed with --by likelihood"),
    ("--protocol choose --contrast", "--contrast with --by likelihood"),
    ("--protocol choose --head x", "--head with --by likelihood"),
    ("--protocol choose --context summary", "--context summary with --by likelihood"),
    ("--protocol rank --by likelihood --contrast", "--contrast with --by likelihood"),
    ("--protocol choose --ranking {nowhere} --baselines-only", "no such folder"),
    ("--protocol choose --split all --baselines-only", "split is 'all'"),
    ("--protocol choose --candidates 40 --baselines-only", "items untouched, 39 are wanted"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(
    rella: Run, sparse_data: DataSet, tmp_path: Path, arguments: str, said: str
) -> None:
    words = arguments.format(nowhere=tmp_path / "nowhere").split()
    result = rella("evaluate", sparse_data.folder, *words, "-o", tmp_path / "out")
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")
    assert list(tmp_path.glob("out")) == []
