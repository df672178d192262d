"""Tables of one's own, by a recipe.

What a recipe leaves open follows from the data. With ratings or labels, every interaction with 5 earlier ones is a
sample. With neither, a user's last item is the one sample, its label 1; there are no negatives. Times
split samples 8:1:1 by global time; without them, users are split at random (10:1:1 where there are no labels).

Of a user's item that comes again, the latest rating or label in time holds; without times, and in sequences with
neither, the one that stands last in the file.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.content import Events, Prepared, ascending, find_texts, repeated
from rella_cpp.datasets.dataset import Interactions, Samples
from rella_cpp.datasets.formats.entities import Described, choose, read_described, refuse_missing, with_required
from rella_cpp.datasets.ids import id_texts, settle
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.recipe import Recipe
from rella_cpp.datasets.sampling import BY_USERS, UNKNOWN, last_samples, samples_by_time, samples_by_users
from rella_cpp.datasets.tables.columns import field_values, numbers
from rella_cpp.datasets.tables.sheets import Sheet, Told
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.datasets.tables.table_files import table_kind, with_points
from rella_cpp.datasets.tables.times import drop_bad_times, read_times, take_times
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.field_names import meant_field
from rella_cpp.domains.values import quoted
from rella_cpp.errors import InputError
from rella_gguf.near_names import shown_name

_log = logging.getLogger("rella_cpp")

_MIN_HISTORY = {True: 5, False: 1}  # with labels, without
_SHARES = {True: (8, 1, 1), False: (10, 1, 1)}


@dataclass(slots=True)
class _Reading:
    """What is read so far, and what was left out on the way."""

    recipe: Recipe
    domain: Domain
    options: PrepareOptions
    left_out: dict[str, Mapping[str, int]]


def prepare_table(files: Sequence[SourceFile], options: PrepareOptions) -> Prepared:
    """Prepare interactions and, where the recipe names them, items and users."""
    recipe = options.recipe
    if recipe is None:
        raise InputError("the format table needs a recipe", remedy="name the columns, or give --recipe FILE")
    reading = _Reading(recipe, recipe.loaded_domain(), options, {})
    rest = list(files[1:])
    items_file = rest.pop(0) if recipe.items.file else None
    users_file = rest.pop(0) if recipe.users.file else None
    domain, columns, skip = reading.domain, recipe.interactions, options.skip_bad_rows
    items_read = users_read = None
    if items_file is not None:
        items_read = read_described(items_file, recipe.items, "an item", columns.item, domain.item)
    sheet = _read_events(files[0], items_read is None, reading)
    if users_file is not None:
        users_read = read_described(users_file, recipe.users, "a user", columns.user, domain.user)
    _settle_ids(sheet, "item", items_read)
    _settle_ids(sheet, "user", users_read)
    for role in ("user", "item"):
        sheet.drop(_mask(pc.equal(sheet.columns[role], "")), f"an empty {role}")
    _drop_bad(sheet, domain)
    if items_read is None:
        items = _items_of(sheet, reading)
        described = items["id"].combine_chunks()
    else:
        described, items = items_read.table(reading.left_out, skip=skip)
    known = None if users_read is None else users_read.table(reading.left_out, skip=skip)[1]
    users = _all_users(sheet, known)
    events, labels = _events(sheet, users, items, described, reading)
    order = events.order()
    interactions = events.sorted(len(users), order)
    samples, rules = _samples(interactions, None if labels is None else labels[order], recipe, options)
    return Prepared(recipe.domain, users, items, interactions, samples, rules, reading.left_out)


def _settle_ids(sheet: Sheet, role: str, records: Described | None) -> None:
    """Bring the interactions' ids and those of the records that describe them to the same texts."""
    if records is None:
        (sheet.columns[role],) = settle(sheet.columns[role])
    else:
        sheet.columns[role], records.ids = settle(sheet.columns[role], records.ids)


