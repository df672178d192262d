"""Tables and archives as people have them: encodings, delimiters, gzip, archives made to fill memory."""

import csv
import gzip
import io
import json
import resource
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from look_alikes import ml_25m, random_ratings, write_files
from pyarrow import parquet
from test_datasets_movielens import brute_force, told

from rella_cpp import DataSet, EventColumns, InputError, PrepareOptions, Recipe, RecordColumns, SampleRules, prepare
from rella_cpp.datasets.recipe import read_recipe
from rella_cpp.datasets.tables.columns import texts_of
from rella_cpp.datasets.tables.delimited_text import Dialect, column_names, dialect_of
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.datasets.tables.streams import most_of
from rella_cpp.datasets.tables.table_files import find_table, table_kind

RATINGS = random_ratings(5)
EVENTS = [{"uid": r.user, "iid": r.item, "stars": float(r.rating), "when": r.timestamp} for r in RATINGS]
ITEMS = [{"iid": n, "name": f"Amélie {n}", "year": 1990 + n} for n in range(1, 13)]
COLUMNS = EventColumns("uid", "iid", rating="stars", timestamp="when")
RULES = SampleRules(liked_above=3)
Rows = Sequence[Mapping[str, Any]]


def as_csv(rows: Rows, delimiter: str = ",", blanks: str = "", comma: bool = False) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow([f"{blanks}{name}{blanks}" for name in rows[0]])
    writer.writerows([[str(v).replace(".", ",") if comma else v for v in row.values()] for row in rows])
    return text.getvalue()


def as_lines(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def make(folder: Path, events: str, items: str, **options: Any) -> DataSet:
    """Prepare the files of these names."""
    records = RecordColumns("iid", items, {"title": "name"})
    settings = PrepareOptions(recipe=Recipe("movies", COLUMNS, records, rules=RULES), **options)
    return prepare("table", folder / events, folder / "out", options=settings, force=True)


def plain(folder: Path, events: Rows = EVENTS) -> None:
    (folder / "r.csv").write_text(as_csv(events), encoding="utf-8", newline="")
    (folder / "m.csv").write_text(as_csv(ITEMS), encoding="utf-8", newline="")


def check(data: DataSet) -> None:
    assert told(data) == brute_force(RATINGS)
    assert data.item(1).fields == {"id": "2", "title": "Amélie 2", "year": 1992}


WAYS: list[tuple[str, Callable[[Rows], bytes]]] = [
    (".csv", lambda rows: as_csv(rows).encode("utf-16")),
    (".csv", lambda rows: as_csv(rows, "\t").encode("utf-16")),  # Excel's "Unicode text", renamed
    (".tsv", lambda rows: as_csv(rows, "\t").encode("utf-16")),
    (".csv", lambda rows: as_csv(rows).encode("utf-8-sig")),
    (".csv", lambda rows: as_csv(rows, blanks=" ").encode()),
    (".csv", lambda rows: as_csv(rows, ";").encode()),
    (".csv", lambda rows: as_csv(rows, ";", comma=True).encode()),  # European Excel
    (".csv", lambda rows: as_csv(rows, "|").encode()),
    (".tsv", lambda rows: as_csv(rows).encode()),
    (".inter", lambda rows: as_csv(rows, "\t").encode()),
    (".csv.gz", lambda rows: gzip.compress(as_csv(rows).encode())),
    (".tsv.gz", lambda rows: gzip.compress(as_csv(rows, "\t").encode("utf-16"))),
    (".CSV.GZ", lambda rows: gzip.compress(as_csv(rows).encode()[:40]) + gzip.compress(as_csv(rows).encode()[40:])),
    (".jsonl", lambda rows: as_lines(rows).encode("utf-16")),
    (".jsonl.gz", lambda rows: gzip.compress(as_lines(rows).encode())),
    (".json.gz", lambda rows: gzip.compress(as_lines(rows).encode())),  # Amazon 2018
    (".json.gz", lambda rows: gzip.compress(json.dumps(list(rows)).encode())),
    (".json", lambda rows: as_lines(rows).encode()),
]


@pytest.mark.parametrize(("ending", "write"), WAYS)
def test_tables_are_read_as_people_have_them(tmp_path: Path, ending: str, write: Callable[[Rows], bytes]) -> None:
    (tmp_path / f"r{ending}").write_bytes(write(EVENTS))
    (tmp_path / f"m{ending}").write_bytes(write(ITEMS))
    check(make(tmp_path, f"r{ending}", f"m{ending}"))


def test_a_gzipped_file_is_digested_as_it_is(tmp_path: Path) -> None:
    import hashlib

    plain(tmp_path)
    packed = gzip.compress(as_csv(EVENTS).encode())
    (tmp_path / "r.csv.gz").write_bytes(packed)
    assert make(tmp_path, "r.csv.gz", "m.csv").manifest["sources"]["r.csv.gz"] == hashlib.sha256(packed).hexdigest()


def test_latin_1_is_named_and_read_when_told(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "m.csv").write_text(as_csv(ITEMS), encoding="latin-1", newline="")
    with pytest.raises(InputError) as caught:
        make(tmp_path, "r.csv", "m.csv")
    assert (
        "m.csv, line 2: name is not in the file's encoding, which is UTF-8 (in Latin-1 it would be 'Amélie 1')"
        in str(caught.value)
    )
    assert "save it as UTF-8, or say --encoding latin-1" in str(caught.value)
    check(make(tmp_path, "r.csv", "m.csv", encoding="latin-1"))
    (tmp_path / "m.csv").write_text("iid,näme\n1,2\n", encoding="latin-1")
    with pytest.raises(InputError, match="m.csv, line 1: is not UTF-8 .*'iid,näme"):
        make(tmp_path, "r.csv", "m.csv")


def test_a_delimiter_and_an_encoding_may_be_told_by_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.dat").write_bytes(as_csv(EVENTS, "~").encode("cp1252"))
    (tmp_path / "m.csv").write_bytes(as_csv(ITEMS, "~").encode("cp1252"))
    (tmp_path / "a.toml").write_text(
        'delimiter = "~"\nencoding = "cp1252"\n[interactions]\nfile = "r.dat"\nuser = "uid"\nitem = "iid"\n'
        'rating = "stars"\ntimestamp = "when"\n[items]\nfile = "m.csv"\nid = "iid"\ntitle = "name"\n'
        "[rules]\nliked_above = 3\n"
    )
    recipe = read_recipe(tmp_path / "a.toml")
    check(prepare("table", tmp_path, tmp_path / "out", options=PrepareOptions(recipe=recipe)))


@pytest.mark.parametrize("text", ["", ";;", "a", "\n", '"', "€", " ", "::"])
def test_what_cannot_part_fields_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="delimiter is "):
        PrepareOptions(delimiter=text)
    with pytest.raises(InputError, match="delimiter is "):
        Recipe(rules=SampleRules(), delimiter=text)


