"""A prepared folder that someone changed and sealed again is refused when it is opened, by file and column."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from look_alikes import ml_1m, random_ratings, write_files
from pyarrow import compute as pc
from pyarrow import parquet

from rella_cpp import DataSet, InputError, PrepareOptions, prepare
from rella_cpp.datasets.layout import MANIFEST, TABLES
from rella_cpp.storage.artifacts import read_json, sha256, write_json

Change = Callable[[pa.Table], pa.Table]


def seal(folder: Path, **entries: Any) -> None:
    """Write the manifest again, with the tables' checksums and rows as they are now."""
    manifest = read_json(folder / MANIFEST, "", sealed=False)
    manifest.pop("sha256", None)
    manifest["files"] = {name: sha256(folder / name) for name in TABLES}
    write_json(folder / MANIFEST, {**manifest, **entries})


@pytest.fixture
def copied(small_data: DataSet, tmp_path: Path) -> Path:
    shutil.copytree(small_data.folder, tmp_path / "data")
    return tmp_path / "data"


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        DataSet.open(folder)
    assert "prepare the data set again with --force" in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def column(name: str, change: Callable[[pa.ChunkedArray], Any]) -> Change:
    return lambda table: table.set_column(
        table.column_names.index(name), name, pa.chunked_array([change(table[name].combine_chunks())])
    )


def with_value(name: str, row: int, value: object) -> Change:
    def change(values: Any) -> pa.Array:
        mask = pa.array([at == row for at in range(len(values))])
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        changed = pc.if_else(mask, pa.scalar(value, kind), values.cast(kind))
        return changed.dictionary_encode() if pa.types.is_dictionary(values.type) else changed

    return column(name, change)


CHANGES: list[tuple[str, Change, str]] = [
    ("users.parquet", lambda table: table.drop_columns(["id"]), "users.parquet: has no column id"),
    ("users.parquet", column("id", lambda ids: ids.cast(pa.int32())), "column id: is of the type int32, not string"),
    ("users.parquet", column("age", lambda ids: pa.array([1.5] * len(ids))), "column age: is of the type double"),
    ("users.parquet", with_value("id", 3, None), "users.parquet, column id: has no value in row 4"),
    ("users.parquet", with_value("id", 3, "1"), "users.parquet, column id: holds an id twice"),
    ("users.parquet", lambda table: table.slice(1), "users.parquet: has 59 rows, the manifest says 60"),
    ("users.parquet", lambda table: table.append_column("shoe", table["age"]), "has a column shoe, which the domain"),
    ("items.parquet", lambda table: table.drop_columns(["title"]), "items.parquet: has no column title"),
    ("items.parquet", with_value("title", 0, None), "items.parquet, column title: has no value in row 1"),
    (
        "items.parquet",
        column("year", lambda years: years.cast(pa.float64())),
        "column year: is of the type double, not",
    ),
    (
        "items.parquet",
        column("genres", lambda genres: pa.array([[None]] * len(genres), pa.list_(pa.string()))),
        "column genres: has a list with an entry that is no text",
    ),
    (
        "items.parquet",
        column("title", lambda titles: pa.array([b"\xff"] * len(titles)).view(pa.string())),
        "items.parquet: cannot be read: ",
    ),
    ("items.parquet", lambda table: table.append_column("id", table["id"]), "has several columns of one name"),
    ("interactions.parquet", lambda table: table.drop_columns(["item"]), "has no column item"),
    ("interactions.parquet", with_value("user", 0, 60), "column user: is 60 in row 1; there are 60 users"),
    ("interactions.parquet", with_value("user", 5, -1), "column user: is -1 in row 6"),
    ("interactions.parquet", with_value("user", 0, 9), "interactions.parquet, column user: is out of order in row 2"),
    ("interactions.parquet", with_value("item", 7, 30), "column item: is 30 in row 8; there are 30 items"),
    ("interactions.parquet", with_value("item", 7, None), "column item: has no value in row 8"),
    ("interactions.parquet", with_value("timestamp", 7, None), "column timestamp: has no value in row 8"),
    ("interactions.parquet", with_value("rating", 2, float("inf")), "column rating: is infinite in row 3"),
    ("interactions.parquet", column("rating", lambda r: r.cast(pa.string())), "column rating: is of the type string"),
    ("interactions.parquet", lambda table: table.append_column("x", table["item"]), "has a column x, which none has"),
    ("samples.parquet", lambda table: table.drop_columns(["split"]), "samples.parquet: has no column split"),
    ("samples.parquet", column("split", lambda split: split.cast(pa.string())), "column split: is of the type string"),
    (
        "samples.parquet",
        with_value("split", 1, "dev"),
        "column split: is 'dev' in a row, not one of train, valid, test",
    ),
    ("samples.parquet", with_value("split", 1, None), "column split: has no value in row 2"),
    ("samples.parquet", with_value("label", 1, 2), "column label: is 2 in row 2; it is 0 or 1"),
    ("samples.parquet", with_value("label", 1, -1), "column label: is -1 in row 2; it is 0 or 1"),
    ("samples.parquet", with_value("position", 1, 10**6), "column position: is 1000000 in row 2; there are"),
    ("samples.parquet", with_value("position", 1, 200), "column position: is 200 in row 2; the user has"),
    ("samples.parquet", with_value("position", 1, 0), "column position: is out of order in row 2"),
    ("samples.parquet", with_value("user", 1, 60), "column user: is 60 in row 2"),
    (
        "samples.parquet",
        column("item", lambda items: pc.subtract(29, items).cast(pa.int32())),
        "column item: is not the",
    ),
    (
        "samples.parquet",
        column("label", lambda labels: pc.subtract(1, labels).cast(pa.int8())),
        "of them liked; the man",
    ),
]


