"""Exports as tables that `rella data prepare table` takes: a row a behavior."""

import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rella_cpp.datasets.formats.entities import read_described
from rella_cpp.datasets.recipe import EventColumns, RecordColumns
from rella_cpp.datasets.tables.delimited_text import column_names, dialect_of
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.finder import Finder, FoundNames, Sought
from rella_cpp.domains.inputs import json_entries, read_file
from rella_cpp.domains.plain_text import decode
from rella_cpp.domains.records import Item
from rella_cpp.errors import InputError
from rella_cpp.exports.files import Export, find_export, find_json_export, richest_in
from rella_cpp.exports.inputs import take
from rella_cpp.exports.recognition import format_of
from rella_cpp.exports.signs import may_be_trakt

_log = logging.getLogger("rella_cpp")
_FEW = 1000
"""Behaviors of one person that make a test split of a hundred samples: of fewer no figure says anything."""
_START = 4096


@dataclass(frozen=True, slots=True)
class ExportTable:
    """An export as a table: its file, which is JSON Lines, and the columns of it."""

    path: Path
    columns: EventColumns


@contextmanager
def export_table(
    source: Path, domain: Domain, catalog: RecordColumns | None = None, *, series: bool = False
) -> Iterator[ExportTable | None]:
    """Write what a service, or a person, wrote as a table, which is gone afterwards.

    None where it is no history of a known format, or a table with a column called `item`, which is taken as it is.
    With a catalog, a file of items, items are those that it has of the same title and year; others are left out.

    Raises
    ------
    InputError
        It is of other things than the domain's, what it holds is refused, or the catalog has nothing of it.

    """
    export = _find(source, domain)
    if export is None:
        yield None
        return
    entries = take(export, domain, "history", series=series, people=True)
    records = [dict(entry.value) for entry in entries if isinstance(entry.value, dict)]
    rows = [{**record, "item": domain.name_item(Item(record))} for record in records]
    if catalog is not None and catalog.file:
        rows = _in_catalog(rows, catalog, domain, export.source)
    rating, time = (name if any(name in row for row in rows) else None for name in ("rating", "timestamp"))
    if len({row["user"] for row in rows}) == 1 and (rating is None or len(rows) < _FEW):
        why = "without ratings are one sample" if rating is None else "are few"
        more = "train, valid and test need more people"
        if rating is not None:
            more = "too few to train a model or to measure one; they are enough to be a history"
        _log.warning("%s: one person's %s behaviors %s: %s", export.source, len(rows), why, more)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{source.stem}.jsonl"
        path.write_text("".join(f"{json.dumps(row, default=str)}\n" for row in rows), encoding="utf-8")
        yield ExportTable(path, EventColumns(rating=rating, timestamp=time))


def _in_catalog(
    rows: Sequence[dict[str, object]], catalog: RecordColumns, domain: Domain, source: str
) -> list[dict[str, object]]:
    """Give rows the ids of a catalog's items, found by name; leave out those of items that it does not have."""
    described = read_described(
        SourceFile(Path(catalog.file).name, catalog.file), catalog, "an item", "item", domain.item
    )
    items = described.table({}, skip=True)[1].to_pylist()
    names = [domain.name_item(Item({key: value for key, value in item.items() if value is not None})) for item in items]
    finder = Finder(names)
    meant = {str(row["item"]): finder.meant(str(row["item"])) for row in rows}
    FoundNames(catalog.file).tell([Sought(name, [names[at] for at in places]) for name, places in meant.items()])
    found = {name: items[places[0]]["id"] for name, places in meant.items() if len(places) == 1}
    if rows and not found:
        raise InputError("has none of these items", source=catalog.file, remedy=f"give the items of {source}, or none")
    return [row | {"item": found[str(row["item"])]} for row in rows if row["item"] in found]


def _find(source: Path, domain: Domain) -> Export | None:
    name = source.name.lower()
    if not source.is_file():
        return None
    if name.endswith(".zip"):
        return richest_in(source, domain, "history")
    if name.endswith(".json"):
        with source.open("rb") as stream:
            if not may_be_trakt(stream.read(_START).decode("utf-8", "replace")):
                return None
        return find_json_export(json_entries(decode(read_file(source), source), str(source)), str(source))
    if not name.endswith((".csv", ".tsv")):
        return None
    file = SourceFile(source.name, str(source))
    header = column_names(file, dialect_of(file, "\t" if name.endswith(".tsv") else ","))
    found = None if "item" in header else format_of(header, source.name, domain)
    if found is None or not found.history:
        return None
    return find_export(decode(read_file(source), source), str(source), source.name, domain)
