import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from commands import Run, runner
from pyarrow import parquet
from test_datasets_table import write_csv, write_jsonl, write_parquet
from test_rankings import LISTS, as_lists, as_rows

from rella_cpp import DataSet, Rankings

FULL = "user,position,item,score\n"


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def take(rella: Run, table: Path, data: DataSet, out: Path, *options: str) -> Any:
    return rella("data", "import-ranking", table, "--data", data.folder, "-o", out, *options)


def test_it_says_what_is_in_the_table(rella: Run, small_data: DataSet, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", as_rows(small_data, LISTS))
    code, out, err = take(rella, tmp_path / "a.csv", small_data, tmp_path / "out", "--name", "SASRec")
    assert code == 0 and err.startswith("no test target has a list") and len(err.splitlines()) == 1
    assert "SASRec, for ml-1m" in out and "3 of 2 users, of 1–4 items" in out and "0.0% have a list" in out
    assert Rankings.open(tmp_path / "out").name == "SASRec"


def test_json_has_the_same_and_the_hits(rella: Run, small_data: DataSet, tmp_path: Path) -> None:
    known = small_data.interactions
    last = int(known.starts[1]) - 1
    target = int(known.item[last])
    write_jsonl(tmp_path / "a.jsonl", as_lists(small_data, {(0, last): [(target, 1.0), ((target + 1) % 30, 0.5)]}))
    code, out, err = take(rella, tmp_path / "a.jsonl", small_data, tmp_path / "out", "--json")
    made = json.loads(out)
    assert (code, err) == (0, "") and (made["folder"], made["lists"], made["longest"]) == (str(tmp_path / "out"), 1, 2)
    assert (made["first"], made["near"], made["valid"]) == (1, 1, 0) and 0 < made["test"] < 1
    code, out, _ = take(rella, tmp_path / "a.jsonl", small_data, tmp_path / "out", "--force")
    assert code == 0 and "100.0% first, 100.0% among the first 10" in out


def test_what_is_there_is_overwritten_only_with_force_and_only_our_own(
    rella: Run, small_data: DataSet, tmp_path: Path
) -> None:
    write_csv(tmp_path / "a.csv", as_rows(small_data, LISTS))
    take(rella, tmp_path / "a.csv", small_data, tmp_path / "out")
    code, _, err = take(rella, tmp_path / "a.csv", small_data, tmp_path / "out")
    assert code == 2 and "out: is there already" in err and len(err.splitlines()) == 1
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    code, _, err = take(rella, tmp_path / "a.csv", small_data, tmp_path / "photos", "--force")
    assert code == 2 and "and no folder of rankings" in err and (tmp_path / "photos/a.jpg").exists()


TEXTS = [
    (FULL, "a.csv: holds no rows; a row is user, position, item, score, or user, position, items, scores with lists"),
    ("", "a.csv: is empty"),
    ("user,item,score\n1,1,1\n", "a.csv: has no column position; its columns are user, item, score; a row is user"),
    ("user,position,items\n1,1,1\n", "a.csv: has no column scores; its columns are user, position, items;"),
    ("who,what\n1,1\n", "has no column user and no column position and no column item and no column score"),
    ("user,position,items,scores\n1,1,1,1\n", "a.csv, line 2: column items is of the type string, no list"),
    (
        f"{FULL}1,1,1,1\n999,1,1,1\n998,1,1,1\n999,1,1,1\n",
        "line 3: the user '999' is not in the data set, nor are 1 others",
    ),
    (
        f"{FULL}1,1,1,1\n1,1,Heat,1\n",
        "line 3: the item 'Heat' is not in the data set; give ids as the data set has",
    ),
    (f"{FULL}1,1,1,1\n,1,1,1\n", "a.csv, line 3: the user is missing"),
    (f"{FULL}1,1,1,1\n1,1,,1\n", "a.csv, line 3: the item is missing"),
    (f"{FULL}1,1,1,1\n\n1,-1,1,1\n", "a.csv, line 4: position is -1; user '1' has"),
    (f"{FULL}1,1,1,1\n1,5000,1,1\n", "a.csv, line 3: position is 5000; user '1' has"),
    (f"{FULL}1,1.5,1,1\n", "a.csv, line 2: position is text ('1.5')"),
    (f"{FULL}1,next,1,1\n", "a.csv, line 2: position is text ('next')"),
    (f"{FULL}999,next,1,1\n", "position is text ('next'); give the index of the target"),
    (f"{FULL}1,,1,1\n", "a.csv, line 2: position is text ('')"),
    (f"{FULL}1,1,1,1\n1,1,2,nan\n", "a.csv, line 3: score is text ('nan'); give a finite number"),
    (f"{FULL}1,1,1,1\n1,1,2,\n", "a.csv, line 3: score is text ('')"),
    (f"{FULL}1,1,1,inf\n", "a.csv, line 2: score is text ('inf')"),
    (f"{FULL}1,1,1,1e301\n", "a.csv, line 2: score is text ('1e301')"),
    (f"{FULL}1,1,1,high\n", "a.csv, line 2: score is text ('high')"),
    (
        f"{FULL}1,1,1,1\n1,1,2,1\n1,1,1,0\n",
        "line 4: the item '1' comes twice in the list of user '1' at position 1",
    ),
    (f"{FULL}1,1,1,1\n1,1,2\n", "a.csv, line 3: 3 fields in place of 4; mend the row"),
]


@pytest.mark.parametrize(("text", "said"), TEXTS)
def test_bad_rows_get_one_line_and_leave_nothing(
    rella: Run, small_data: DataSet, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    refused(rella, tmp_path / "a.csv", small_data, said)


def refused(rella: Run, table: Path, data: DataSet, said: str) -> None:
    code, out, err = take(rella, table, data, table.parent / "out")
    assert (code, out) == (2, "") and said in err
    assert len(err.splitlines()) == 1 and err.startswith("rella: ")
    assert [path.name for path in table.parent.iterdir() if path.name not in ("cache", table.name)] == []


def row(**changes: object) -> dict[str, object]:
    return {"user": "1", "position": 1, "items": ["1", "2"], "scores": [2, 1]} | changes


JSON_ROWS: list[tuple[Sequence[Mapping[str, object]], str]] = [
    ([row(position=True)], "column position is of the type bool"),
    ([row(scores=[True, False])], "column score is of the type bool"),
    (
        [row(), row(position=2, scores=[1])],
        "line 2: there are 2 items and 1 scores; give a score for each",
    ),
    ([row(), row()], "a.jsonl, line 2: the list of user '1' at position 1 was there before"),
    (
        [row(), row(position=2, items=["1", "1"])],
        "the item '1' comes twice in the list of user '1' at position 2",
    ),
    ([row(), row(position=2, items=[], scores=[])], "a.jsonl, line 2: there are no items"),
    ([row(), {"user": "1", "position": 2, "items": ["1"]}], "a.jsonl, line 2: there are no scores"),
    ([row(), row(position=2, scores=[1, None])], "a.jsonl, line 2: score is null; give a finite number"),
    ([row(), row(position=2, scores=[1, float("nan")])], "a.jsonl, line 2: score is a number ('NaN')"),
    ([row(), row(position=2, scores=[1, "x"])], "a.jsonl, line 2: score is text ('x')"),
    ([row(), row(position=2, items=["1", None])], "a.jsonl, line 2: the item is missing"),
    ([row(), row(position=2, items=["1", "x"])], "a.jsonl, line 2: the item 'x' is not in the data set"),
    ([row(items="1", scores=1)], "a.jsonl, line 1: column items is of the type string, no list"),
    ([row(items=[["1"], ["2"]])], "column item is of the type list"),
    ([row(scores=[[1], [2]])], "column score is of the type list"),
    ([row(user=None)], "a.jsonl, line 1: the user is missing"),
    ([row(user={"id": 1})], "column user is of the type struct"),
    ([row(position=[1])], "column position is of the type list"),
    ([row(position=None)], "a.jsonl, line 1: position is null"),
    ([row(position=2**70)], "a.jsonl, line 1: position is"),
]


@pytest.mark.parametrize(("rows", "said"), JSON_ROWS)
def test_bad_lists_get_one_line_and_leave_nothing(
    rella: Run, small_data: DataSet, tmp_path: Path, rows: Sequence[Mapping[str, object]], said: str
) -> None:
    write_jsonl(tmp_path / "a.jsonl", rows)
    refused(rella, tmp_path / "a.jsonl", small_data, said)


def test_files_that_are_no_tables_get_one_line(rella: Run, small_data: DataSet, tmp_path: Path) -> None:
    code, _, err = take(rella, tmp_path / "missing.csv", small_data, tmp_path / "out")
    assert code == 2 and "missing.csv: no such file; check the path" in err and len(err.splitlines()) == 1
    for name, content, said in (
        ("a.parquet", b"PAR1 and no more", "a.parquet: is no whole Parquet file"),
        (
            "a.jsonl",
            b'{"user": 1, "position": 1, "items": [1], "scores": [1]}\n{"user"',
            "a.jsonl, line 2: is not JSON",
        ),
        ("a.jsonl", b"", "a.jsonl: has no column user"),
        ("a.json", b"{}", "a.json: is an object"),
        ("a.txt", b"x", "a.txt: is of no known kind"),
        ("a.csv", b"user,position,item,score,score\n1,1,1,1,2\n", "a.csv: has several columns score; leave one"),
    ):
        folder = tmp_path / "one"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        refused(rella, folder / name, small_data, said)
        (folder / name).unlink()


def test_rows_of_parquet_are_named_by_number(rella: Run, small_data: DataSet, tmp_path: Path) -> None:
    rows = as_rows(small_data, LISTS)
    rows[4]["user"] = "nobody"
    write_parquet(tmp_path / "a.parquet", rows)
    refused(rella, tmp_path / "a.parquet", small_data, "a.parquet, row 5: the user 'nobody' is not in the data set")
    empty = pa.table({name: pa.array([], pa.string()) for name in ("user", "position", "item", "score")})
    parquet.write_table(empty, tmp_path / "a.parquet")
    refused(rella, tmp_path / "a.parquet", small_data, "a.parquet: holds no rows")


def test_the_data_set_must_be_one(rella: Run, small_data: DataSet, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", as_rows(small_data, LISTS))
    code, _, err = rella("data", "import-ranking", tmp_path / "a.csv", "--data", tmp_path, "-o", tmp_path / "out")
    assert code == 2 and "is no prepared data set" in err
    code, _, err = rella("data", "import-ranking", tmp_path / "a.csv", "-o", tmp_path / "out")
    assert code == 2 and "Missing option '--data'" in err