@pytest.mark.parametrize(("name", "change", "said"), CHANGES, ids=[said[:40] for _, _, said in CHANGES])
def test_a_changed_table_is_refused_by_its_column(copied: Path, name: str, change: Change, said: str) -> None:
    parquet.write_table(change(parquet.read_table(copied / name)), copied / name)
    assert "SHA-256 differs" in refused(copied)
    seal(copied)
    assert name in refused(copied) and said in refused(copied)


ENTRIES: list[tuple[dict[str, Any], str]] = [
    ({"format": 3}, "manifest.json: format is a number ('3'), not text"),
    ({"domain": ""}, "domain is text ('')"),
    ({"rules": []}, "rules is a list"),
    ({"counts": {}}, "manifest.json, counts: users is null"),
    ({"left_out": {"a": {"b": "c"}}}, "left_out is an object"),
    ({"repaired": {"a": -1}}, "repaired is an object"),
    ({"sources": None}, "sources is null"),
]


@pytest.mark.parametrize(("entries", "said"), ENTRIES)
def test_a_changed_manifest_is_refused_by_its_entry(copied: Path, entries: dict[str, Any], said: str) -> None:
    seal(copied, **entries)
    assert said in refused(copied)


@pytest.mark.parametrize("name", ["rules", "counts", "files", "sources", "left_out", "repaired", "format", "domain"])
def test_a_manifest_without_an_entry_is_refused(copied: Path, name: str) -> None:
    manifest = json.loads((copied / MANIFEST).read_text())
    del manifest[name], manifest["sha256"]
    write_json(copied / MANIFEST, manifest)
    assert f"has no entry {name}" in refused(copied)


def test_a_table_that_is_no_parquet_is_refused_though_sealed(copied: Path) -> None:
    (copied / "users.parquet").write_bytes(b"PAR1PAR1")
    seal(copied)
    assert "users.parquet: cannot be read" in refused(copied)


def test_a_folder_that_is_as_it_was_written_opens(copied: Path, small_data: DataSet) -> None:
    seal(copied)
    assert DataSet.open(copied).fingerprint == small_data.fingerprint


@pytest.fixture
def averaged(tmp_path: Path) -> Path:
    files = ml_1m(random_ratings(seed=3, users=60, movies=30, most=28), movies=30, users=60)
    source = write_files(tmp_path / "ml-1m.zip", files)
    return prepare("ml-1m", source, tmp_path / "averaged", options=PrepareOptions(averages=True)).folder


AVERAGES: list[tuple[Change, str]] = [
    (with_value("average", 2, float("nan")), "column average: is nan in row 3, not a number from 0.5 to 5"),
    (with_value("average", 2, float("inf")), "column average: is inf in row 3"),
    (with_value("average", 0, 5.01), "column average: is 5.01 in row 1, not a number from 0.5 to 5"),
    (with_value("average", 9, 0.25), "column average: is 0.25 in row 10"),
    (with_value("average", 9, None), "column average: has no value in row 10"),
    (with_value("rating", 4, 7), "column rating: is 7 in row 5, not a number from 0.5 to 5"),
    (column("average", lambda each: each.cast(pa.float64())), "column average: is of the type double, not float"),
    (column("average", lambda each: each.cast(pa.string())), "column average: is of the type string"),
    (lambda table: table.drop_columns(["rating"]), "interactions.parquet: has averages, but no column rating"),
    (lambda table: table.drop_columns(["timestamp"]), "has averages, but no column timestamp"),
]


@pytest.mark.parametrize(("change", "said"), AVERAGES, ids=[said[:40] for _, said in AVERAGES])
def test_changed_averages_are_refused_by_their_row(averaged: Path, change: Change, said: str) -> None:
    path = averaged / "interactions.parquet"
    parquet.write_table(change(parquet.read_table(path)), path)
    seal(averaged)
    assert "interactions.parquet" in refused(averaged) and said in refused(averaged)


@pytest.mark.parametrize("rule", [None, {}, {"middle": "3"}, {"middle": True}, {"middle": 9}])
def test_averages_without_the_middle_of_their_scale_are_refused(averaged: Path, rule: object) -> None:
    rules = {**DataSet.open(averaged).manifest["rules"], "averages": rule}
    seal(averaged, rules=rules)
    assert "manifest.json, rules: the middle of averages is " in refused(averaged)


def test_averages_of_a_domain_that_is_not_known_are_checked_against_the_largest_scale(averaged: Path) -> None:
    path, unchanged = averaged / "interactions.parquet", parquet.read_table(averaged / "interactions.parquet")
    parquet.write_table(with_value("average", 1, 1e8)(unchanged), path)
    seal(averaged, domain="wines.toml")
    assert DataSet.open(averaged).interactions.average is not None
    parquet.write_table(with_value("average", 1, 1e10)(unchanged), path)
    seal(averaged)
    assert "column average: is 1e+10 in row 2, not a number from -1e+09 to 1e+09" in refused(averaged)
