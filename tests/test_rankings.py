import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from test_datasets_table import WRITERS, write_csv, write_jsonl, write_parquet

from rella_cpp import DataSet, InputError, Ranking, Rankings, import_rankings, summarize_rankings
from rella_cpp.datasets.leave_one_out import LeaveOneOut

Row = dict[str, Any]
Lists = Mapping[tuple[int, int], Sequence[tuple[int, float]]]
# Lists of the look-alike: user and position, then items and scores by number. The second is out of order, with a tie.
LISTS: Lists = {
    (0, 1): [(3, 2.5), (0, 2.0), (7, -1.25)],
    (0, 4): [(5, 0.1), (2, 0.3), (9, 0.1), (1, 0.25)],
    (3, 2): [(4, -1e9)],
}


def as_lists(data: DataSet, lists: Lists) -> list[Row]:
    return [
        {
            "user": data.user_id(user),
            "position": position,
            "items": [data.item_id(item) for item, _ in entries],
            "scores": [score for _, score in entries],
        }
        for (user, position), entries in lists.items()
    ]


def as_rows(data: DataSet, lists: Lists) -> list[Row]:
    return [
        {"user": row["user"], "position": row["position"], "item": item, "score": score}
        for row in as_lists(data, lists)
        for item, score in zip(row["items"], row["scores"], strict=True)
    ]


def taken(table: Path, data: DataSet, **options: Any) -> Rankings:
    return import_rankings(table, data, table.parent / "out", force=True, **options)


def told(ranking: Ranking | None) -> list[tuple[int, float]] | None:
    return None if ranking is None else list(zip(ranking.items.tolist(), ranking.scores.tolist(), strict=True))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_table_comes_back_best_first_with_ties_as_they_stood(small_data: DataSet, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", as_lists(small_data, LISTS))
    known = taken(tmp_path / "a.parquet", small_data, name="SASRec")
    assert told(known.find(0, 1)) == list(LISTS[0, 1])
    assert told(known.find(0, 4)) == [(2, 0.3), (1, 0.25), (5, 0.1), (9, 0.1)]  # doubles, not floats
    assert told(known.find(3, 2)) == [(4, -1e9)]
    assert (len(known), known.name, known.depth) == (3, "SASRec", (1, 4))
    assert list(zip(known.users.tolist(), known.positions.tolist(), strict=True)) == list(LISTS)
    for user, position in ((0, 0), (0, 2), (1, 1), (-1, 1), (0, -1), (59, 1 << 40), (1 << 40, 1)):
        assert known.find(user, position) is None
    found = known.find(0, 1)
    assert found is not None and [str(found.items.dtype), str(found.scores.dtype)] == ["int64", "float64"]


def test_scores_of_items_put_the_unlisted_below_all_listed() -> None:
    ranking = Ranking(np.array([7, 2, 5]), np.array([1.5, 0.5, -3.0]))
    scores = ranking.scores_of(np.array([5, 100, 7, 0, 2, 5]))
    assert scores.tolist() == [-3.0, -6.0, 1.5, -6.0, 0.5, -3.0]
    for lowest in (0.0, -0.5, 1e-300, 3.0, 1e17, -1e17, -9.9e299):  # a step of 1 would vanish beside 1e17
        unlisted = Ranking(np.array([1]), np.array([lowest])).unlisted
        assert math.isfinite(unlisted) and unlisted < lowest


FORMS = [(ending, write, as_lists) for ending, write in WRITERS if write is not write_csv]
FORMS += [(ending, write, as_rows) for ending, write in WRITERS]


@pytest.mark.parametrize(("ending", "write", "form"), FORMS)
def test_every_kind_of_table_in_either_form_gives_the_same_folder(
    small_data: DataSet,
    tmp_path: Path,
    ending: str,
    write: Callable[[Path, Sequence[Mapping[str, Any]]], None],
    form: Callable[[DataSet, Lists], list[Row]],
) -> None:
    write_jsonl(tmp_path / "reference.jsonl", as_lists(small_data, LISTS))
    import_rankings(tmp_path / "reference.jsonl", small_data, tmp_path / "reference")
    write(tmp_path / f"table{ending}", form(small_data, LISTS))
    taken(tmp_path / f"table{ending}", small_data)
    assert contents(tmp_path / "out") == contents(tmp_path / "reference")


def test_neither_the_order_of_the_lists_nor_the_kind_of_the_ids_matters(small_data: DataSet, tmp_path: Path) -> None:
    rows = as_rows(small_data, LISTS)
    write_csv(tmp_path / "a.csv", rows)
    first = contents(taken(tmp_path / "a.csv", small_data).folder)
    # Rows of the lists mixed, ties as they stood.
    mixed = sorted(rows, key=lambda row: -float(row["score"]))
    assert mixed != rows
    write_csv(tmp_path / "b.csv", mixed)
    assert contents(taken(tmp_path / "b.csv", small_data).folder) == first
    numbers = [
        row | {"user": int(row["user"]), "item": float(row["item"]), "position": str(row["position"])} for row in rows
    ]
    write_parquet(tmp_path / "c.parquet", numbers)
    assert contents(taken(tmp_path / "c.parquet", small_data).folder) == first
    mixed_ids = [row | {"item": int(row["item"]) if at % 2 else row["item"]} for at, row in enumerate(rows)]
    write_jsonl(tmp_path / "d.jsonl", mixed_ids)
    assert contents(taken(tmp_path / "d.jsonl", small_data).folder) == first


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=st.dictionaries(
        st.integers(0, 99),
        st.dictionaries(st.integers(0, 29), st.floats(-1e300, 1e300, exclude_min=True, exclude_max=True), min_size=1),
        min_size=1,
    ),
    group=st.integers(1, 40),
)
def test_what_is_found_is_what_a_dict_holds(
    small_data: DataSet,
    tmp_path_factory: pytest.TempPathFactory,
    drawn: dict[int, dict[int, float]],
    group: int,
) -> None:
    lengths = np.diff(small_data.interactions.starts).tolist()
    keys = [(user, position) for user in range(60) for position in range(min(lengths[user], 4))]
    lists = {keys[at]: entries for at, entries in drawn.items()}
    folder = tmp_path_factory.mktemp("lists")
    write_parquet(folder / "a.parquet", as_lists(small_data, {key: list(part.items()) for key, part in lists.items()}))
    with pytest.MonkeyPatch.context() as patch:  # many row groups, or one
        patch.setattr("rella_cpp.datasets.rankings.importer._GROUP", group)
        known = taken(folder / "a.parquet", small_data)
    for key in np.random.default_rng(group).permutation(len(keys)).tolist():
        expected = lists.get(keys[key])
        found = known.find(*keys[key])
        assert told(found) == (None if expected is None else sorted(expected.items(), key=lambda entry: -entry[1]))
        if expected is not None and found is not None:
            scores = found.scores_of(np.arange(30)).tolist()
            assert scores == [expected.get(item, found.unlisted) for item in range(30)]
            assert found.unlisted < min(expected.values())


