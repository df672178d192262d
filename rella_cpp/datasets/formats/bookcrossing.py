r"""BookCrossing (Ziegler 2005): three files of Latin-1, `;` between fields, `\"` for a quote in one, CRLF at the end.

As in ReLLa §4.1: users with more than 5 books, one sample a user, liked is a rating from 5. Only ratings of books that
BX-Books.csv describes count, zeros (implicit: read, not rated) among them: that gives the paper's 17,714 users.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.content import Events, Prepared, ascending, find_rows, find_texts, repeated
from rella_cpp.datasets.dataset import Interactions, Samples
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.sampling import BY_USERS, assign, draw, last_of_each, shuffle, users_of
from rella_cpp.datasets.tables.delimited_text import Dialect, read_delimited
from rella_cpp.datasets.tables.sheets import Sheet
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.datasets.tables.texts import clean, whole_numbers

LIKED_FROM = 5
MIN_HISTORY = 5
TRAIN, TEST = 9, 1
_SCALE = (0, 10)
_AGES = (5, 100)
_YEARS = (1450, 2005)
"""From the first printed books to those announced when the data was gathered, in 2004."""
_DIALECT = Dialect(";", escape="\\", encoding="latin-1")
_TARGETS = 1


def prepare_books(files: Sequence[SourceFile], options: PrepareOptions) -> Prepared:
    """Prepare BookCrossing from `BX-Users.csv`, `BX-Books.csv` and `BX-Book-Ratings.csv`."""
    left_out: dict[str, Mapping[str, int]] = {}
    repaired: dict[str, int] = {}
    users = _users(files[0], options, left_out, repaired)
    books = _books(files[1], options, left_out, repaired)
    events = _ratings(files[2], users["id"].to_numpy(), books["id"].combine_chunks(), options, left_out)
    interactions = _target_last(events, len(users), options.seed)
    return Prepared(
        "books",
        users.set_column(0, "id", users["id"].cast(pa.string())),
        books,
        interactions,
        _samples(interactions, options),
        {
            "samples": f"one a user with more than {MIN_HISTORY} books: the target is drawn, the others are the history"
            " in the file's order",
            "min_history": MIN_HISTORY,
            "liked": f"rating >= {LIKED_FROM}",
            "liked_from": LIKED_FROM,
            "implicit_zeros": "left out" if options.explicit_only else "kept",
            "split": BY_USERS,
            "split_shares": [TRAIN, TEST],
            "valid_share_of_train": options.valid,
            "seed": options.seed,
        },
        left_out,
        repaired,
    )


def _users(
    file: SourceFile, options: PrepareOptions, left_out: dict[str, Mapping[str, int]], repaired: dict[str, int]
) -> pa.Table:
    sheet = read_delimited(file, _DIALECT, {"User-ID": "int32", "Location": "text", "Age": "text"})
    ids = sheet.numbers("User-ID").astype(np.int32)
    sheet.drop(repeated(ids, np.zeros_like(ids)), "a user that comes again")
    left_out[file.name] = sheet.settle(skip=options.skip_bad_rows)
    ages, repaired["ages outside 5 to 100, now absent"] = whole_numbers(sheet.columns["Age"], *_AGES)
    places, repaired["places given as n/a, now absent"] = _places(clean(sheet.columns["Location"]))
    return pa.table({"id": sheet.numbers("User-ID"), "age": ages.cast(pa.string()), "location": places}).sort_by("id")


def _places(locations: pa.Array) -> tuple[pa.Array, int]:
    """Take what a user left open out of the places (`dublin, n/a, ireland`); count how often."""
    texts, opened = [], 0
    for location in locations.to_pylist():
        parts = [part.strip() for part in (location or "").split(",")]
        known = [part for part in parts if part and part != "n/a"]
        opened += parts.count("n/a")
        texts.append(", ".join(known) or None)
    return pa.array(texts, pa.string()), opened


def _books(
    file: SourceFile, options: PrepareOptions, left_out: dict[str, Mapping[str, int]], repaired: dict[str, int]
) -> pa.Table:
    names = {"id": "ISBN", "title": "Book-Title", "author": "Book-Author", "publisher": "Publisher"}
    sheet = read_delimited(file, _DIALECT, dict.fromkeys([*names.values(), "Year-Of-Publication"], "text"))
    for column in ("Book-Title", "Book-Author", "Publisher"):
        entities = pc.sum(pc.count_substring_regex(sheet.columns[column], "&[A-Za-z]+;|&#[0-9]+;")).as_py() or 0
        repaired["HTML entities read"] = repaired.get("HTML entities read", 0) + entities
        sheet.columns[column] = clean(sheet.columns[column])
    sheet.drop(pc.equal(sheet.columns["ISBN"], "").to_numpy(zero_copy_only=False), "an empty ISBN")
    sheet.drop(pc.is_null(sheet.columns["Book-Title"]).to_numpy(zero_copy_only=False), "an empty title")
    isbns = sheet.columns["ISBN"]
    rows = find_texts(isbns.unique(), isbns)
    sheet.drop(repeated(rows, np.zeros_like(rows)), "a book that comes again")
    left_out[file.name] = sheet.settle(skip=options.skip_bad_rows)
    years, wrong = whole_numbers(sheet.columns["Year-Of-Publication"], *_YEARS)
    repaired[f"years outside {_YEARS[0]} to {_YEARS[1]}, now absent"] = wrong
    table = pa.table({name: sheet.columns[column] for name, column in names.items()} | {"year": years})
    return table.take(find_texts(table["id"].combine_chunks(), ascending(table["id"].combine_chunks())))


def _ratings(
    file: SourceFile,
    users: npt.NDArray[np.int32],
    isbns: pa.Array,
    options: PrepareOptions,
    left_out: dict[str, Mapping[str, int]],
) -> Events:
    sheet = read_delimited(file, _DIALECT, {"User-ID": "int32", "ISBN": "text", "Book-Rating": "float32"})
    low, high = _SCALE
    rating = sheet.numbers("Book-Rating")
    sheet.drop(~((rating >= low) & (rating <= high)), f"a rating outside {low} to {high}")
    sheet.drop(pc.equal(sheet.columns["ISBN"], "").to_numpy(zero_copy_only=False), "an empty ISBN")
    sheet.columns["user"] = find_rows(users, sheet.numbers("User-ID"))
    sheet.drop(sheet.numbers("user") < 0, "an unknown user")
    named = sheet.columns["ISBN"]
    sheet.drop(repeated(sheet.numbers("user"), find_texts(named.unique(), named)), "a book that its user rates again")
    counts = sheet.settle(skip=options.skip_bad_rows)
    sheet.columns["item"] = find_texts(isbns, sheet.columns.pop("ISBN"))
    _keep(sheet, sheet.numbers("item") >= 0, "a book that BX-Books.csv does not describe", counts)
    if options.explicit_only:
        _keep(sheet, sheet.numbers("Book-Rating") > 0, "an implicit zero", counts)
    left_out[file.name] = counts
    return Events(sheet.numbers("user"), sheet.numbers("item"), sheet.numbers("Book-Rating"))


def _keep(sheet: Sheet, kept: npt.NDArray[np.bool_], kind: str, counts: dict[str, int]) -> None:
    counts[kind] = int((~kept).sum())
    sheet.keep(kept)


def _target_last(events: Events, users: int, seed: int) -> Interactions:
    """Keep each user's books in the file's order, but bring the drawn target of one with enough books to the end."""
    plain = events.sorted(users)
    chosen, last = last_of_each(plain, MIN_HISTORY)
    places = np.floor(draw(len(chosen), seed, _TARGETS) * (last + 1)).astype(np.int64)
    is_target = np.zeros(len(plain.item), np.bool_)
    is_target[plain.starts[chosen] + places] = True
    order = np.lexsort((is_target, users_of(plain)))
    return Interactions(plain.item[order], plain.ratings()[order], None, plain.starts)


def _samples(interactions: Interactions, options: PrepareOptions) -> Samples:
    users, position = last_of_each(interactions, MIN_HISTORY)
    rows = interactions.starts[users] + position
    order = shuffle(len(users), options.seed)
    split = assign(order, (TRAIN, 0, TEST))
    train = int(np.sum(split == 0))
    split[order[train - int(options.valid * train) : train]] = 1
    label = (interactions.ratings()[rows] >= LIKED_FROM).astype(np.int8)
    return Samples(users.astype(np.int32), position, interactions.item[rows], label, split)
