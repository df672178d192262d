"""Items and users as a table describes them: an id, and the fields that their domain shows."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.content import ascending, find_texts, repeated
from rella_cpp.datasets.ids import id_texts
from rella_cpp.datasets.recipe import RecordColumns
from rella_cpp.datasets.tables.columns import field_values
from rella_cpp.datasets.tables.sheets import Sheet, Told
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.datasets.tables.table_files import table_kind
from rella_cpp.domains.domain import Field
from rella_cpp.domains.values import quoted
from rella_cpp.errors import InputError
from rella_gguf.near_names import nearest, shown_name

_log = logging.getLogger("rella_cpp")


@dataclass(slots=True)
class Described:
    """A file of items or users as it was read: its rows, their ids, and the column of each field.

    `noun` is what a row is of: `an item`. `settle` has its word on the ids before `table` takes them.
    """

    noun: str
    sheet: Sheet
    ids: pa.Array
    chosen: Mapping[str, str]
    wanted: Sequence[Field]
    separator: str

    def table(self, left_out: dict[str, Mapping[str, int]], *, skip: bool) -> tuple[pa.Array, pa.Table]:
        """Return all ids, and the table of the rows that have what the domain requires, ascending by id.

        What is left out is counted in `left_out`.

        Raises
        ------
        InputError
            Too many rows are broken, and `skip` is not set.

        """
        table = pa.table(
            {"id": self.ids}
            | {
                field.name: field_values(self.sheet.columns[self.chosen[field.name]], field, self.separator)
                for field in self.wanted
                if field.name in self.chosen
            }
        )
        broken = self._drop()
        counts = self.sheet.settle(skip=skip)
        table = table.filter(pa.array(~broken))
        ids = table["id"].combine_chunks()
        table, untitled = with_required(table.take(find_texts(ids, ascending(ids))), self.wanted)
        left_out[self.sheet.source] = counts | untitled
        return ids, table

    def _drop(self) -> npt.NDArray[np.bool_]:
        """Leave out rows without an id, and all but the last of an id; return which they are."""
        numbered = find_texts(self.ids.unique(), self.ids)
        empty = pc.equal(self.ids, "").to_numpy(zero_copy_only=False)
        broken: npt.NDArray[np.bool_] = empty | repeated(numbered, np.zeros_like(numbered))
        kind = f"{self.noun} without an id, or an id that comes again"

        def told(row: int) -> Told:
            if empty[row]:
                return Told(f"{self.noun} without an id", "fill the column of ids")
            return Told(f"{self.noun} whose id comes again: {quoted(self.ids[row].as_py())}", "give every id once")

        self.sheet.drop(broken, kind, told)
        return broken


def read_described(
    file: SourceFile, columns: RecordColumns, noun: str, event_column: str, wanted: Sequence[Field]
) -> Described:
    """Read items or users; `event_column` is that of their ids in the interactions."""
    kind = table_kind(file)
    there = kind.names(file)
    id_column = columns.id or next((name for name in (event_column, "id") if name in there), event_column)
    if not columns.id and id_column not in there:
        option = f"--{noun.split()[-1]}s-id"
        raise InputError(
            f"has no column {id_column}, and none called id",
            source=file.name,
            remedy=f"name the one of the ids: {option}, or id in the recipe; its columns are {', '.join(there)}",
        )
    chosen = choose(file.name, there, [id_column], wanted, columns)
    sheet = kind.read(file, list(dict.fromkeys([id_column, *chosen.values()])))
    return Described(noun, sheet, id_texts(sheet.columns[id_column], id_column), chosen, wanted, columns.separator)


def choose(
    source: str, there: Sequence[str], needed: Sequence[str], wanted: Sequence[Field], columns: RecordColumns
) -> dict[str, str]:
    """Return the column of every field that there is one for; refuse columns that are named and not there."""
    named = dict(columns.fields)
    refuse_missing(source, there, [*needed, *named.values()])
    chosen = {field.name: named.get(field.name, field.name) for field in wanted}
    for field in wanted:
        if field.required and chosen[field.name] not in there:
            raise InputError(
                f"has no column {field.name}",
                source=source,
                remedy=f"name the one to take as {field.name}; its columns are {', '.join(there) or 'none'}",
            )
    found = {name: column for name, column in chosen.items() if column in there}
    others = [name for name in there if name not in found.values() and name not in needed]
    for field in wanted:
        near = [] if field.name in found else nearest(field.name, others, closely=True)
        if near:
            _log.warning("%s: %s is not read; a recipe can name it as %s", source, shown_name(near[0]), field.name)
    return found


def refuse_missing(source: str, there: Sequence[str], named: Sequence[str], remedy: str = "") -> None:
    """Refuse a table without a column that is named."""
    missing = [name for name in named if name not in there]
    if missing:
        raise InputError(
            f"has no column {' and no column '.join(missing)}",
            source=source,
            remedy=f"{remedy}its columns are {', '.join(there) or 'none'}",
        )


def with_required(table: pa.Table, wanted: Sequence[Field]) -> tuple[pa.Table, dict[str, int]]:
    """Leave out rows without a field that the domain requires; count them by field."""
    counts = {}
    for field in wanted:
        if field.required and field.name in table.column_names and table[field.name].null_count:
            counts[f"an empty {field.name}"] = table[field.name].null_count
            table = table.filter(table[field.name].is_valid())
    return table, counts
