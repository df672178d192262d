import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from look_alikes import amazon, bookcrossing, ml_1m, ml_25m, random_ratings, write_files
from test_datasets_table import EVENTS, ITEMS, RULES, WRITERS, write_csv, write_jsonl, write_parquet

from rella_cpp import (
    DataSet,
    EventColumns,
    IndexSettings,
    InputError,
    Interactions,
    PrepareOptions,
    Recipe,
    RecordColumns,
    Rella,
    Samples,
    build_index,
    load_domain,
    prepare,
)
from rella_cpp.datasets.content import Prepared
from rella_cpp.datasets.joining import TextsTable, join_texts
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.prompts.item import item_text

RATINGS = random_ratings()
Row = dict[str, Any]
# Of twelve movies ten have a row; 3 has no text, 4 only says so, 99 is no movie here.
PLOTS: list[Row] = [{"movieId": n, "title": "Other", "overview": f"Plot &amp;\n {n}"} for n in range(1, 11)]
PLOTS[2]["overview"], PLOTS[3]["overview"] = " ", "No overview found."
PLOTS.append({"movieId": 99, "title": "Other", "overview": "Plot"})
WANTED = {str(n): f"Plot & {n}" for n in (1, 2, 5, 6, 7, 8, 9, 10)}
LEFT_OUT = {
    "an empty overview": 1,
    '"No overview found" and the like': 1,
    "an item that the data set does not have": 1,
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_files(tmp_path / "ml.zip", ml_1m(RATINGS))


def overviews(data: DataSet) -> dict[str, object]:
    return {
        data.item_id(row): item.fields["overview"]
        for row, item in enumerate(data.all_items())
        if "overview" in item.fields
    }


def make(source: Path, texts: Path, texts_id: str | None = None, *, skip_bad_rows: bool = False) -> DataSet:
    options = PrepareOptions(skip_bad_rows, texts=texts, texts_id=texts_id)
    return prepare("ml-1m", source, source.parent / "out", options=options, force=True)


ZIPPED = [(ending, write, True) for ending, write in WRITERS if ending]  # not what `datasets` saves: a folder


@pytest.mark.parametrize(("ending", "write", "zipped"), [*((*kind, False) for kind in WRITERS), *ZIPPED])
def test_texts_of_every_kind_of_file_come_to_their_items(
    source: Path, tmp_path: Path, ending: str, write: Callable[[Path, Sequence[Mapping[str, Any]]], None], zipped: bool
) -> None:
    path = tmp_path / f"plots{ending}"
    write(path, PLOTS)
    if zipped:
        files = {"a/readme.txt": b"", "__MACOSX/plots.csv": b"", f"a/plots{ending}": path.read_bytes()}
        path = write_files(tmp_path / "texts.zip", files)
    data = make(source, path)
    assert overviews(data) == WANTED and data.item(0).fields["title"] == "The Matrix"
    assert data.manifest["left_out"] == {f"plots{ending}": LEFT_OUT}
    assert data.manifest["rules"]["texts"] == {"overview": "8 of 12 items"}
    assert data.manifest["rules"]["texts_from"] == f"plots{ending}, by movieId"
    assert set(data.manifest["sources"]) == {"ratings.dat", "movies.dat", "users.dat", f"plots{ending}"}


def test_nothing_but_the_items_texts_changes_and_the_same_texts_give_the_same_bytes(
    source: Path, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "plots.jsonl", PLOTS)
    archive = write_files(tmp_path / "p.zip", {"plots.jsonl": (tmp_path / "plots.jsonl").read_bytes()})
    plain = prepare("ml-1m", source, tmp_path / "plain")
    first = make(source, tmp_path / "plots.jsonl").fingerprint
    data = make(source, archive)
    assert data.fingerprint == first != plain.fingerprint
    assert data.items.drop_columns(["overview"]) == plain.items
    assert not {"texts", "texts_from"} & set(plain.manifest["rules"]) and "overview" not in plain.items.column_names
    for name in ("users.parquet", "interactions.parquet", "samples.parquet"):
        assert data.manifest["files"][name] == plain.manifest["files"][name]


def test_what_is_embedded_does_not_know_of_long_texts(source: Path, tmp_path: Path, judge: Rella) -> None:
    # The overviews are there (else this proves nothing), and neither a text nor a vector has a bit of them.
    write_jsonl(tmp_path / "plots.jsonl", PLOTS)
    plain = prepare("ml-1m", source, tmp_path / "plain")
    data = make(source, tmp_path / "plots.jsonl")
    domain = load_domain("movies")
    assert len(overviews(data)) == 8
    assert [item_text(domain, item) for item in data.all_items()] == [
        item_text(domain, item) for item in plain.all_items()
    ]
    bare = replace(domain, item=tuple(field for field in domain.item if not field.long))
    assert bare.item_fingerprint == domain.item_fingerprint and bare.fingerprint == domain.fingerprint
    for name, items in (("with", data.all_items()), ("without", plain.all_items())):
        build_index(judge.vectors, items, tmp_path / name, settings=IndexSettings())
    for name in ("vectors-0.usearch", "pca.npz"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "files", "row", "field"),
    [
        ("ml-25m", ml_25m(RATINGS), {"movieId": 1, "overview": "Long"}, "overview"),
        ("bookcrossing", bookcrossing([(1, str(n), 7) for n in range(9)], list("012345678")), {"ISBN": "1"}, "genres"),
        ("amazon", amazon({"1": [0, 1], "2": [0, 1]}, 3), {"asin": 1}, ""),
    ],
)
def test_every_format_takes_what_its_items_lack(
    tmp_path: Path, name: str, files: dict[str, bytes], row: Row, field: str
) -> None:
    write_jsonl(tmp_path / "t.jsonl", [row | {field or "description": "Long"}])
    options = PrepareOptions(texts=tmp_path / "t.jsonl")
    source = write_files(tmp_path / "a.zip", files)
    if not field:  # its items have their descriptions from the start
        with pytest.raises(InputError, match="the items have all fields of the domain products already"):
            prepare(name, source, tmp_path / "out", options=options)
        return
    data = prepare(name, source, tmp_path / "out", options=options)
    found = {data.item_id(n): item.fields.get(field) for n, item in enumerate(data.all_items())}
    assert found["1"] == ("Long" if field == "overview" else ["Long"])
    assert sum(value is not None for value in found.values()) == 1