def test_a_long_table_is_read_in_parts(small_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "rows.csv", as_rows(small_data, LISTS))
    first = contents(taken(tmp_path / "rows.csv", small_data).folder)
    monkeypatch.setattr("rella_cpp.datasets.tables.table_files._PART", 2)  # parts end within lists
    monkeypatch.setattr("rella_cpp.datasets.tables.delimited_text._BLOCK", 40)
    for write, rows in (
        (write_parquet, as_rows),
        (write_jsonl, as_rows),
        (write_jsonl, as_lists),
        (write_csv, as_rows),
    ):
        path = tmp_path / f"parts{'.csv' if write is write_csv else '.jsonl' if write is write_jsonl else '.parquet'}"
        write(path, rows(small_data, LISTS))
        assert contents(taken(path, small_data).folder) == first
    path = tmp_path / "parts.csv"
    with path.open("a") as file:
        file.write("nobody,0,1,1\n1,0,1,1\nno-one,0,1,1\n")
    with pytest.raises(InputError, match=r"parts\.csv, line 10: the user 'nobody' is not in .*, nor are 1 others"):
        taken(path, small_data)


def test_the_same_table_gives_the_same_bytes_and_other_data_is_refused(
    small_data: DataSet, sparse_data: DataSet, tmp_path: Path
) -> None:
    write_csv(tmp_path / "a.csv", as_rows(small_data, LISTS))
    one = import_rankings(tmp_path / "a.csv", small_data, tmp_path / "one")
    two = import_rankings(tmp_path / "a.csv", small_data, tmp_path / "two")
    assert contents(one.folder) == contents(two.folder) and one.fingerprint == two.fingerprint
    named = import_rankings(tmp_path / "a.csv", small_data, tmp_path / "named", name="GRU4Rec")
    assert named.fingerprint != one.fingerprint
    one.check(small_data)
    with pytest.raises(InputError, match=r"one: are rankings for ml-1m \(\w{12}\), not for ml-1m \(\w{12}\)"):
        one.check(sparse_data)
    with pytest.raises(InputError, match="are rankings for"):
        summarize_rankings(one, sparse_data)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda folder: (folder / "rankings.parquet").write_bytes(b"PAR1"),
            "rankings.parquet: is not as it was written",
        ),
        (lambda folder: (folder / "rankings.parquet").unlink(), "rankings.parquet: no such file"),
        (lambda folder: (folder / "manifest.json").unlink(), "out: holds no rankings; make them"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "manifest.json: is no manifest of rankings"),
        (lambda folder: edit(folder, rella_rankings=2), "manifest.json: is of version 2, this rella reads version 1"),
        (lambda folder: edit(folder, name="other"), "manifest.json: is damaged"),
        (lambda folder: folder.rename(folder.with_name("gone")), "out: no such folder; give imported rankings"),
    ],
)
def test_a_damaged_folder_is_refused(
    small_data: DataSet, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    write_csv(tmp_path / "a.csv", as_rows(small_data, LISTS))
    spoil(taken(tmp_path / "a.csv", small_data).folder)
    with pytest.raises(InputError) as caught:
        Rankings.open(tmp_path / "out")
    assert said in str(caught.value)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_summary_counts_targets_and_hits(small_data: DataSet, tmp_path: Path) -> None:
    left, known = LeaveOneOut(small_data), small_data.interactions
    target = {user: int(known.item[known.starts[user + 1] - 1]) for user in left.users.tolist()}
    users, items = left.users.tolist(), small_data.items.num_rows

    def table(offset: int) -> Lists:
        """Rank the target first for a third of the users, eleventh for a third, not at all for the others."""
        made = {}
        for at, user in enumerate(users):
            position = int(known.starts[user + 1] - known.starts[user]) - 1 - offset
            others = [item for item in range(items) if item != target[user]]
            place = (0, 10, None)[at % 3]
            ranked = others if place is None else [*others[:place], target[user], *others[place:]]
            made[user, position] = [(item, -float(rank)) for rank, item in enumerate(ranked)]
        return made

    write_parquet(tmp_path / "a.parquet", as_lists(small_data, table(0)))
    summary = summarize_rankings(taken(tmp_path / "a.parquet", small_data), small_data)
    third = len(users[::3]) / len(users)
    assert (summary.lists, summary.users, summary.shortest, summary.longest) == (
        len(users),
        len(users),
        items - 1,
        items,
    )
    assert (summary.test, summary.valid) == (1, 0) and summary.first == summary.near == third
    write_parquet(tmp_path / "b.parquet", as_lists(small_data, table(1)))  # off by one
    summary = summarize_rankings(taken(tmp_path / "b.parquet", small_data), small_data)
    assert (summary.test, summary.valid, summary.first, summary.near) == (0, 1, None, None)
    assert summary.as_dict()["valid"] == 1


def test_odd_types_of_parquet_are_read(small_data: DataSet, tmp_path: Path) -> None:
    rows = as_lists(small_data, LISTS)
    write_parquet(tmp_path / "a.parquet", rows)
    first = contents(taken(tmp_path / "a.parquet", small_data).folder)
    columns = {
        "user": pa.array([row["user"] for row in rows]).dictionary_encode(),
        "position": pa.array([row["position"] for row in rows], pa.int16()),
        "items": pa.array([row["items"] for row in rows], pa.large_list(pa.large_string())),
        "scores": pa.array([row["scores"] for row in rows], pa.large_list(pa.float64())),
        "other": pa.array(["never read"] * len(rows)),
    }
    parquet.write_table(pa.table(columns), tmp_path / "b.parquet")
    assert contents(taken(tmp_path / "b.parquet", small_data).folder) == first


@pytest.mark.parametrize(("ending", "write"), [entry for entry in WRITERS if entry[0]])
def test_ids_that_a_table_wrote_as_floats_are_the_data_sets(
    small_data: DataSet, tmp_path: Path, ending: str, write: Callable[[Path, Sequence[Mapping[str, Any]]], None]
) -> None:
    plain, floats = as_rows(small_data, LISTS), as_rows(small_data, LISTS)
    for row in floats:
        row |= {"user": float(row["user"]), "item": float(row["item"]), "position": float(row["position"])}
    found = []
    for name, rows in (("plain", plain), ("floats", floats)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / f"a{ending}", rows)
        found.append(contents(taken(tmp_path / name / f"a{ending}", small_data).folder))
    assert found[0] == found[1]
