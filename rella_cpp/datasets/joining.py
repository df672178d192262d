"""Texts of the items (plots, descriptions) from a table of their own, joined to the items by id."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.content import Prepared, find_texts, repeated
from rella_cpp.datasets.ids import id_texts, settle
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.tables.columns import field_values
from rella_cpp.datasets.tables.sheets import Sheet
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.datasets.tables.table_files import find_table, table_kind
from rella_cpp.domains.domain import Domain, Field
from rella_cpp.domains.loading import load_domain
from rella_cpp.errors import InputError
from rella_cpp.storage.progress import Progress

# What columns of ids are called, without case and marks.
_IDS = frozenset(
    (
        *("id", "item", "itemid", "movieid", "bookid", "isbn", "productid", "asin", "parentasin"),
        *("gameid", "appid", "newsid", "articleid"),
    )
)


@dataclass(frozen=True, slots=True)
class TextsTable:
    """A table of texts: its file, its columns, and which of them holds the ids."""

    file: SourceFile
    columns: tuple[str, ...]
    id: str

    def watched(self, progress: Progress) -> "TextsTable":
        """Return this table with a file that tells how far it is read."""
        return replace(self, file=self.file.watched(progress))


def open_texts(options: PrepareOptions, others: Collection[str]) -> TextsTable:
    """Find the table that the options name, and its column of ids; `others` are the names of the source's files.

    Raises
    ------
    InputError
        There is no such table, or its column of ids cannot be told.

    """
    file = options.as_written(find_table(Path(options.texts or "")))
    if file.name in others:
        folder = file.archive or Path(file.path).parent
        file = replace(file, name=f"{folder.resolve().name}/{file.name}")
    file.check_packed()
    columns = table_kind(file).names(file)
    return TextsTable(file, columns, _id_column(file.name, columns, options))


def _id_column(source: str, columns: Sequence[str], options: PrepareOptions) -> str:
    listed = f"its columns are {', '.join(columns) or 'none'}"
    if options.texts_id is not None:
        if options.texts_id not in columns:
            raise InputError(f"has no column {options.texts_id}", source=source, remedy=listed)
        return options.texts_id
    recipe = options.recipe
    named = () if recipe is None else (recipe.items.id, recipe.interactions.item)
    for name in named:
        if name and name in columns:
            return name
    found = [name for name in columns if "".join(filter(str.isalnum, name)).casefold() in _IDS]
    if len(found) != 1:
        told = f"several columns that may be the items' ids, {' and '.join(found)}" if found else "no column of ids"
        raise InputError(f"has {told}", source=source, remedy=f"name the one to take with --texts-id: {listed}")
    return found[0]


def join_texts(prepared: Prepared, texts: TextsTable, options: PrepareOptions) -> Prepared:
    """Add to the items the fields of their domain that they lack and the table has.

    Rows without an id and all but the last of an id that comes again are broken. What is known of other items is left
    out.

    Raises
    ------
    InputError
        There is nothing to take, the ids are others, or too many rows are broken.

    """
    taken = _taken(prepared, texts)
    separator = "|" if options.recipe is None else options.recipe.items.separator
    try:
        sheet = table_kind(texts.file).read(texts.file, list(dict.fromkeys([texts.id, *(f.name for f in taken)])))
        fields = {f"field {f.name}": field_values(sheet.columns[f.name], f, separator) for f in taken}
        _, ids = settle(prepared.items["id"].combine_chunks(), id_texts(sheet.columns[texts.id], texts.id))
    except InputError as error:
        raise error.located(texts.file.name) from None
    sheet.columns = {"id": ids, "item": _rows(prepared, texts, ids)} | fields
    left_out = _settle(sheet, skip=options.skip_bad_rows)
    items, shares = prepared.items, {}
    places = pc.index_in(pa.array(np.arange(len(items), dtype=np.int32)), pa.array(sheet.numbers("item")))
    for field in taken:
        joined = _whole(sheet.columns[f"field {field.name}"], field, left_out).take(places)
        known = len(joined) - joined.null_count
        if known:
            items = items.append_column(field.name, joined)
            shares[field.name] = f"{known:,} of {len(items):,} items"
    if not shares:
        raise InputError(
            f"has no {' and no '.join(field.name for field in taken)} of any item",
            source=texts.file.name,
            remedy="fill the column, or name the right column of ids with --texts-id",
        )
    return replace(
        prepared,
        items=items,
        rules={**prepared.rules, "texts": shares, "texts_from": f"{texts.file.name}, by {texts.id}"},
        left_out={**prepared.left_out, texts.file.name: left_out},
    )


def _taken(prepared: Prepared, texts: TextsTable) -> list[Field]:
    domain: Domain = load_domain(prepared.domain)
    lacking = [field for field in domain.item if field.name not in prepared.items.column_names]
    taken = [field for field in lacking if field.name in texts.columns]
    if not taken:
        open_fields = f"items of the domain {domain.name} could take {', '.join(field.name for field in lacking)}"
        if not lacking:
            open_fields = f"the items have all fields of the domain {domain.name} already"
        raise InputError(
            "has no column that the items could take",
            source=texts.file.name,
            remedy=f"{open_fields}; its columns are {', '.join(texts.columns)}",
        )
    return taken


def _rows(prepared: Prepared, texts: TextsTable, ids: pa.Array) -> npt.NDArray[np.int32]:
    """Return the item's number for every id, -1 where there is no such item."""
    known = prepared.items["id"].combine_chunks()
    rows = find_texts(known, ids)
    if len(rows) and len(known) and not (rows >= 0).any():
        raise InputError(
            f"has no id in common with the items: {ids[0].as_py()!r} in its column {texts.id},"
            f" {known[0].as_py()!r} in the items",
            source=texts.file.name,
            remedy="name another column with --texts-id, or give the texts of these items",
        )
    return rows


def _settle(sheet: Sheet, *, skip: bool) -> dict[str, int]:
    """Leave out what is broken and what is of no item; count it."""
    sheet.drop(pc.equal(sheet.columns["id"], "").to_numpy(zero_copy_only=False), "a row without an id")
    foreign = sheet.numbers("item") < 0
    sheet.keep(~foreign)
    rows = sheet.numbers("item")
    sheet.drop(repeated(rows, np.zeros_like(rows)), "an id that comes again")
    counts = sheet.settle(skip=skip)
    return counts | ({"an item that the data set does not have": int(foreign.sum())} if foreign.any() else {})


def _whole(values: pa.Array, field: Field, left_out: dict[str, int]) -> pa.Array:
    """Take out long texts that only say that there is none (`No overview found.`); count them and the empty ones."""
    if values.null_count:
        left_out[f"an empty {field.name}"] = values.null_count
    if not field.long or not pa.types.is_string(values.type):
        return values
    said = [f"no {field.name} {word}" for word in ("found", "available")]
    none = pc.is_in(pc.utf8_lower(pc.utf8_rtrim(values, ".")), pa.array(said))
    if count := pc.sum(none).as_py():
        left_out[f'"No {field.name} found" and the like'] = count
    return pc.if_else(none, pa.scalar(None, pa.string()), values)
