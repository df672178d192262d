"""A file's rows as columns, and the account of its broken rows: counted, the first one named, refused if many."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rella_cpp.errors import InputError

_log = logging.getLogger(__name__)
_ONE_IN = 1000
"""Broken rows are left out silently up to one row in so many."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is wrong with a broken row, its value among it, and what would be right."""

    finding: str
    remedy: str = "mend the file"


class Sheet:
    """Columns of one file: numbers as numpy arrays, texts as pyarrow arrays, all of one length.

    Parameters
    ----------
    source
        The file's name, for messages.
    columns
        By name.
    place
        Says where a row of the file stood, by its 0-based number: `line 7`.
    removed
        Numbers of rows that are no longer in the columns, ascending, with what was wrong with each kind.

    """

    def __init__(
        self,
        source: str,
        columns: dict[str, Any],
        place: Callable[[int], str],
        removed: Sequence[int] = (),
        broken: dict[str, tuple[int, int]] | None = None,
    ) -> None:
        self.source = source
        self.columns = columns
        self.place = place
        self.decimal_comma = False  # set where 5,0 in the file is the number 5.0
        self._broken = dict(broken or {})  # kind: (how many, the first one's row)
        self._told: dict[str, Told] = {}
        self._total = len(self) + len(removed)
        self._rows: npt.NDArray[np.int64] | None = None  # None: all of them are there
        if len(removed):
            self._rows = np.delete(np.arange(self._total), np.asarray(removed, dtype=np.int64))

    def __len__(self) -> int:
        """Count the rows that are left."""
        return len(next(iter(self.columns.values())))

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return a column of numbers, shape (rows,)."""
        found: npt.NDArray[Any] = self.columns[name]
        return found

    def drop(self, bad: npt.NDArray[np.bool_], kind: str, told: Callable[[int], "Told"] | None = None) -> None:
        """Leave rows out as broken.

        Parameters
        ----------
        bad
            Which rows, shape (rows,).
        kind
            What is wrong with them, without their values.
        told
            Says it of one row, by its number among those that are left.

        """
        if not bad.any():
            return
        first = int(np.argmax(bad))
        if told is not None and kind not in self._broken:
            self._told[kind] = told(first)
        count, before = self._broken.get(kind, (0, self._total))
        first = first if self._rows is None else int(self._rows[first])
        self._broken[kind] = (count + int(bad.sum()), min(first, before))
        self.keep(~bad)

    def explain(self, kind: str, told: Told) -> None:
        """Say more of the first broken row of a kind."""
        self._told[kind] = told

    def keep(self, kept: npt.NDArray[np.bool_]) -> None:
        """Leave out the other rows; they are not broken."""
        self._rows = np.flatnonzero(kept) if self._rows is None else self._rows[kept]
        mask = pa.array(kept)
        self.columns = {
            name: values[kept] if isinstance(values, np.ndarray) else values.filter(mask)
            for name, values in self.columns.items()
        }

    def settle(self, *, skip: bool) -> dict[str, int]:
        """Count the broken rows by kind and warn of them.

        Raises
        ------
        InputError
            They are more than 0.1 % of the file's rows and `skip` is not set, or no row is left.

        """
        if self._broken:
            kind, (_, row) = min(self._broken.items(), key=lambda entry: entry[1][1])
            total = sum(count for count, _ in self._broken.values())
            told, remedy = astuple(self._told.get(kind, Told(kind)))
            told += f"; of {self._total:,} rows {total:,} {'is' if total == 1 else 'are'} broken"
            if len(self._broken) > 1:
                told += f" ({', '.join(f'{count:,} × {kind}' for kind, (count, _) in sorted(self._broken.items()))})"
            if total * _ONE_IN > self._total and not skip:
                raise InputError(
                    f"{told}, more than 0.1 %",
                    source=self.source,
                    place=self.place(row),
                    remedy=remedy if total == self._total else f"{remedy}, or leave them out with --skip-bad-rows",
                )
            if not len(self):
                raise InputError(
                    f"{told}, and no row is left", source=self.source, place=self.place(row), remedy=remedy
                )
            _log.warning("%s, %s: %s; left out", self.source, self.place(row), told)
        if not len(self):
            raise InputError("holds no rows", source=self.source)
        return {kind: count for kind, (count, _) in sorted(self._broken.items())}
