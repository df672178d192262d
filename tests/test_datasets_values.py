"""What a table says, by example: ids, years, missing values, numbers, times, and pairs that come again."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from look_alikes import ml_25m, random_ratings, write_files
from pyarrow import parquet
from test_datasets_movielens import brute_force, told

from rella_cpp import (
    DataSet,
    EventColumns,
    Field,
    InputError,
    PrepareOptions,
    Recipe,
    RecordColumns,
    SampleRules,
    prepare,
)
from rella_cpp.datasets.content import repeated
from rella_cpp.datasets.ids import find_ids, id_texts, settle
from rella_cpp.datasets.tables.columns import field_values, numbers
from rella_cpp.datasets.tables.texts import whole_numbers

Row = Mapping[str, Any]
NAN = float("nan")
MOMENT = 1_600_004_122
COLUMNS = EventColumns("uid", "iid", "stars", "when")


def written(rows: Sequence[Row], ending: str) -> bytes:
    """Write rows as Python's own modules do: JSON with NaN, CSV with an empty field for what is missing."""
    if ending == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if ending == ".json":
        return json.dumps(list(rows)).encode()
    if ending == ".parquet":
        stream = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(list(rows)), stream)
        return stream.getvalue()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({name: None if value != value else value for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def make(
    folder: Path,
    events: Sequence[Row],
    films: Sequence[Row],
    endings: tuple[str, str] = (".csv", ".csv"),
    *,
    columns: EventColumns = COLUMNS,
    skip: bool = True,
) -> DataSet:
    (folder / f"e{endings[0]}").write_bytes(written(events, endings[0]))
    (folder / f"f{endings[1]}").write_bytes(written(films, endings[1]))
    items = RecordColumns("iid", f"f{endings[1]}", {"title": "name"})
    rules = SampleRules(liked_above=3 if columns.rating else None, min_history=1)
    options = PrepareOptions(skip, recipe=Recipe("movies", columns, items, rules=rules))
    return prepare("table", folder / f"e{endings[0]}", folder / "out", options=options, force=True)


def event(item: object, *, user: object = 1, stars: object = 4, when: object = MOMENT) -> dict[str, object]:
    return {"uid": user, "iid": item, "stars": stars, "when": when}


FILMS = [{"iid": n, "name": f"Film {n}", "year": 1990 + n} for n in range(5)]
EVENTS = [event(n, when=MOMENT + n) for n in range(5)]


@pytest.mark.parametrize("films", [".csv", ".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("events", [".csv", ".jsonl", ".json", ".parquet"])
def test_ids_of_a_table_with_a_gap_join_those_of_one_without(tmp_path: Path, events: str, films: str) -> None:
    floats = [row | {"iid": float(str(row["iid"]))} for row in EVENTS] + [event(NAN)]
    data = make(tmp_path, floats, FILMS, (events, films))
    assert len(data.interactions.item) == 5 and data.manifest["left_out"][f"e{events}"] == {"an empty item": 1}
    assert [data.item_id(row) for row in range(5)] == ["0", "1", "2", "3", "4"]
    # The other way round: the items have the gap.
    data = make(tmp_path, EVENTS, [row | {"iid": float(str(row["iid"]))} for row in FILMS], (events, films))
    assert len(data.interactions.item) == 5 and data.item_id(4) == "4"


def test_users_of_both_tables_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user,item,title\n7.0,1,T\n8.0,1,T\n,1,T\n")
    (tmp_path / "u.csv").write_text("user,age\n7,33.0\n8,\n")
    recipe = Recipe("movies", users=RecordColumns(file="u.csv"))
    data = prepare("table", tmp_path / "e.csv", tmp_path / "out", options=PrepareOptions(True, recipe=recipe))
    assert [data.user_id(row) for row in range(2)] == ["7", "8"]
    assert [data.user(row).fields for row in range(2)] == [{"age": 33}, {}]


@pytest.mark.parametrize(
    ("column", "settled"),
    [
        (["128.0", "", "7.0"], ["128", "", "7"]),
        (["128.0", "nan", "<NA>", "NA", "\\N"], ["128", "", "", "", ""]),
        (["128", "129.0"], ["128", "129"]),  # a table written in parts, of which one had a gap
        (["-0.0", "-3.0"], ["0", "-3"]),
        *(
            (texts, texts)
            for texts in (["128.0", "128.0a"], ["1.0", "1.5"], ["007", "8.0"], ["1e5", "2.0"], ["nan", "1"])
        ),
        *((texts, texts) for texts in (["080442957X"], ["None", "nan"], ["1.00"], [""], [])),
    ],
)
def test_ids_are_numbers_only_where_the_whole_column_was(column: list[str], settled: list[str]) -> None:
    assert settle(pa.array(column, pa.string()))[0].to_pylist() == settled


def test_ids_that_are_texts_in_one_table_are_texts_in_all() -> None:
    versions, whole = pa.array(["1.0", "1.5"]), pa.array(["1.0", "2.0"])
    assert [column.to_pylist() for column in settle(whole, versions)] == [["1.0", "2.0"], ["1.0", "1.5"]]
    others = pa.array(["1", "x7", "007"])
    assert [column.to_pylist() for column in settle(whole, others)] == [["1", "2"], ["1", "x7", "007"]]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([1e5, NAN, None]), ["100000", "", ""]),
        (pa.array([2**53 + 1]), ["9007199254740993"]),
        (pa.array([1.0, 1.5]), ["1.0", "1.5"]),
        (pa.array([7, None], pa.float32()), ["7", ""]),
        (pa.array(["1e5", " 007 "]), ["1e5", "007"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    ],
)
def test_ids_of_every_type_are_texts(values: pa.Array, texts: list[str]) -> None:
    assert id_texts(values, "id").to_pylist() == texts


def test_an_id_is_found_as_it_is_before_it_is_taken_for_a_number() -> None:
    asked = pa.array(["128.0", "7", "9.0", "7.0"])
    assert find_ids(pa.array(["128", "7"]), asked).tolist() == [0, 1, -1, 1]
    assert find_ids(pa.array(["128", "128.0"]), asked).tolist() == [1, -1, -1, -1]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json", ".parquet"])
def test_years_of_a_column_with_gaps_are_whole_numbers(tmp_path: Path, ending: str) -> None:
    films = [row | {"year": NAN if row["iid"] == 2 else float(str(row["year"]))} for row in FILMS]
    data = make(tmp_path, EVENTS, films, (".csv", ending))
    assert [item.fields.get("year") for item in data.all_items()] == [1990, 1991, None, 1993, 1994]


YEAR, TITLE = Field("year", type="value"), Field("title", required=True)
GENRES = Field("genres", type="list")


@pytest.mark.parametrize(
    ("field", "values", "shown"),
    [
        (YEAR, pa.array(["1991.0", " 1992 ", "", "nan", "None", "NA", "\\N", None]), [1991, 1992, *[None] * 6]),
        (YEAR, pa.array([1991.0, NAN, None]), [1991, None, None]),
        (YEAR, pa.array(["1991.0", "c. 1990"]), ["1991", "c. 1990"]),
        (YEAR, pa.array([4.5, 5.0]), ["4.5", "5"]),
        (YEAR, pa.array(["4.5", "5.0"]), ["4.5", "5"]),
        (YEAR, pa.array(["007", "12"]), ["007", "12"]),
        (
            TITLE,
            pa.array(["nan", "None", "300.0", "1e5", "007", None, " "]),
            ["nan", "None", "300.0", "1e5", "007", None, None],
        ),
        (TITLE, pa.array([300.0, NAN]), ["300.0", None]),
        (GENRES, pa.array(["Drama|nan|1.0", "", None]), [["Drama", "nan", "1.0"], None, None]),
        (GENRES, pa.array([["Drama", None], [], None]), [["Drama"], None, None]),
        (GENRES, pa.array([[1.0, NAN], [NAN]]), [["1.0"], None]),
    ],
)
def test_a_field_is_what_its_domain_shows(field: Field, values: pa.Array, shown: list[object]) -> None:
    assert field_values(values, field, "|").to_pylist() == shown


def test_what_json_writes_for_a_missing_value_is_none(tmp_path: Path) -> None:
    films: list[Row] = [
        {"iid": 0, "name": "NaN", "year": NAN, "genres": NAN},
        {"iid": 1, "name": "None", "year": 1991, "genres": ["Drama", NAN]},
        {"iid": 2, "name": NAN, "year": 1992, "genres": None},
    ]
    data = make(tmp_path, EVENTS[:3], films, (".jsonl", ".jsonl"))
    assert [dict(item.fields) for item in data.all_items()] == [
        {"id": "0", "title": "NaN"},
        {"id": "1", "title": "None", "year": 1991, "genres": ["Drama"]},
    ]
    assert data.manifest["left_out"] == {
        "f.jsonl": {"an empty title": 1},
        "e.jsonl": {"an item without a required field": 1},
    }


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_ratings_may_come_as_text_and_be_missing(tmp_path: Path, ending: str) -> None:
    rows = [event(n, stars=stars, when=n) for n, stars in enumerate(["4.5", " 3 ", "nan", "None", ""])]
    data = make(tmp_path, rows, FILMS, (ending, ".csv"), skip=False)
    assert np.array_equal(data.interactions.ratings(), [4.5, 3, NAN, NAN, NAN], equal_nan=True)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_labels_may_be_true_and_false(tmp_path: Path, ending: str) -> None:
    rows = [{"uid": 1, "iid": n, "click": n % 2 == 0, "when": n} for n in range(5)]
    columns = EventColumns("uid", "iid", None, "when", "click")
    data = make(tmp_path, rows, FILMS, (ending, ".csv"), columns=columns, skip=False)
    assert data.samples.label.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("text", ["true", "yes", "1,5", "1_0", "0x1", "٣", "inf", "9" * 400])
def test_other_texts_are_no_numbers(text: str) -> None:
    found, bad = numbers(pa.array([text, "1"]), "stars")
    assert bad.tolist() == [True, False] and found[1] == 1


def test_times_of_another_unit_than_most_are_broken_rows(tmp_path: Path) -> None:
    rows = [event(n, when=(MOMENT + n) * 1000) for n in range(4)] + [event(4, when=MOMENT)]
    with pytest.raises(InputError) as caught:
        make(tmp_path, rows, FILMS, skip=False)
    assert str(caught.value).startswith(
        f"e.csv, line 6: '{MOMENT}' is a time of another unit than most, which are milliseconds; of 5 rows 1 is broken"
    )
    data = make(tmp_path, rows, FILMS)
    assert data.interactions.timestamp is not None
    assert data.interactions.timestamp.tolist() == [MOMENT, MOMENT + 1, MOMENT + 2, MOMENT + 3]


def test_what_is_finer_than_a_second_sorts_and_is_left_out(tmp_path: Path) -> None:
    rows = [event(n, when=MOMENT * 1000 + 900 - n * 100) for n in range(5)]
    data = make(tmp_path, rows, FILMS)
    assert data.interactions.item.tolist() == [4, 3, 2, 1, 0]
    assert data.interactions.timestamp is not None and set(data.interactions.timestamp.tolist()) == {MOMENT}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (event(4, when="09/13/2020 13:35"), "'09/13/2020 13:35' is no time; of 5 rows 1 is broken"),
        (event(4, when=""), "there is no time; of 5 rows"),
        (event(4, when="1e300"), "'1e300' is no time"),
        (event(4, stars="four"), "a rating that is no number: 'four'"),
        (event(4, stars=7), "a rating outside 0.5 to 5: '7'"),
        (event("x9"), "an item that the file of items does not have: 'x9'; its ids are such as '0'"),
        (event(0), "an item that comes again with the same user: item '0', user '1'"),
    ],
)
def test_a_broken_row_is_shown_with_its_value(tmp_path: Path, change: Row, said: str) -> None:
    with pytest.raises(InputError) as caught:
        make(tmp_path, [*EVENTS[:4], change], FILMS, skip=False)
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_where_no_row_is_left_the_first_broken_one_is_shown(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        make(tmp_path, [event("a.0"), event("b.0")], FILMS)
    assert str(caught.value) == (
        "e.csv, line 2: an item that the file of items does not have: 'a.0'; its ids are such as '0';"
        " of 2 rows 2 are broken, and no row is left; give the items of these ids"
    )


def test_the_forms_of_times_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give Unix seconds \(also ms, µs, ns\) or ISO 8601$"):
        make(tmp_path, [event(0, when="soon")], FILMS, skip=False)


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_film_rated_again_the_latest_in_time_holds(tmp_path: Path, order: int) -> None:
    again = event(2, stars=1, when=MOMENT + 100)
    data = make(tmp_path, [*EVENTS, again][::order], FILMS)
    assert data.interactions.item.tolist() == [0, 1, 3, 4, 2] and data.interactions.ratings().tolist()[-1] == 1


def test_without_times_and_in_sequences_the_last_in_the_file_holds(tmp_path: Path) -> None:
    rows = [event(0, stars=5, when=9), event(1, when=5), event(0, stars=1, when=1)]
    data = make(tmp_path, rows, FILMS, columns=EventColumns("uid", "iid", "stars"))
    assert data.interactions.item.tolist() == [1, 0] and data.interactions.ratings().tolist() == [4, 1]
    data = make(tmp_path, rows, FILMS, columns=EventColumns("uid", "iid", None, "when"))
    assert data.interactions.timestamp is not None and data.interactions.timestamp.tolist() == [1, 5]


@given(
    events=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3), st.integers(0, 1)), max_size=20),
    timed=st.booleans(),
)
def test_what_is_repeated_is_all_but_the_latest_by_brute_force(
    events: list[tuple[int, int, int, int]], timed: bool
) -> None:
    user, item, seconds, nanos = np.array(events, np.int32).reshape(-1, 4).T
    marked = repeated(user, item, *((seconds, nanos) if timed else ()))
    for row, (u, i, *at) in enumerate(events):
        others = [(t if timed else [], n) for n, (v, j, *t) in enumerate(events) if (u, i) == (v, j)]
        assert marked[row] == ((at if timed else [], row) != max(others))


