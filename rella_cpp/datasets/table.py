"""Tables of one's own, by a recipe.

What a recipe leaves open follows from the data. With ratings or labels, every interaction with 5 earlier ones is a
sample. With neither, a user's last item is the one sample, its label 1; there are no negatives. Times
split samples 8:1:1 by global time; without them, users are split at random (10:1:1 where there are no labels).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.columns import field_values, id_texts, numbers, seconds
from rella_cpp.datasets.dataset import Interactions, Samples
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.prepared import Events, Prepared, ascending, find_texts, repeated
from rella_cpp.datasets.recipe import Recipe, RecordColumns
from rella_cpp.datasets.sampling import BY_USERS, UNKNOWN, last_samples, samples_by_time, samples_by_users
from rella_cpp.datasets.sheets import Sheet
from rella_cpp.datasets.sources import SourceFile
from rella_cpp.datasets.tables import table_kind, with_points
from rella_cpp.domains import Domain, Field
from rella_cpp.errors import InputError

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
    items = None
    described = None
    if items_file is not None:
        described, items = _records(items_file, recipe.items, "item", reading)
    sheet = _read_events(files[0], items, reading)
    if items is None or described is None:
        items = _items_of(sheet, reading)
        described = items["id"].combine_chunks()
    known = None if users_file is None else _records(users_file, recipe.users, "user", reading)[1]
    users = _all_users(sheet, known)
    events, labels = _events(sheet, users, items, described, reading)
    order = events.order()
    interactions = events.sorted(len(users), order)
    samples, rules = _samples(interactions, None if labels is None else labels[order], recipe, options)
    return Prepared(recipe.domain, users, items, interactions, samples, rules, reading.left_out)


def _records(file: SourceFile, columns: RecordColumns, role: str, reading: _Reading) -> tuple[pa.Array, pa.Table]:
    """Read items or users, ascending by id: all ids, and those that have what the domain requires."""
    kind = table_kind(file)
    there = kind.names(file)
    event = reading.recipe.interactions
    id_column = columns.id or next(
        (name for name in (getattr(event, role), "id") if name in there), getattr(event, role)
    )
    if not columns.id and id_column not in there:
        raise InputError(
            f"has no column {id_column}, and none called id",
            source=file.name,
            remedy=f"name the one of the ids: --{role}s-id, or id in the recipe; its columns are {', '.join(there)}",
        )
    wanted = reading.domain.item if role == "item" else reading.domain.user
    chosen = _choose(file.name, there, [id_column], wanted, columns)
    sheet = kind.read(file, list(dict.fromkeys([id_column, *chosen.values()])))
    ids = id_texts(sheet.columns[id_column], id_column)
    table = _table(ids, sheet, chosen, wanted, columns.separator)
    numbered = find_texts(ids.unique(), ids)
    again = repeated(numbered, np.zeros_like(numbered))
    empty = _mask(pc.equal(ids, ""))
    sheet.drop(
        empty | again,
        f"an {role} without an id, or an id that comes again"
        if role == "item"
        else "a user without an id, or an id that comes again",
    )
    counts = sheet.settle(skip=reading.options.skip_bad_rows)
    table = table.filter(pa.array(~(empty | again)))
    whole_ids = table["id"].combine_chunks()
    table = table.take(find_texts(whole_ids, ascending(whole_ids)))
    table, untitled = _with_required(table, wanted)
    reading.left_out[file.name] = counts | untitled
    return whole_ids, table


def _choose(
    source: str, there: Sequence[str], needed: Sequence[str], wanted: Sequence[Field], columns: RecordColumns
) -> dict[str, str]:
    """Return the column of every field that there is one for; refuse columns that are named and not there."""
    named = dict(columns.fields)
    _refuse_missing(source, there, [*needed, *named.values()])
    chosen = {field.name: named.get(field.name, field.name) for field in wanted}
    for field in wanted:
        if field.required and chosen[field.name] not in there:
            raise InputError(
                f"has no column {field.name}",
                source=source,
                remedy=f"name the one to take as {field.name}; its columns are {', '.join(there) or 'none'}",
            )
    return {name: column for name, column in chosen.items() if column in there}


def _refuse_missing(source: str, there: Sequence[str], named: Sequence[str]) -> None:
    missing = [name for name in named if name not in there]
    if missing:
        raise InputError(
            f"has no column {' and no column '.join(missing)}",
            source=source,
            remedy=f"its columns are {', '.join(there) or 'none'}",
        )


def _table(ids: pa.Array, sheet: Sheet, chosen: Mapping[str, str], wanted: Sequence[Field], separator: str) -> pa.Table:
    fields = {field.name: field for field in wanted}
    return pa.table(
        {"id": ids}
        | {name: field_values(sheet.columns[column], fields[name], separator) for name, column in chosen.items()}
    )


def _with_required(table: pa.Table, wanted: Sequence[Field]) -> tuple[pa.Table, dict[str, int]]:
    """Leave out rows without a field that the domain requires; count them by field."""
    counts = {}
    for field in wanted:
        if field.required and field.name in table.column_names and table[field.name].null_count:
            counts[f"an empty {field.name}"] = table[field.name].null_count
            table = table.filter(table[field.name].is_valid())
    return table, counts


def _read_events(file: SourceFile, items: pa.Table | None, reading: _Reading) -> Sheet:
    """Read the interactions' columns; without a file of items, the items' fields too."""
    kind = table_kind(file)
    there = kind.names(file)
    named = reading.recipe.interactions.named()
    _refuse_missing(file.name, there, list(named.values()))
    fields = {} if items is not None else _choose(file.name, there, [], reading.domain.item, reading.recipe.items)
    sheet = kind.read(file, list(dict.fromkeys([*named.values(), *fields.values()])))
    read = dict(sheet.columns)
    sheet.columns = {f"field {name}": read[column] for name, column in fields.items()}
    for role in ("user", "item"):
        sheet.columns[role] = id_texts(read[named[role]], named[role])
    bad = {}
    for role, convert in (("rating", numbers), ("label", numbers), ("timestamp", seconds)):
        if role in named:
            values = with_points(read[named[role]]) if sheet.decimal_comma else read[named[role]]
            sheet.columns[role], bad[role] = convert(values, named[role])
            sheet.columns[f"bad {role}"] = bad[role]
    for role in ("user", "item"):
        sheet.drop(_mask(pc.equal(sheet.columns[role], "")), f"an empty {role}")
    _drop_bad(sheet, reading.domain)
    return sheet


def _drop_bad(sheet: Sheet, domain: Domain) -> None:
    for role, told in (("rating", "a rating that is no number"), ("timestamp", "a time that is none")):
        if role in sheet.columns:
            sheet.drop(sheet.columns[f"bad {role}"], told)
    if "rating" in sheet.columns and domain.rating is not None:
        rating, scale = sheet.columns["rating"], domain.rating
        sheet.drop((rating < scale.min) | (rating > scale.max), f"a rating outside {scale.min:g} to {scale.max:g}")
    if "label" in sheet.columns:
        label = sheet.columns["label"]
        sheet.drop(sheet.columns["bad label"] | ~(np.isnan(label) | np.isin(label, [0, 1])), "a label not 0 or 1")


def _items_of(sheet: Sheet, reading: _Reading) -> pa.Table:
    """Make the items of the interactions' own columns: the fields at an item's first row."""
    ids = ascending(sheet.columns["item"])
    first = pc.index_in(ids, sheet.columns["item"])
    columns = {"id": ids}
    for field in reading.domain.item:
        if f"field {field.name}" in sheet.columns:
            values = sheet.columns.pop(f"field {field.name}").take(first)
            columns[field.name] = field_values(values, field, reading.recipe.items.separator)
    table, untitled = _with_required(pa.table(columns), reading.domain.item)
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
    sheet.drop(find_texts(described, sheet.columns["item"]) < 0, "an item that the file of items does not have")
    sheet.columns["user row"] = find_texts(users["id"].combine_chunks(), sheet.columns["user"])
    numbered = find_texts(sheet.columns["item"].unique(), sheet.columns["item"])
    sheet.drop(repeated(sheet.numbers("user row"), numbered), "an item that comes again with the same user")
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
