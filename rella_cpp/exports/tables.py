"""Exports as tables that `rella data prepare table` takes: a row a behavior."""

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rella_cpp.datasets.recipe import EventColumns
from rella_cpp.datasets.tables.delimited_text import column_names, dialect_of
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.inputs import json_entries, read_file
from rella_cpp.domains.plain_text import decode
from rella_cpp.domains.records import Item
from rella_cpp.exports.files import Export, find_export, find_json_export, richest_in
from rella_cpp.exports.inputs import take
from rella_cpp.exports.recognition import format_of
from rella_cpp.exports.signs import may_be_trakt

_log = logging.getLogger("rella_cpp")
_FEW = 15
"""Behaviors of one person, 5 of which are read before the first sample, that 8:1:1 can split at all."""
_START = 4096


@dataclass(frozen=True, slots=True)
class ExportTable:
    """An export as a table: its file, which is JSON Lines, and the columns of it."""

    path: Path
    columns: EventColumns


@contextmanager
def export_table(source: Path, domain: Domain, *, series: bool = False) -> Iterator[ExportTable | None]:
    """Write what a service, or a person, wrote as a table, which is gone afterwards.

    None where it is no history of a known format, or a table with a column called `item`, which is taken as it is.

    Raises
    ------
    InputError
        It is of other things than the domain's, or what it holds is refused.

    """
    export = _find(source, domain)
    if export is None:
        yield None
        return
    entries = take(export, domain, "history", series=series, people=True)
    records = [dict(entry.value) for entry in entries if isinstance(entry.value, dict)]
    rows = [{**record, "item": domain.name_item(Item(record))} for record in records]
    rating, time = (name if any(name in row for row in rows) else None for name in ("rating", "timestamp"))
    if len({row["user"] for row in rows}) == 1 and (rating is None or len(rows) < _FEW):
        why = "without ratings are one sample" if rating is None else "are too few to be split"
        more = "train, valid and test need more people" if rating is None else "some of train, valid and test are empty"
        _log.warning("%s: one person's %s behaviors %s: %s", export.source, len(rows), why, more)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{source.stem}.jsonl"
        path.write_text("".join(f"{json.dumps(row, default=str)}\n" for row in rows), encoding="utf-8")
        yield ExportTable(path, EventColumns(rating=rating, timestamp=time))


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