def test_a_table_takes_long_fields_from_its_items_and_from_texts(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'noun = "film"\nplural = "films"\nverb = "saw"\nsystem = "S"\nquestion = "Q"\n[rating]\nmin = 0\nmax = 5\n'
        "[item.title]\nrequired = true\n[item.plot]\nlong = true\n[item.review]\nlong = true\n"
        '[item.cast]\ntype = "list"\n'
    )
    write_csv(tmp_path / "e.csv", EVENTS)
    write_jsonl(tmp_path / "films.jsonl", [{**row, "plot": ["One", None, "two & "]} for row in ITEMS])
    (tmp_path / "more").mkdir()
    # The recipe's own column of ids goes before others that are called like one.
    write_csv(tmp_path / "more/films.csv", [{"iid": 3, "id": 1, "cast": "A/B", "review": "R", "plot": "X"}])
    columns = EventColumns("uid", "iid", rating="stars", timestamp="when")
    items = RecordColumns("iid", "films.jsonl", {"title": "name"}, "/")
    recipe = Recipe(str(tmp_path / "mine.toml"), columns, items, rules=RULES)
    options = PrepareOptions(recipe=recipe, texts=tmp_path / "more/films.csv")
    data = prepare("table", tmp_path / "e.csv", tmp_path / "out", options=options)
    assert data.item(0).fields == {"id": "1", "title": "Film 1", "plot": "One two &"}
    assert data.item(2).fields == {
        **{"id": "3", "title": "Film 3", "plot": "One two &"},
        **{"review": "R", "cast": ["A", "B"]},
    }
    assert data.manifest["rules"]["texts"] == {"review": "1 of 12 items", "cast": "1 of 12 items"}


