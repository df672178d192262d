"""Rows for DELRec, and what refuses to become some, through the command."""

import json
from pathlib import Path

import pytest
from commands import Run, runner
from ranking_files import write_rankings

from rella_cpp import DataSet


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="module")
def world(
    sparse_data: DataSet, small_data: DataSet, roomy_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Data, rankings and a model; made once, since nothing of it may be changed."""
    folder = tmp_path_factory.mktemp("world")
    everywhere = [(user, position) for user in range(150) for position in range(14)]
    write_rankings(folder / "ranking", sparse_data, everywhere, depth=40)
    write_rankings(folder / "late", sparse_data, [(user, 99) for user in range(150)], depth=40)
    (folder / "there").mkdir()
    (folder / "there/next.jsonl").write_text("mine")
    made = {"data": sparse_data.folder, "dense": small_data.folder, "model": roomy_model, "folder": folder}
    return made | {name: folder / name for name in ("ranking", "late", "there", "nowhere", "out")}


def test_three_sets_of_rows_are_written_into_a_folder(rella: Run, world: dict[str, Path], tmp_path: Path) -> None:
    given = ("export", "delrec", world["data"], "--ranking", world["ranking"], "--rows", 20, "-k", 5)
    told = rella(*given, "-o", tmp_path / "rows", "--format", "text", "-m", world["model"])
    assert told.code == 0, told.err
    names = [f"{task}.{end}" for task in ("temporal", "simulating", "next") for end in ("jsonl", "valid.jsonl")]
    names += [f"{task}.manifest.json" for task in ("temporal", "simulating", "next")]
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == sorted(names)
    assert told.out.count("20 in") == 6 and "liked" not in told.out and "0 positions where the recommender" in told.out
    row = json.loads((tmp_path / "rows/simulating.jsonl").read_text().splitlines()[0])
    assert row["task"] == "simulating" and row["text"] == row["prompt"] + row["completion"]
    (facts,) = rella(*given, "--task", "next", "--valid", 3, "-o", tmp_path / "one", "--json").lines()
    assert (facts["task"], facts["rows"], facts["valid_rows"], facts["left_out"]) == ("next", 20, 3, 0)
    assert (facts["liked"], facts["train"]) == (None, str(tmp_path / "one/next.jsonl"))
    # Another task joins them in the folder; only what is there already takes --force.
    assert rella(*given, "--task", "temporal", "--valid", 3, "-o", tmp_path / "one").code == 0
    assert len(list((tmp_path / "one").iterdir())) == 6


BAD = [
    ("{nowhere} -o {out}", "nowhere: no such folder"),
    ("{data} -o {out}", "the task simulating needs what a sequential recommender expects; give --ranking DIR"),
    ("{data} --ranking {nowhere} -o {out}", "nowhere: no such folder"),
    ("{data} --ranking {data} -o {out}", "is no manifest of rankings"),
    ("{dense} --ranking {ranking} -o {out}", "are rankings for ml-1m"),
    ("{dense} --ranking {ranking} --task next -o {out}", "are rankings for ml-1m"),
    ("{data} --ranking {late} -o {out}", "late: has no list at a position that trains; write training positions"),
    ("{data} --task next --rows 99999 -o {out}", "99,999 are wanted; ask for --rows"),
    ("{data} --task next --rows 0 -o {out}", "rows is 0"),
    ("{data} --task next -k 0 -o {out}", "K is '0'"),
    ("{data} --task next --candidates 1 -o {out}", "candidates is 1"),
    ("{data} --task next --candidates 36 -o {out}", "ask for fewer --candidates"),
    ("{data} --task next --seed -1 -o {out}", "seed is -1"),
    ("{data} --task next --valid -1 -o {out}", "-1 validation samples"),
    ("{data} --task next --format csv -o {out}", "format is 'csv'; one of messages, alpaca, text"),
    ("{data} --task last -o {out}", "task is 'last'; one of temporal, simulating, next"),
    ("{data} --task next --domain nowhere -o {out}", "nowhere"),
    ("{data} --task next --format text -m {model} --ctx 300 -o {out}", "does not fit the context of 300; raise --ctx"),
    ("{data} --task next -o {there}", "next.jsonl: is there already; name another, or overwrite it with --force"),
    ("{data} --task next -o {model}", "cannot be written"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(rella: Run, world: dict[str, Path], arguments: str, said: str) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in world["folder"].rglob("*") if path.is_file()}

    before = files()
    for name, path in world.items():
        arguments = arguments.replace(f"{{{name}}}", str(path))
    result = rella("export", "delrec", *arguments.split())
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")
    assert files() == before and not world["out"].exists()
