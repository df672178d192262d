"""Times of a table as Unix seconds: numbers in one of four units, ISO 8601, and Parquet's own times."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.tables.columns import is_absent, is_number, numbers, texts_of
from rella_cpp.datasets.tables.sheets import Sheet, Told
from rella_cpp.domains.values import NUMBER, TIMES_TAKEN, UNITS, Unit, is_date, iso_moment, quoted

Integers = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]
_Cut = tuple[Integers, Integers]

_INTEGER = r"^\s*[-+]?\d{1,19}\s*$"
_NUMBER = re.compile(NUMBER, re.ASCII)
_BOUNDS = np.array([unit.below for unit in UNITS])
_NANO = 1_000_000_000
_REMEDY = f"give {TIMES_TAKEN}"
_PARTS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": _NANO}
_NO_UNIT, _TOO_LARGE = -1, len(UNITS)


@dataclass(frozen=True, slots=True)
class Times:
    """A column of times; every array has the shape (n,).

    Attributes
    ----------
    seconds
        Unix seconds, rounded down, int64; 0 where there is no time.
    nanos
        What was rounded off, in nanoseconds, int32; None where nothing was.
    bad
        Which values are no time.
    strange
        Which are numbers of another unit than most.
    unit
        The unit of most numbers; None where none tells it.

    """

    seconds: Integers
    nanos: npt.NDArray[np.int32] | None
    bad: Marks
    strange: Marks
    unit: Unit | None = None


def read_times(values: pa.Array, name: str) -> Times:
    """Read a column of times; without an offset they are UTC.

    Numbers, or texts that are numbers, are in the unit that their size tells (`UNITS`), one for the whole column.

    Raises
    ------
    InputError
        The column holds lists or objects.

    """
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(values.type):
        return _of_parts(values.cast(pa.int64()), _PARTS[values.type.unit])
    if pa.types.is_integer(values.type) and values.type != pa.uint64():
        known = values.cast(pa.int64())
        return of_integers(_filled(known), _nulls(known))
    if is_number(values.type):
        return _of_floats(*numbers(values, name))
    texts = texts_of(values, name)
    known = pc.if_else(is_absent(texts), pa.scalar(None, pa.string()), texts)
    if pc.all(pc.match_substring_regex(known, _INTEGER)).as_py() is not False:
        try:
            whole = pc.utf8_ltrim(pc.utf8_trim_whitespace(known), "+").cast(pa.int64())
            return of_integers(_filled(whole), _nulls(whole))
        except pa.ArrowInvalid:  # more than an int64 holds
            pass
    if pc.all(pc.match_substring_regex(known, NUMBER)).as_py() is not False:
        return _of_floats(*numbers(known, name))
    return _of_texts(known)


def of_integers(values: Integers, absent: Marks | None = None) -> Times:
    """Read whole numbers; those that are `absent`, of shape (n,), are no times."""
    bad = np.zeros(len(values), np.bool_) if absent is None else absent
    seconds = UNITS[0]
    bad = bad | _dates(values)
    if len(values) and -seconds.below < values.min() and values.max() < seconds.below:
        return Times(values, None, bad, np.zeros_like(bad), seconds)  # most are so: 25 million fit with no copy
    return _in_units(values, bad, _cut_integers)


def take_times(sheet: Sheet, read: pa.Array | Integers, times: Times) -> None:
    """Put times into a sheet's columns; `read` is the column as it stood in the file, of shape (n,)."""
    sheet.columns["timestamp"] = times.seconds
    if times.nanos is not None:
        sheet.columns["nanos"] = times.nanos
    if times.bad.any() or times.strange.any():
        sheet.columns |= {"read timestamp": read, "bad timestamp": times.bad, "strange timestamp": times.strange}
        sheet.columns["usual unit"] = np.full(len(times.bad), UNITS.index(times.unit) if times.unit else 0, np.int8)