RATINGS = random_ratings()


@pytest.mark.parametrize("users", ["{}", "{}.0"])
@pytest.mark.parametrize("times", ["{}", "{}.0", "{}000", "ISO"])
def test_movielens_that_another_program_wrote_is_the_same(tmp_path: Path, users: str, times: str) -> None:
    lines = ["userId,movieId,rating,timestamp"]
    for r in RATINGS:
        moment = str(np.datetime64(r.timestamp, "s")) if times == "ISO" else times.format(r.timestamp)
        lines.append(f"{users.format(r.user)},{users.format(r.item)},{r.rating},{moment}")
    files = ml_25m(RATINGS) | {"ml-25m/ratings.csv": "\n".join([*lines, ""]).encode()}
    data = prepare("ml-25m", write_files(tmp_path / "a.zip", files), tmp_path / "out")
    assert told(data) == brute_force(RATINGS)


def test_a_broken_id_in_such_a_file_is_shown(tmp_path: Path) -> None:
    lines = ["userId,movieId,rating,timestamp", "1.0,1.0,4,1", "1.0,2.5,4,1"]
    files = ml_25m([]) | {"ml-25m/ratings.csv": "\n".join(lines).encode()}
    with pytest.raises(InputError, match="line 3: movieId is no whole number: '2.5'; of 2 rows 1 is broken"):
        prepare("ml-25m", write_files(tmp_path / "a.zip", files), tmp_path / "out")