@pytest.mark.parametrize("name", ["latin-99", "rot13", "base64", "a\0b", ""])
def test_an_encoding_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="encoding is "):
        PrepareOptions(encoding=name)


def test_a_delimiter_is_for_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--delimiter and --encoding are for table and --texts"):
        prepare("ml-25m", tmp_path, tmp_path / "out", options=PrepareOptions(delimiter=";"))


def test_texts_are_read_with_semicolons_and_gzipped(tmp_path: Path) -> None:
    source = write_files(tmp_path / "ml.zip", ml_25m(RATINGS))
    rows = [{"id": n, "overview": f"About, {n}"} for n in range(1, 13)]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(as_csv(rows, ";").encode()))
    data = prepare("ml-25m", source, tmp_path / "out", options=PrepareOptions(texts=tmp_path / "t.csv.gz"))
    assert data.item(2).fields["overview"] == "About, 3"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(st.text('ab,;|\t" ', min_size=1), min_size=2, max_size=4), usual=st.sampled_from(",\t"))
def test_a_header_that_the_usual_delimiter_parts_keeps_it(tmp_path: Path, names: list[str], usual: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(as_csv([dict.fromkeys(names, 1)], usual), newline="")
    file = SourceFile("a.csv", str(path))
    assert dialect_of(file, usual) == Dialect(usual) or len(set(names)) == 1
    assert column_names(file, Dialect(usual)) == tuple(name.strip() for name in dict.fromkeys(names))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("r.csv.gz", b"uid,iid\n1,2\n", "r.csv.gz: is no gzip file"),
        ("r.csv.gz", gzip.compress(as_csv(EVENTS).encode())[:-20], "r.csv.gz: is cut short or damaged"),
        ("r.csv", gzip.compress(as_csv(EVENTS).encode()), "r.csv: is compressed (gzip); call it NAME.gz"),
        ("r.csv", as_csv(EVENTS).encode("utf-16-le"), "r.csv: is no text: it holds zero bytes, as UTF-16 without"),
        ("r.csv", as_csv(EVENTS).encode("utf-16")[:-1], "r.csv: is no whole UTF-16"),
        (
            "r.parquet.gz",
            gzip.compress(b"x"),
            "r.parquet.gz: is of no known kind; unpack it: Parquet is compressed inside",
        ),
        ("r.csv.bz2", b"x", "r.csv.bz2: is of no known kind; unpack it, or pack it with gzip"),
        ("r.csv", b"uid,iid,stars,when,iid \n1,2,3,4,5\n", "r.csv: has several columns iid; leave one of them"),
        ("r.csv", b"uid,iid,stars,when\n1," + b"x" * (1 << 25), "line 2: is longer than 16 MiB"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    plain(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        make(tmp_path, name, "m.csv")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("names", "packed", "said"),
    [
        (
            ("rating.csv", "movie.csv"),
            False,
            "looks like Kaggle's copy of MovieLens: rella data prepare table {}/k/rating",
        ),
        (
            ("rating.csv", "movie.csv"),
            True,
            "unpack it, then rella data prepare table FOLDER/rating.csv … --items FOLDER",
        ),
        (
            ("ratings.csv", "movies_metadata.csv"),
            False,
            "looks like Kaggle's The Movies Dataset: rella data prepare tab",
        ),
    ],
)
def test_other_copies_of_movielens_are_pointed_to_table(
    tmp_path: Path, names: tuple[str, str], packed: bool, said: str
) -> None:
    source = write_files(tmp_path / ("k.zip" if packed else "k"), dict.fromkeys(names, b"userId\n"))
    with pytest.raises(InputError) as caught:
        prepare("ml-25m", source, tmp_path / "out")
    assert said.format(tmp_path) in str(caught.value)


def zip_of(path: Path, members: Mapping[str, bytes], repeats: int) -> Path:
    """Write an archive whose members hold their bytes so many times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in members.items():
            with archive.open(name, "w", force_zip64=True) as file:
                for _ in range(repeats):
                    file.write(data)
    return path


def test_an_archive_that_expands_too_far_is_refused_before_it_is_read(tmp_path: Path) -> None:
    members = {"ratings.csv": bytes(1 << 20), "movies.csv": b"movieId,title,genres\n"}
    source = zip_of(tmp_path / "bomb.zip", members, 256)
    assert source.stat().st_size < 1 << 20
    with pytest.raises(InputError, match=r"bomb.zip, ratings.csv: expands to more than 100 times its size"):
        prepare("ml-25m", source, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "line"),
    [("r.csv.gz", b"\n"), ("r.csv.gz", b"["), ("r.jsonl.gz", b"1\n"), ("r.json.gz", b"{},")],
)
def test_gzip_that_expands_too_far_is_refused_on_the_way_in_little_memory(
    tmp_path: Path, name: str, line: bytes
) -> None:
    plain(tmp_path)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = line * ((1 << 22) // len(line))
    data = packer.compress(b"[" if "json." in name else b"uid,iid,stars,when\n")
    (tmp_path / name).write_bytes(data + b"".join(packer.compress(block) for _ in range(64)) + packer.flush())
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests'); from test_datasets_files import make; "
        "make(Path(sys.argv[1]), sys.argv[2], 'm.csv', skip_bad_rows=True)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), name],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (300_000_000,) * 2),
        cwd=Path(__file__).parent.parent,
    )
    assert "InputError: " in result.stderr.splitlines()[-1], result.stderr[-500:]


def test_real_archives_expand_as_they_may() -> None:
    assert most_of(250_000_000) > 1_100_000_000  # ml-25m
    assert most_of(1000) == 1 << 26  # a small table of zeros


def test_the_texts_of_a_semicolon_table_keep_their_commas(tmp_path: Path) -> None:
    plain(tmp_path)
    rows = [{"iid": n, "name": f"{n},5"} for n in range(1, 13)]
    (tmp_path / "m.csv").write_text(as_csv(rows, ";"), newline="")
    assert make(tmp_path, "r.csv", "m.csv").item(1).fields["title"] == "2,5"
    assert parquet.read_table(tmp_path / "out/items.parquet").num_rows == 12


def test_a_text_in_parquet_that_is_no_utf_8_is_refused_by_its_column(tmp_path: Path) -> None:
    broken = pa.array([b"\xff", b"b"]).view(pa.string())
    parquet.write_table(pa.table({"user": [1, 2], "item": [1, 2], "title": broken}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="a.parquet, column title: cannot be read"):
        prepare("table", tmp_path / "a.parquet", tmp_path / "out", options=PrepareOptions(recipe=Recipe()))


def test_a_parquet_file_of_rows_that_take_no_bytes_is_refused(tmp_path: Path) -> None:
    rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1 << 24, np.int8)), pa.array(["a"]))
    table = pa.table({"user": rows, "item": rows, "title": rows})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=1 << 24, compression="zstd")
    with pytest.raises(InputError, match="says that it holds 16,777,216 values in "):
        prepare("table", tmp_path / "a.parquet", tmp_path / "out", options=PrepareOptions(recipe=Recipe()))


def test_a_parquet_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array([1])], names=["name", "name", "iid"])
    parquet.write_table(table, tmp_path / "t.parquet")
    file = find_table(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: has several columns name"):
        table_kind(file).read(file, ["iid", "name"])


def test_truth_is_written_the_same_in_every_format(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"seen": [True, False, None]}), tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text('{"seen": true}\n{"seen": false}\n{"seen": null}\n')
    for name in ("t.parquet", "t.jsonl"):
        file = find_table(tmp_path / name)
        values = table_kind(file).read(file, ["seen"]).columns["seen"]
        assert texts_of(values, "seen").to_pylist() == ["True", "False", None]  # as pandas writes a CSV
