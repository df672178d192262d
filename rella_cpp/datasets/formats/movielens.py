"""MovieLens: the `.dat` files of ml-1m and the CSV files of ml-25m.

ReLLa §4.1: liked is a rating above 3, a sample needs 5 earlier behaviors, and time splits all samples 8:1:1. Of a
movie that its user rates again the latest rating holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.content import Events, Prepared, find_rows, repeated
from rella_cpp.datasets.formats.titles import split_title
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.sampling import samples_by_time
from rella_cpp.datasets.tables.columns import numbers
from rella_cpp.datasets.tables.delimited_text import Dialect, Kind, first_rows, read_delimited
from rella_cpp.datasets.tables.sheets import Sheet, Told
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.datasets.tables.times import drop_bad_times, of_integers, read_times, take_times
from rella_cpp.domains.values import quoted

LIKED_ABOVE = 3
MIN_HISTORY = 5
SHARES = (8, 1, 1)
_SCALE = (0.5, 5.0)
_COLUMNS = {"user": "userId", "item": "movieId", "rating": "rating", "timestamp": "timestamp"}
_LOOKED_AT = 100
"""Rows from whose values is told how a file was written."""
_LARGEST_ID = 1e9
_NO_GENRES = "(no genres listed)"

# 0 is "other" or not specified.
_OCCUPATIONS = (
    *("", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service"),
    *("doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer"),
    *("retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman"),
    *("unemployed", "writer"),
)
_AGES = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56 or older"}
_GENDERS = {"M": "male", "F": "female"}


def prepare_dat(files: Sequence[SourceFile], options: PrepareOptions) -> Prepared:
    """Prepare ml-1m from `ratings.dat`, `movies.dat` and `users.dat`."""
    ratings, movies, people = files

    def dialect(*names: str) -> Dialect:
        return Dialect("\x1f", quote=None, encoding="latin-1", names=names, separator=b"::")

    users = read_delimited(
        people,
        dialect("id", "gender", "age", "occupation", "zip"),
        {"id": "int32", "gender": "text", "age": "int32", "occupation": "int32"},
    )
    users.drop(~np.isin(users.numbers("age"), list(_AGES)), "an unknown code of age")
    known = np.isin(users.numbers("occupation"), np.arange(len(_OCCUPATIONS)))
    users.drop(~known, "an unknown code of occupation")
    users.drop(~pc.is_in(users.columns["gender"], pa.array(list(_GENDERS))).to_numpy(False), "a gender not M or F")
    left_out = {people.name: _unique(users, options)}
    items = _movies(movies, dialect("movieId", "title", "genres"), options, left_out)
    sheet = _ratings(ratings, dialect(*_COLUMNS.values()))
    return _assemble(sheet, items, users, left_out, options)


def prepare_csv(files: Sequence[SourceFile], options: PrepareOptions) -> Prepared:
    """Prepare ml-25m, or another set of its layout, from `ratings.csv` and `movies.csv`."""
    ratings, movies = files
    left_out: dict[str, Mapping[str, int]] = {}
    items = _movies(movies, Dialect(), options, left_out)
    return _assemble(_ratings(ratings, Dialect()), items, None, left_out, options)


def _ratings(file: SourceFile, dialect: Dialect) -> Sheet:
    sheet = _read(file, dialect, {"userId": "int32", "movieId": "int32", "rating": "float32", "timestamp": "int64"})
    times = sheet.columns["timestamp"]
    numbers = isinstance(times, np.ndarray)
    take_times(sheet, times, of_integers(times) if numbers else read_times(times, "timestamp"))
    drop_bad_times(sheet)
    return sheet


def _read(file: SourceFile, dialect: Dialect, columns: Mapping[str, Kind]) -> Sheet:
    """Read columns; where another program wrote the whole numbers, as `128.0` or as dates, the times are texts."""
    if not _rewritten(file, dialect, [name for name, kind in columns.items() if kind in ("int32", "int64")]):
        return read_delimited(file, dialect, columns)
    sheet = read_delimited(file, dialect, dict.fromkeys(columns, "text"))
    for name, kind in columns.items():
        if kind in ("int32", "float32"):
            _to_numbers(sheet, name, kind)
    return sheet


def _rewritten(file: SourceFile, dialect: Dialect, names: Sequence[str]) -> bool:
    """Tell from the first rows whether most values of a column of whole numbers are written otherwise."""
    rows = [] if dialect.separator else first_rows(file, dialect, _LOOKED_AT)
    for name in names:
        texts = [row.get(name, "").strip() for row in rows]
        known = [text.removeprefix("-").isdecimal() for text in texts if text]
        if 2 * sum(known) < len(known):
            return True
    return False


def _to_numbers(sheet: Sheet, name: str, kind: Kind) -> None:
    """Read a column of texts; rows without a number are broken."""
    read = sheet.columns[name]
    found, bad = numbers(read, name)
    bad = bad | np.isnan(found)
    if kind == "int32":
        bad = bad | ~((found == np.floor(found)) & (np.abs(found) < _LARGEST_ID))
    sheet.columns[name] = np.where(bad, 0, found).astype(kind)
    wanted = "no whole number" if kind == "int32" else "no number"
    told = f"{name} is {wanted}"
    sheet.drop(bad, told, lambda row: Told(f"{told}: {quoted(read[row].as_py())}"))


def _movies(file: SourceFile, dialect: Dialect, options: PrepareOptions, left_out: dict[str, Any]) -> pa.Table:
    """Read the movies, ascending by id."""
    sheet = _read(file, dialect, {"movieId": "int32", "title": "text", "genres": "text"})
    titles = [split_title(text) for text in sheet.columns["title"].to_pylist()]
    sheet.columns["name"] = pa.array([title for title, _ in titles], pa.string())
    sheet.columns["year"] = pa.array([year for _, year in titles], pa.int32())
    sheet.columns["id"] = sheet.columns.pop("movieId")
    sheet.drop(np.array([not title for title, _ in titles], np.bool_), "an empty title")
    left_out[file.name] = _unique(sheet, options)
    genres = [_genres(text) for text in sheet.columns["genres"].to_pylist()]
    table = pa.table(
        {
            "id": sheet.numbers("id"),
            "title": sheet.columns["name"],
            "year": sheet.columns["year"],
            "genres": pa.array(genres, pa.list_(pa.string())),
        }
    )
    return table.sort_by("id")


def _genres(text: str) -> list[str] | None:
    names = [name.strip() for name in text.split("|")] if text != _NO_GENRES else []
    return [name for name in names if name] or None


def _unique(sheet: Sheet, options: PrepareOptions) -> Mapping[str, int]:
    """Leave out rows of an id that comes again; settle the sheet."""
    ids = sheet.numbers("id").astype(np.int32)
    sheet.drop(repeated(ids, np.zeros_like(ids)), "an id that comes again")
    return sheet.settle(skip=options.skip_bad_rows)


def _people(sheet: Sheet) -> pa.Table:
    ages = [_AGES[code] for code in sheet.numbers("age").tolist()]
    occupations = [_OCCUPATIONS[code] or None for code in sheet.numbers("occupation").tolist()]
    return pa.table(
        {
            "id": sheet.numbers("id"),
            "age": pa.array(ages, pa.string()),
            "gender": pa.array([_GENDERS[code] for code in sheet.columns["gender"].to_pylist()], pa.string()),
            "occupation": pa.array(occupations, pa.string()),
        }
    ).sort_by("id")


def _assemble(
    sheet: Sheet, items: pa.Table, people: Sheet | None, left_out: dict[str, Any], options: PrepareOptions
) -> Prepared:
    """Give users and movies numbers by ascending id, drop the ratings that are broken, make the samples."""
    rating = sheet.numbers("rating")
    low, high = _SCALE
    off = f"a rating outside {low:g} to {high:g}"
    sheet.drop(~((rating >= low) & (rating <= high)), off, lambda row: Told(f"{off}: '{rating[row]:g}'"))
    users = pa.table({"id": np.unique(sheet.numbers("userId"))}) if people is None else _people(people)
    for column, table, kind in (("userId", users, "user"), ("movieId", items, "movie")):
        _number(sheet, column, table["id"].to_numpy(), kind)
    times = sheet.columns.get("timestamp"), sheet.columns.get("nanos")
    again = repeated(sheet.numbers("userId"), sheet.numbers("movieId"), *times)
    sheet.drop(again, "a movie that its user rates again")
    left_out[sheet.source] = sheet.settle(skip=options.skip_bad_rows)
    names = ("userId", "movieId", "rating", "timestamp", "nanos")
    events = Events(*(sheet.columns.pop(name, None) for name in names))
    interactions = events.sorted(len(users))
    liked = interactions.ratings() > LIKED_ABOVE
    return Prepared(
        "movies",
        _named(users),
        _named(items),
        interactions,
        samples_by_time(interactions, liked.astype(np.int8), MIN_HISTORY, SHARES),
        {
            "samples": f"every rating with at least {MIN_HISTORY} earlier ones by its user",
            "min_history": MIN_HISTORY,
            "liked": f"rating > {LIKED_ABOVE}",
            "liked_above": LIKED_ABOVE,
            "split": "global time",
            "split_shares": list(SHARES),
        },
        left_out,
    )


def _number(sheet: Sheet, column: str, ids: npt.NDArray[Any], kind: str) -> None:
    """Put each id's place among known ones in its place; leave out the rows of unknown ones."""
    read = sheet.numbers(column)
    rows = find_rows(ids, read)
    known = f"; known are ids such as '{ids[0]}'" if len(ids) else ""
    sheet.columns[column] = rows
    sheet.drop(rows < 0, f"an unknown {kind}", lambda row: Told(f"an unknown {kind}: '{read[row]}'{known}"))


def _named(table: pa.Table) -> pa.Table:
    return table.set_column(0, "id", table["id"].cast(pa.string()))