def drop_bad_times(sheet: Sheet) -> None:
    """Leave out rows whose time is none, or of another unit than most."""

    def value(row: int) -> object:
        found = sheet.columns["read timestamp"][row]
        return found.as_py() if isinstance(found, pa.Scalar) else found.item()

    def none(row: int) -> Told:
        shown = value(row)
        missing = shown is None or shown != shown or not str(shown).strip()
        return Told("there is no time" if missing else f"{quoted(shown)} is no time", _REMEDY)

    def strange(row: int) -> Told:
        unit = UNITS[int(sheet.columns["usual unit"][row])].name
        return Told(f"{quoted(value(row))} is a time of another unit than most, which are {unit}", "give one unit")

    for name, kind, told in (("bad", "a time that is none", none), ("strange", "a time of another unit", strange)):
        if f"{name} timestamp" in sheet.columns:
            sheet.drop(sheet.columns[f"{name} timestamp"], kind, told)


def _of_floats(values: npt.NDArray[np.float64], bad: Marks) -> Times:
    bad = bad | np.isnan(values) | _dates(values)
    return _in_units(values, bad, _cut_floats)


def _of_parts(values: pa.Array, parts: int) -> Times:
    """Take times that say their unit."""
    seconds, nanos = _cut_integers(_filled(values), np.int64(parts))
    bad = _nulls(values)
    return Times(seconds, _unless_whole(nanos), bad, np.zeros_like(bad))


def _of_texts(texts: pa.Array) -> Times:
    """Read ISO 8601; pyarrow reads a whole column of one shape at once, else text by text."""
    for unit in ("s", "ns"):
        for zone in (None, "UTC"):
            try:
                times = texts.cast(pa.timestamp(unit, zone))
            except pa.ArrowInvalid:
                continue
            return _of_parts(times.cast(pa.int64()), _PARTS[unit])
    written = texts.to_pylist()
    found = np.array([_NUMBER.match(text or "") is not None for text in written], np.bool_)
    plain = pa.array([text if number else None for text, number in zip(written, found, strict=True)], pa.string())
    times = _of_floats(*numbers(plain, "timestamp"))
    moments = [None if number else iso_moment(text or "") for text, number in zip(written, found, strict=True)]
    read = np.array([moment is not None for moment in moments], np.bool_)
    cut = np.array([moment or (0, 0) for moment in moments], np.int64).reshape(-1, 2)
    nanos = np.where(read, cut[:, 1], 0 if times.nanos is None else times.nanos)
    return Times(
        np.where(read, cut[:, 0], times.seconds), _unless_whole(nanos), times.bad & ~read, times.strange, times.unit
    )


def _in_units(values: npt.NDArray[Any], bad: Marks, cut: Callable[[npt.NDArray[Any], np.int64], _Cut]) -> Times:
    """Tell the unit by the sizes, and cut the values into seconds and nanoseconds."""
    sizes = np.abs(np.where(bad, 0, values).astype(np.float64))
    unit = np.where(bad | (sizes == 0), _NO_UNIT, np.digitize(sizes, _BOUNDS))
    bad = bad | (unit == _TOO_LARGE)
    counts = np.bincount(unit[(unit != _NO_UNIT) & ~bad], minlength=len(UNITS))
    main = int(np.argmax(counts))
    seconds, nanos = cut(np.where(unit == main, values, 0), np.int64(UNITS[main].a_second))
    strange = (unit != main) & (unit != _NO_UNIT) & ~bad
    return Times(seconds, _unless_whole(nanos), bad, strange, UNITS[main] if counts.any() else None)


def _dates(values: npt.NDArray[Any]) -> Marks:
    """Return which numbers are dates in eight digits, as `values.is_date` tells them."""
    near = (values >= 19_000_101) & (values <= 21_001_231)
    if near.any():
        near[near] = [is_date(float(value)) for value in values[near]]
    return near


def _cut_integers(values: Integers, parts: np.int64) -> _Cut:
    seconds, rest = np.divmod(values, parts)
    return seconds, rest * (_NANO // parts)


def _cut_floats(values: npt.NDArray[np.float64], parts: np.int64) -> _Cut:
    seconds = np.floor(values / parts)
    rest = np.clip(np.floor((values - seconds * parts) * (_NANO / parts)), 0, _NANO - 1)
    return seconds.astype(np.int64), rest.astype(np.int64)


def _unless_whole(nanos: Integers) -> npt.NDArray[np.int32] | None:
    return nanos.astype(np.int32) if nanos.any() else None


def _filled(values: pa.Array) -> Integers:
    found: Integers = values.fill_null(0).to_numpy(zero_copy_only=False)
    return found


def _nulls(values: pa.Array) -> Marks:
    found: Marks = values.is_null().to_numpy(zero_copy_only=False)
    return found