def test_a_file_called_as_one_of_the_source_is_told_apart(tmp_path: Path) -> None:
    write_csv(tmp_path / "data.csv", [row | {"title": "T"} for row in EVENTS])
    (tmp_path / "plots").mkdir()
    write_csv(tmp_path / "plots/data.csv", [{"iid": 3, "overview": "X"}])
    recipe = Recipe("movies", EventColumns("uid", "iid", "stars", "when"), rules=RULES)
    options = PrepareOptions(recipe=recipe, texts=tmp_path / "plots/data.csv")
    data = prepare("table", tmp_path / "data.csv", tmp_path / "out", options=options)
    assert set(data.manifest["sources"]) == {"data.csv", "plots/data.csv"}
    assert data.manifest["rules"]["texts_from"] == "plots/data.csv, by iid" and overviews(data) == {"3": "X"}


def test_broken_rows_are_refused_or_counted_and_of_one_id_the_last_row_counts(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [json.dumps(row) for row in [*PLOTS, PLOTS[0] | {"overview": "Again"}, {"overview": "Whose?"}]]
    (tmp_path / "p.jsonl").write_text("\n".join([*lines[:2], "oops", *lines[2:]]))
    with pytest.raises(InputError, match=r"p\.jsonl, line 1: an id that comes again; of 14 rows 3 are broken"):
        make(source, tmp_path / "p.jsonl")
    assert not (tmp_path / "out").exists()
    with caplog.at_level(logging.WARNING, "rella_cpp"):
        data = make(source, tmp_path / "p.jsonl", skip_bad_rows=True)
    assert overviews(data) == WANTED | {"1": "Again"} and len(caplog.records) == 1
    broken = {"a row without an id": 1, "an id that comes again": 1, "is not JSON": 1}
    assert data.manifest["left_out"] == {"p.jsonl": LEFT_OUT | broken}


ID = "movieId"
REFUSED: list[tuple[str, object, str | None, str]] = [
    ("none.csv", None, None, "none.csv: no such file; check the path"),
    ("folder", {}, None, "folder: is a folder, and none that `datasets` saved"),
    ("a.zip", {"a.csv": b"", "b/b.json": b""}, None, "a.zip: holds 2 tables: a.csv and b/b.json; unpack it and name"),
    ("a.zip", {"a.txt": b""}, None, "a.zip: holds no table; tables end in .csv"),
    ("a.zip", b"no", None, "a.zip: is neither a zip archive nor a folder"),
    ("a.zip", b"PK\3\4no", None, "a.zip: is a zip archive cut short or damaged"),
    ("a.txt", b"", None, "a.txt: is of no known kind; give a file that ends in .csv"),
    ("a.csv", b"", None, "a.csv: is empty"),
    ("a.csv", b"movieId,overview\n", None, "a.csv: holds no rows"),
    ("a.csv", b"film,overview\n1,x\n", None, "a.csv: has no column of ids; name the one to take with --texts-id: its"),
    ("a.csv", b"film,overview\n1,x\n", None, "its columns are film, overview"),
    ("a.csv", b"id,Movie_ID,overview\n1,1,x\n", None, "several columns that may be the items' ids, id and Movie_ID"),
    ("a.csv", b"film,overview\n1,x\n", ID, "a.csv: has no column movieId; its columns are film, overview"),
    ("a.csv", b"id,plot,year\n1,x,2\n", None, "a.csv: has no column that the items could take; items of the domain m"),
    ("a.csv", b"id,plot,year\n1,x,2\n", None, "; its columns are id, plot, year"),
    ("a.csv", b"id,overview\ntt1,x\n", None, "a.csv: has no id in common with the items: 'tt1' in its column id, '1'"),
    ("a.csv", b"id,overview\n1,\n2,No overview found.\n", None, "a.csv: has no overview of any item; fill the column"),
    ("a.jsonl", b'{"id": [1], "overview": "x"}', None, "a.jsonl: column id is of the type list"),
]


@pytest.mark.parametrize(("name", "content", "column", "said"), REFUSED)
def test_texts_that_cannot_be_taken_are_refused(
    source: Path, tmp_path: Path, name: str, content: object, column: str | None, said: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        path.mkdir() if not content else write_files(path, content)
    with pytest.raises(InputError) as caught:
        make(source, path, column)
    assert said in str(caught.value) and "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_the_named_column_of_ids_is_taken_and_whole_floats_are_ids(source: Path, tmp_path: Path) -> None:
    write_parquet(tmp_path / "p.parquet", [{"id": "x", "film": 2.0, "overview": "Two"}, {"id": "y", "film": None}])
    with pytest.raises(InputError, match="row 2: a row without an id"):
        make(source, tmp_path / "p.parquet", "film")
    assert overviews(make(source, tmp_path / "p.parquet", "film", skip_bad_rows=True)) == {"2": "Two"}


NUMBERS = [str(n) for n in range(6)]
ROWS = st.lists(
    st.tuples(st.sampled_from([*NUMBERS, "7", "x", ""]), st.sampled_from(["a b", "ö\n", "", "no overview found", "é"])),
    min_size=1,
    max_size=12,
)


@given(rows=ROWS)
def test_any_rows_are_joined_as_a_dict_joins_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "t.jsonl"
    write_jsonl(path, [{"id": name, "overview": text} for name, text in rows])
    none = np.empty(0, np.int32)
    samples = Samples(none, none, none, none.astype(np.int8), none.astype(np.uint8))
    prepared = Prepared(
        "movies",
        pa.table({"id": pa.array([], pa.string())}),
        pa.table({"id": NUMBERS, "title": NUMBERS}),
        Interactions(none, None, None, np.zeros(1, np.int64)),
        samples,
        {},
    )
    texts = TextsTable(SourceFile("t.jsonl", str(path)), ("id", "overview"), "id")
    shown = {"a b": "a b", "ö\n": "ö", "é": "é"}
    wanted = [shown.get(dict(rows).get(name, "")) for name in NUMBERS]
    options = PrepareOptions(skip_bad_rows=True)
    if not any(wanted):
        with pytest.raises(InputError, match="no id in common|no overview of any item"):
            join_texts(prepared, texts, options)
        return
    done = join_texts(prepared, texts, options)
    assert done.items["overview"].to_pylist() == wanted and done.items["id"].to_pylist() == NUMBERS
    counts = done.left_out["t.jsonl"]
    known = {name for name, _ in rows if name in NUMBERS}
    # Every row is accounted for: taken, or left out for one reason.
    assert sum(counts.values()) + sum(text is not None for text in wanted) == len(rows)
    assert counts.get("an id that comes again", 0) == sum(name in known for name, _ in rows) - len(known)


def test_an_id_column_without_texts_is_refused() -> None:
    with pytest.raises(InputError, match="--texts-id is given without --texts"):
        PrepareOptions(texts_id="id")


@pytest.mark.parametrize(("ending", "write"), [entry for entry in WRITERS if entry[0]])
def test_ids_that_a_table_wrote_as_floats_are_joined(
    source: Path, tmp_path: Path, ending: str, write: Callable[[Path, Sequence[Mapping[str, Any]]], None]
) -> None:
    write(tmp_path / f"plots{ending}", [row | {"movieId": float(row["movieId"])} for row in PLOTS])
    assert overviews(make(source, tmp_path / f"plots{ending}")) == WANTED