def _read_events(file: SourceFile, describe: bool, reading: _Reading) -> Sheet:
    """Read the interactions' columns; where they `describe` the items, the items' fields too."""
    kind = table_kind(file)
    there = kind.names(file)
    named = reading.recipe.interactions.named()
    refuse_missing(file.name, there, list(named.values()), "name others with --user-column, --item-column, …; ")
    _warn_of_unnamed(file.name, there, reading)
    fields = choose(file.name, there, [], reading.domain.item, reading.recipe.items) if describe else {}
    sheet = kind.read(file, list(dict.fromkeys([*named.values(), *fields.values()])))
    read = dict(sheet.columns)
    sheet.columns = {f"field {name}": read[column] for name, column in fields.items()}
    for role in ("user", "item"):
        sheet.columns[role] = id_texts(read[named[role]], named[role])
    for role in ("rating", "label"):
        if role in named:
            values = with_points(read[named[role]]) if sheet.decimal_comma else read[named[role]]
            sheet.columns[role], bad = numbers(values, named[role], flags=True)
            if bad.any():
                sheet.columns |= {f"bad {role}": bad, f"read {role}": read[named[role]]}
    if "timestamp" in named:
        times = with_points(read[named["timestamp"]]) if sheet.decimal_comma else read[named["timestamp"]]
        take_times(sheet, read[named["timestamp"]], read_times(times, named["timestamp"]))
    return sheet


def _warn_of_unnamed(source: str, there: Sequence[str], reading: _Reading) -> None:
    """Log columns that are not read, though they are called as ratings or times are."""
    columns, taken = reading.recipe.interactions, set(reading.recipe.interactions.named().values())
    rated = columns.rating or columns.label or reading.domain.rating is None
    for role, option, known in (
        ("rating", "--rating-column", rated),
        ("timestamp", "--time-column", columns.timestamp),
    ):
        name = next((name for name in there if name not in taken and meant_field(name, (role,))), None)
        if name is not None and not known:
            _log.warning("%s: %s is not read (%s %s reads it)", source, shown_name(name), option, shown_name(name))


def _drop_bad(sheet: Sheet, domain: Domain) -> None:
    """Leave out rows with a rating, a time or a label that is none, or off the scale."""
    _drop_unread(sheet, "rating", "a rating that is no number", "give numbers")
    drop_bad_times(sheet)
    if "rating" in sheet.columns and domain.rating is not None:
        rating, scale = sheet.columns["rating"], domain.rating
        off = f"a rating outside {scale.min:g} to {scale.max:g}"
        remedy = f"give ratings of the domain {domain.name}, or name another domain"
        sheet.drop(
            (rating < scale.min) | (rating > scale.max), off, lambda row: Told(f"{off}: '{rating[row]:g}'", remedy)
        )
    _drop_unread(sheet, "label", "a label not 0 or 1", "give 0 or 1")
    if "label" in sheet.columns:
        label = sheet.columns["label"]
        sheet.drop(
            ~(np.isnan(label) | np.isin(label, [0, 1])),
            "a label not 0 or 1",
            lambda row: Told(f"a label not 0 or 1: '{label[row]:g}'", "give 0 or 1"),
        )


def _drop_unread(sheet: Sheet, role: str, kind: str, remedy: str) -> None:
    if f"bad {role}" in sheet.columns:
        read = sheet.columns[f"read {role}"]
        sheet.drop(sheet.columns[f"bad {role}"], kind, lambda row: Told(f"{kind}: {quoted(read[row].as_py())}", remedy))


def _items_of(sheet: Sheet, reading: _Reading) -> pa.Table:
    """Make the items of the interactions' own columns: the fields at an item's first row."""
    ids = ascending(sheet.columns["item"])
    first = pc.index_in(ids, sheet.columns["item"])
    columns = {"id": ids}
    for field in reading.domain.item:
        if f"field {field.name}" in sheet.columns:
            values = sheet.columns.pop(f"field {field.name}").take(first)
            columns[field.name] = field_values(values, field, reading.recipe.items.separator)
    table, untitled = with_required(pa.table(columns), reading.domain.item)
    if untitled:
        reading.left_out["items"] = untitled
    return table


def _all_users(sheet: Sheet, known: pa.Table | None) -> pa.Table:
    """Return all users, ascending by id: those that are described and those that did something."""
    ids = sheet.columns["user"]
    if known is None:
        return pa.table({"id": ascending(ids)})
    there = known["id"].combine_chunks()
    users = ascending(pa.concat_arrays([there, ids]))
    rows = pc.index_in(users, there)
    return pa.table({"id": users} | {name: known[name].take(rows) for name in known.column_names if name != "id"})


