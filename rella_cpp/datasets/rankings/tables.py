"""Tables of rankings as another recommender wrote them: read part by part, every row checked against the data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.ids import find_ids, id_texts
from rella_cpp.datasets.tables.columns import numbers
from rella_cpp.datasets.tables.sheets import Sheet
from rella_cpp.datasets.tables.table_files import find_table, table_kind
from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError
from rella_cpp.storage.progress import Progress

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet

_LONG = ("user", "position", "item", "score")
_LISTS = ("user", "position", "items", "scores")
_FORMS = f"a row is {', '.join(_LONG)}, or {', '.join(_LISTS)} with lists"
_LARGEST = 1e300
"""Greater scores are refused, so that there is a number below each list's lowest."""


@dataclass(frozen=True, slots=True)
class TableOfLists:
    """A table's lists in its own order.

    Attributes
    ----------
    keys, counts
        Of every list (of long rows: of every stretch with one user and position), user << 32 | position and how many
        items; int64 of shape (lists,).
    items, scores
        Of all lists, one after the other, int32 and float64 of shape (n,).
    source
        The table's name.
    place
        Says where the n-th item stands.

    """

    keys: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]
    source: str
    place: Callable[[int], str]


def read_lists(path: Path, data: "DataSet", progress: Progress) -> TableOfLists:
    """Read a table of rankings.

    Raises
    ------
    InputError
        There is no such table, it lacks columns, is empty, or a row of it does not fit the data set.

    """
    file = find_table(path).watched(progress)
    kind = table_kind(file)
    file.check_packed()
    columns = _form(file.name, kind.names(file))
    reader = _Reader(file.name, data, lists=columns == _LISTS)
    for sheet in kind.parts(file, columns):
        try:
            reader.add(sheet)
        except InputError as error:
            raise error.located(file.name) from None
    return reader.table()


def _form(source: str, names: Sequence[str]) -> tuple[str, ...]:
    twice = sorted({name for name in (*_LONG, *_LISTS) if list(names).count(name) > 1})
    if twice:
        raise InputError(f"has several columns {twice[0]}", source=source, remedy="leave one")
    for columns in (_LONG, _LISTS):
        if set(columns) <= set(names):
            return columns
    wanted = _LISTS if {"items", "scores"} & set(names) else _LONG
    missing = " and no column ".join(name for name in wanted if name not in names)
    found = f"its columns are {', '.join(names) or 'none'}"
    raise InputError(f"has no column {missing}", source=source, remedy=f"{found}; {_FORMS}")


class _Ids:
    """Numbers of the users or items by their ids, and which ids there are none of."""

    def __init__(self, noun: str, ids: pa.Array) -> None:
        self.noun, self._ids = noun, ids
        self._unknown: dict[str, int] = {}  # id: the first row

    def numbers(self, values: pa.Array, rows: Callable[[int], int], sheet: Sheet) -> npt.NDArray[np.int32]:
        """Return the number of every id, int32 of shape (n,), -1 where it is unknown; `rows` gives an id's row."""
        if pa.types.is_nested(values.type):
            raise InputError(f"column {self.noun} is of the type {values.type}", remedy="give texts or numbers")
        if pa.types.is_null(values.type):
            values = values.cast(pa.string())
        coded = values.dictionary_encode()  # few ids, many rows
        texts = id_texts(coded.dictionary, self.noun)
        missing = np.append(pc.equal(texts, "").to_numpy(zero_copy_only=False), True)
        at = coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
        if missing[at].any():
            place = sheet.place(rows(int(np.argmax(missing[at]))))
            raise InputError(f"the {self.noun} is missing", place=place, remedy=f"give the id of the {self.noun}")
        known = np.append(find_ids(self._ids, texts), np.int32(-1))
        found: npt.NDArray[np.int32] = known[at]
        if (found < 0).any():
            unknown = at[found < 0]
            _, first = np.unique(unknown, return_index=True)
            wrong = np.flatnonzero(found < 0)
            for place_of in np.sort(first).tolist():
                self._unknown.setdefault(texts[int(unknown[place_of])].as_py(), rows(int(wrong[place_of])))
        return found

    def refuse_unknown(self, sheet: Sheet) -> None:
        """Refuse a table with ids that are unknown."""
        if self._unknown:
            count, (text, row) = len(self._unknown), next(iter(self._unknown.items()))
            known = f"as the data set has them, such as {self._ids[0].as_py()!r}" if len(self._ids) else "of others"
            raise InputError(
                f"the {self.noun} {text!r} is not in the data set"
                + (f", nor are {count - 1:,} others in the table" if count > 1 else ""),
                place=sheet.place(row),
                remedy=f"give ids {known}",
            )


