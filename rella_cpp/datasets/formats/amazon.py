"""Amazon products with their texts: `NAME.item.json` and `NAME.inter.json` (user → item ids in order).

There are no ratings and no times. As sequential recommenders do it: a user's last item is the sample, its label 1;
there are no negatives.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from rella_cpp.datasets.content import Events, Prepared, ascending, find_texts, repeated
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.sampling import BY_USERS, last_samples
from rella_cpp.datasets.tables.sheets import Sheet
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.datasets.tables.texts import clean
from rella_cpp.domains.values import describe, encodable, id_text, plain
from rella_cpp.errors import InputError

MIN_HISTORY = 1
SHARES = (10, 1, 1)
_TEXTS = ("title", "description", "brand", "categories")


def prepare_products(files: Sequence[SourceFile], options: PrepareOptions) -> Prepared:
    """Prepare a set of products from its two files."""
    described, histories = _read(files[0], dict), _read(files[1], list)
    left_out: dict[str, Mapping[str, int]] = {}
    items = _items(files[0], described)
    users = ascending(pa.array(list(histories), pa.string()))
    untitled = len(described) - len(items)
    if untitled:
        left_out[files[0].name] = {"an empty title": untitled}
    events = _events(files[1], histories, users, items["id"].combine_chunks(), set(described), options, left_out)
    interactions = events.sorted(len(users))
    return Prepared(
        "products",
        pa.table({"id": users}),
        items,
        interactions,
        last_samples(interactions, MIN_HISTORY, SHARES, options.seed),
        {
            "samples": "one a user of two items or more: the last one, its label 1; there are no negatives",
            "min_history": MIN_HISTORY,
            "liked": "every item bought",
            "split": BY_USERS,
            "split_shares": list(SHARES),
            "seed": options.seed,
        },
        left_out,
    )


def _read(file: SourceFile, kind: type) -> dict[str, Any]:
    """Read an object of objects, or of lists of ids."""
    with file.open() as stream:
        try:
            value = json.load(stream)
        except (ValueError, RecursionError) as error:
            raise InputError(f"is not JSON ({error})", source=file.name, remedy="download it again") from None
    wanted = "an object of items by id" if kind is dict else "an object: user → list of item ids in order"
    if not isinstance(value, dict):
        raise InputError(f"is {describe(value)}", source=file.name, remedy=f"give {wanted}")
    for name, entry in value.items():
        whole = isinstance(entry, kind)
        if whole and kind is list:
            whole = all(isinstance(known, str | int | float) and not isinstance(known, bool) for known in entry)
        if not whole:
            raise InputError(f"{name!r} is {describe(entry)}", source=file.name, remedy=f"give {wanted}")
    if not value:
        raise InputError("holds nothing", source=file.name, remedy=f"give {wanted}")
    known = {encodable(name): entry for name, entry in value.items()}
    if len(known) < len(value):
        raise InputError("has ids that differ in broken characters only", source=file.name, remedy="mend the ids")
    return known


def _items(file: SourceFile, described: Mapping[str, Mapping[str, object]]) -> pa.Table:
    """Make the table of items with a title, ascending by id."""
    columns: dict[str, pa.Array] = {"id": pa.array(list(described), pa.string())}
    for name in _TEXTS:
        values = [plain(entry.get(name)) for entry in described.values()]
        for key, value in zip(described, values, strict=True):
            if not (value is None or isinstance(value, str)):
                raise InputError(
                    f"{name} is {describe(value)}", source=file.name, place=f"item {key!r}", remedy="give text"
                )
        columns[name] = clean(
            pa.array([encodable(value) if isinstance(value, str) else "" for value in values], pa.string())
        )
    columns["categories"] = pa.array(
        [_parts(text) for text in columns["categories"].to_pylist()], pa.list_(pa.string())
    )
    table = pa.table(columns)
    table = table.take(find_texts(columns["id"], ascending(columns["id"])))
    return table.filter(table["title"].is_valid())


def _id(entry: object) -> str:
    """Return an id as text: a text as it is, `7` for 7.0, and nothing for NaN."""
    return entry if isinstance(entry, str) else id_text(entry) or ""


def _parts(text: str | None) -> list[str] | None:
    """Cut a text of categories; a comma before a blank belongs to a name: `Tapes, Adhesives & Sealants`."""
    parts = [part.strip() for part in re.split(r",(?!\s)", text or "")]
    return [part for part in parts if part] or None


def _events(
    file: SourceFile,
    histories: Mapping[str, Sequence[object]],
    users: pa.Array,
    items: pa.Array,
    described: set[str],
    options: PrepareOptions,
    left_out: dict[str, Mapping[str, int]],
) -> Events:
    names = list(histories)
    owners = np.repeat(np.arange(len(names)), [len(entry) for entry in histories.values()])
    ids = pa.array([encodable(_id(entry)) for entry in chain.from_iterable(histories.values())], pa.string())
    numbers = find_texts(users, pa.array(names, pa.string()))
    sheet = Sheet(
        file.name,
        {"user": numbers[owners], "id": ids, "item": find_texts(items, ids)},
        lambda row: f"user {names[owners[row]]!r}",
    )
    sheet.drop(find_texts(pa.array(sorted(described), pa.string()), ids) < 0, "an item that is not described")
    named = sheet.columns["id"]
    sheet.drop(repeated(sheet.numbers("user"), find_texts(named.unique(), named)), "an item that comes again")
    counts = sheet.settle(skip=options.skip_bad_rows)
    titled = sheet.numbers("item") >= 0
    if not titled.all():
        counts["an item without a title"] = int((~titled).sum())
        sheet.keep(titled)
    left_out[file.name] = counts
    return Events(sheet.numbers("user"), sheet.numbers("item"))