def _events(
    sheet: Sheet, users: pa.Table, items: pa.Table, described: pa.Array, reading: _Reading
) -> tuple[Events, npt.NDArray[np.int8] | None]:
    """Put numbers for users and items, leave out what is broken; return the labels too, where there are any."""
    lost, twice = "an item that the file of items does not have", "an item that comes again with the same user"

    def unknown(row: int) -> Told:
        known = f"; its ids are such as {quoted(described[0].as_py())}" if len(described) else ""
        item = quoted(sheet.columns["item"][row].as_py())
        return Told(f"{lost}: {item}{known}", "give the items of these ids")

    def again(row: int) -> Told:
        item, user = (quoted(sheet.columns[role][row].as_py()) for role in ("item", "user"))
        return Told(f"{twice}: item {item}, user {user}", "keep one of them")

    sheet.drop(find_texts(described, sheet.columns["item"]) < 0, lost, unknown)
    sheet.columns["user row"] = find_texts(users["id"].combine_chunks(), sheet.columns["user"])
    numbered = find_texts(sheet.columns["item"].unique(), sheet.columns["item"])
    rated = "rating" in sheet.columns or "label" in sheet.columns  # a sequence is taken as it stands
    times = (sheet.columns.get("timestamp"), sheet.columns.get("nanos")) if rated else ()
    sheet.drop(repeated(sheet.numbers("user row"), numbered, *times), twice, again)
    counts = sheet.settle(skip=reading.options.skip_bad_rows)
    rows = find_texts(items["id"].combine_chunks(), sheet.columns["item"])
    if (rows < 0).any():
        counts["an item without a required field"] = int((rows < 0).sum())
        sheet.keep(rows >= 0)
    reading.left_out[sheet.source] = counts
    rating = sheet.columns.get("rating")
    events = Events(
        sheet.numbers("user row"),
        rows[rows >= 0],
        None if rating is None else rating.astype(np.float32),
        sheet.columns.get("timestamp"),
        sheet.columns.get("nanos"),
    )
    return events, _labels(sheet, reading.recipe)


def _labels(sheet: Sheet, recipe: Recipe) -> npt.NDArray[np.int8] | None:
    rules = recipe.rules
    if "label" in sheet.columns:
        values = sheet.columns["label"]
        liked = values == 1
    elif "rating" in sheet.columns:
        values = sheet.columns["rating"]
        liked = values > rules.liked_above if rules.liked_above is not None else values >= rules.liked_from
    else:
        return None
    return np.where(np.isnan(values), UNKNOWN, liked).astype(np.int8)


def _samples(
    interactions: Interactions, labels: npt.NDArray[np.int8] | None, recipe: Recipe, options: PrepareOptions
) -> tuple[Samples, dict[str, object]]:
    given, labelled = recipe.rules, labels is not None
    least = _MIN_HISTORY[labelled] if given.min_history is None else given.min_history
    shares = given.split or _SHARES[labelled]
    by = given.by or ("time" if labelled and interactions.timestamp is not None else "users")
    if by == "time" and (labels is None or interactions.timestamp is None):
        raise InputError(
            "a split by time needs times, and ratings or labels", remedy='name their columns, or say by = "users"'
        )
    rules: dict[str, object] = {
        "min_history": least,
        "split_shares": list(shares),
        "columns": recipe.interactions.named(),
    }
    if labels is None:
        rules |= {"samples": "one a user: the last item, its label 1; there are no negatives"}
        rules |= {"liked": "every item", "split": BY_USERS, "seed": options.seed}
        return last_samples(interactions, least, shares, options.seed), rules
    sign, bound = (">", given.liked_above) if given.liked_above is not None else (">=", given.liked_from)
    rules["liked"] = "label = 1" if recipe.interactions.label else f"rating {sign} {bound:g}"
    rules["samples"] = f"every interaction with at least {least} earlier ones by its user"
    if by == "time":
        rules["split"] = "global time"
        return samples_by_time(interactions, labels, least, shares), rules
    rules |= {"split": BY_USERS, "seed": options.seed}
    return samples_by_users(interactions, labels, least, shares, options.seed), rules


def _mask(values: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = values.fill_null(True).to_numpy(zero_copy_only=False)
    return found