class _Reader:
    """Takes a table's parts, and remembers numbers alone."""

    def __init__(self, source: str, data: "DataSet", *, lists: bool) -> None:
        self._source, self._lists, self._data = source, lists, data
        self._users = _Ids("user", data.users["id"].combine_chunks())
        self._items = _Ids("item", data.items["id"].combine_chunks())
        self._lengths = np.diff(data.interactions.starts)
        self._found: list[tuple[npt.NDArray[Any], ...]] = []
        self._rows = 0
        self._sheet: Sheet | None = None

    def add(self, sheet: Sheet) -> None:
        """Take some rows."""
        size, columns, start = len(sheet), sheet.columns, self._rows
        self._sheet, self._rows = sheet, start + size
        user = self._users.numbers(columns["user"], lambda at: start + at, sheet)
        keys = user.astype(np.int64) << 32 | self._positions(columns["position"], user, start, sheet)
        if self._lists:
            counts = self._counts(columns, start, sheet)
            ends = np.cumsum(counts)
            items, scores = columns["items"].flatten(), columns["scores"].flatten()
        else:
            first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
            counts, ends = np.diff(np.append(first, size)), np.arange(1, size + 1)
            keys, items, scores = keys[first], columns["item"], columns["score"]

        def row(at: int) -> int:
            return start + int(np.searchsorted(ends, at, side="right"))

        found = self._items.numbers(items, row, sheet)
        self._found.append((keys, counts, found, self._scores(scores, row, sheet)))

    def table(self) -> TableOfLists:
        """Return what was found.

        Raises
        ------
        InputError
            There were no rows, unknown ids, or two lists for one user and position.

        """
        if self._sheet is None or not self._rows:
            raise InputError("holds no rows", source=self._source, remedy=_FORMS)
        sheet = self._sheet
        for ids in (self._users, self._items):
            try:
                ids.refuse_unknown(sheet)
            except InputError as error:
                raise error.located(self._source) from None
        keys, counts, items, scores = (np.concatenate(parts) for parts in zip(*self._found, strict=True))
        self._found.clear()
        if self._lists:
            self._refuse_repeated(keys, sheet)
            ends = np.cumsum(counts)
            return TableOfLists(
                keys,
                counts,
                items,
                scores,
                self._source,
                lambda at: sheet.place(int(np.searchsorted(ends, at, "right"))),
            )
        return TableOfLists(keys, counts, items, scores, self._source, sheet.place)

    def _refuse_repeated(self, keys: npt.NDArray[np.int64], sheet: Sheet) -> None:
        order = np.argsort(keys, kind="stable")
        again = order[1:][keys[order[1:]] == keys[order[:-1]]]
        if len(again):
            row = int(again.min())
            user, position = self._data.user_id(int(keys[row] >> 32)), int(keys[row] & 0xFFFFFFFF)
            raise InputError(
                f"the list of user {user!r} at position {position} was there before",
                source=self._source,
                place=sheet.place(row),
                remedy="give one list for each user and position",
            )

    def _positions(
        self, values: pa.Array, user: npt.NDArray[np.int32], start: int, sheet: Sheet
    ) -> npt.NDArray[np.int64]:
        found, bad = _read_numbers(values, "position")
        bad = bad | ~(found == np.floor(found))  # NaN among them
        if not bad.any():
            bad = (user >= 0) & ((found < 0) | (found >= self._lengths[user]))
        if bad.any():
            at = int(np.argmax(bad))
            whole = found[at] == np.floor(found[at])
            told = f"position is {found[at]:.0f}" if whole else f"position is {describe(values[at].as_py())}"
            remedy = "give the index of the target among the user's interactions, from 0"
            if user[at] >= 0:
                owner, length = self._data.user_id(int(user[at])), int(self._lengths[user[at]])
                remedy = f"user {owner!r} has {length:,} interactions: 0 is the first, {length - 1:,} the last"
            raise InputError(told, place=sheet.place(start + at), remedy=remedy)
        positions: npt.NDArray[np.int64] = found.astype(np.int64)
        return positions

    def _counts(self, columns: dict[str, Any], start: int, sheet: Sheet) -> npt.NDArray[np.int64]:
        lengths: list[npt.NDArray[np.int64]] = []
        for name in ("items", "scores"):
            kind = columns[name].type
            if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
                told = f"column {name} is of the type {kind}, no list"
                raise InputError(told, place=sheet.place(start), remedy=f"give lists, or long rows: {', '.join(_LONG)}")
            counts = pc.list_value_length(columns[name]).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
            if not counts.all():
                at = start + int(np.argmin(counts))
                raise InputError(f"there are no {name}", place=sheet.place(at), remedy="leave the row out, or fill it")
            lengths.append(counts)
        wrong = lengths[0] != lengths[1]
        if wrong.any():
            at = int(np.argmax(wrong))
            told = f"there are {lengths[0][at]:,} items and {lengths[1][at]:,} scores"
            raise InputError(told, place=sheet.place(start + at), remedy="give a score for each item")
        return lengths[0]

    def _scores(self, values: pa.Array, row: Callable[[int], int], sheet: Sheet) -> npt.NDArray[np.float64]:
        found, bad = _read_numbers(values, "score")
        bad = bad | ~(np.abs(found) < _LARGEST)  # NaN among them
        if bad.any():
            at = int(np.argmax(bad))
            told = f"score is {describe(values[at].as_py())}"
            raise InputError(told, place=sheet.place(row(at)), remedy="give a finite number")
        return found


def _read_numbers(values: pa.Array, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Read numbers as `numbers` does; texts that are all numbers at once, without a look at each."""
    if pa.types.is_nested(values.type) or pa.types.is_boolean(values.type):
        raise InputError(f"column {name} is of the type {values.type}", remedy="give numbers")
    if pa.types.is_string(values.type):
        try:
            values = values.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
    return numbers(values, name)