@pytest.mark.parametrize("again", ["1,3,5.0,3", "1,3,5.0,9"])
def test_of_a_movie_rated_again_the_latest_holds(tmp_path: Path, again: str) -> None:
    lines = ["userId,movieId,rating,timestamp", again, *(f"1,{n},2.0,{n}" for n in range(1, 8))]
    files = ml_25m([]) | {"ml-25m/ratings.csv": "\n".join(lines).encode()}
    options = PrepareOptions(skip_bad_rows=True)
    data = prepare("ml-25m", write_files(tmp_path / "a.zip", files), tmp_path / "out", options=options)
    # At the same time as the first one, the one that stands last in the file; else the later one.
    assert data.interactions.ratings().tolist().count(5) == (again.endswith("9"))


def test_products_may_lack_texts_and_have_ids_that_are_floats(tmp_path: Path) -> None:
    described = {"7": {"title": "Tape", "brand": NAN}, "8": {"title": NAN}, "9.0": {"title": "nan"}}
    histories = {"ann": [7.0, 9], "bob": ["9.0", 7, NAN]}
    files = {"a.item.json": json.dumps(described).encode(), "a.inter.json": json.dumps(histories).encode()}
    options = PrepareOptions(skip_bad_rows=True)
    data = prepare("amazon", write_files(tmp_path / "a.zip", files), tmp_path / "out", options=options)
    assert [dict(item.fields) for item in data.all_items()] == [
        {"id": "7", "title": "Tape"},
        {"id": "9.0", "title": "nan"},
    ]
    assert data.interactions.item.tolist() == [0, 1, 0]
    assert data.manifest["left_out"] == {
        "a.item.json": {"an empty title": 1},
        "a.inter.json": {"an item that is not described": 2},
    }


def test_ages_of_a_rewritten_table_are_read() -> None:
    ages, outside = whole_numbers(pa.array(["34.0", "18", "NULL", "244.0", "3.5"]), 5, 100)
    assert ages.to_pylist() == [34, 18, None, None, None] and outside == 1
