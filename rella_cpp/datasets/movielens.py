"""MovieLens: the `.dat` files of ml-1m and the CSV files of ml-25m.

ReLLa §4.1: liked is a rating above 3, a sample needs 5 earlier behaviors, and time splits all samples 8:1:1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.delimited import Dialect, read_delimited
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.prepared import Events, Prepared, find_rows, repeated
from rella_cpp.datasets.sampling import samples_by_time
from rella_cpp.datasets.sheets import Sheet
from rella_cpp.datasets.sources import SourceFile
from rella_cpp.datasets.titles import split_title

LIKED_ABOVE = 3
MIN_HISTORY = 5
SHARES = (8, 1, 1)
_SCALE = (0.5, 5.0)
_COLUMNS = {"user": "userId", "item": "movieId", "rating": "rating", "timestamp": "timestamp"}
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
    return read_delimited(
        file, dialect, {"userId": "int32", "movieId": "int32", "rating": "float32", "timestamp": "int64"}
    )


def _movies(file: SourceFile, dialect: Dialect, options: PrepareOptions, left_out: dict[str, Any]) -> pa.Table:
    """Read the movies, ascending by id."""
    sheet = read_delimited(file, dialect, {"movieId": "int32", "title": "text", "genres": "text"})
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
    sheet.drop(~((rating >= low) & (rating <= high)), f"a rating outside {low:g} to {high:g}")
    users = pa.table({"id": np.unique(sheet.numbers("userId"))}) if people is None else _people(people)
    for column, table, kind in (("userId", users, "user"), ("movieId", items, "movie")):
        rows = find_rows(table["id"].to_numpy(), sheet.numbers(column))
        sheet.columns[column] = rows
        sheet.drop(rows < 0, f"an unknown {kind}")
    sheet.drop(repeated(sheet.numbers("userId"), sheet.numbers("movieId")), "a movie that its user rates again")
    left_out[sheet.source] = sheet.settle(skip=options.skip_bad_rows)
    events = Events(*(sheet.columns.pop(name) for name in ("userId", "movieId", "rating", "timestamp")))
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


def _named(table: pa.Table) -> pa.Table:
    return table.set_column(0, "id", table["id"].cast(pa.string()))
