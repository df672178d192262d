"""Columns of a table of any type brought to what a data set holds: ids, numbers, times, an item's fields."""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.texts import clean
from rella_cpp.domains import Field
from rella_cpp.errors import InputError

_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\s*$"
_NO_TEXT = pa.scalar(None, pa.string())


def id_texts(values: pa.Array, name: str) -> pa.Array:
    """Return ids as texts, empty where there is none; 7.0 (a whole number that was a float) is `7`.

    Raises
    ------
    InputError
        The column holds lists or objects.

    """
    if pa.types.is_floating(values.type):
        whole = pc.equal(pc.floor(values), values)
        small = pc.all(pc.and_(whole, pc.less(pc.abs(values), 1e15))).as_py()
        values = values.cast(pa.int64()) if small is not False else values
    return pc.utf8_trim_whitespace(_texts(values, name).fill_null(""))


def numbers(values: pa.Array, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return numbers, NaN where there is none, and which values are something else; both of shape (n,)."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if not _is_number(values.type):
        texts = _texts(values, name)
        readable = pc.match_substring_regex(texts, _NUMBER)
        empty = pc.equal(pc.utf8_trim_whitespace(texts), "")
        bad = pc.and_not(pc.invert(readable), empty).fill_null(False).to_numpy(zero_copy_only=False)
        values = pc.utf8_trim_whitespace(pc.if_else(readable, texts, _NO_TEXT)).cast(pa.float64())
    else:
        bad = np.zeros(len(values), np.bool_)
    found = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    return found, bad | np.isinf(found)


def seconds(values: pa.Array, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return Unix seconds, rounded down, and which values are no time; both of shape (n,).

    Takes numbers of seconds, pyarrow's times and ISO 8601 texts (without an offset: UTC).
    """
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    elif not _is_number(values.type):
        texts = _texts(values, name)
        readable = pc.match_substring_regex(texts, _NUMBER).fill_null(False)
        if not pc.all(readable).as_py():
            return _moments(texts)
    found, bad = numbers(values, name)
    bad |= ~(np.abs(found) < 1e15)  # NaN among them
    return np.floor(np.where(bad, 0, found)).astype(np.int64), bad


def _moments(texts: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Read ISO 8601; pyarrow reads a whole column of one shape at once, else text by text."""
    try:
        times = texts.cast(pa.timestamp("s"))
        return times.cast(pa.int64()).fill_null(0).to_numpy(), times.is_null().to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        found = [_moment(text) for text in texts.to_pylist()]
    bad = np.array([value is None for value in found], np.bool_)
    return np.array([value or 0 for value in found], np.int64), bad


def _moment(text: str | None) -> int | None:
    try:
        moment = datetime.fromisoformat((text or "").strip())
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() // 1)
    except (ValueError, OverflowError):
        pass
    try:
        return int(float(text or "") // 1)
    except (ValueError, OverflowError):
        return None


def field_values(values: pa.Array, field: Field, separator: str) -> pa.Array:
    """Return a field as its domain shows it: text, whole numbers or text, or lists of texts; null where it is empty.

    A long text may be a list of paragraphs.

    Raises
    ------
    InputError
        The column holds something else.

    """
    listed = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    if field.long and field.type == "text" and listed:
        whole = [" ".join(str(part) for part in parts or () if part is not None) for parts in values.to_pylist()]
        return clean(pa.array(whole, pa.string()))
    if field.type == "list":
        if listed:
            lists = values.to_pylist()
        else:
            lists = [None if text is None else text.split(separator) for text in _texts(values, field.name).to_pylist()]
        tidy = [
            [str(part).strip() for part in parts or () if part is not None and str(part).strip()] for parts in lists
        ]
        return pa.array([parts or None for parts in tidy], pa.list_(pa.string()))
    if field.type == "value":
        texts = clean(id_texts(values, field.name))
        whole = pc.match_substring_regex(texts, r"^-?\d{1,9}$")
        return texts.cast(pa.int32()) if pc.all(whole).as_py() is not False else texts
    return clean(id_texts(values, field.name))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _texts(values: pa.Array, name: str) -> pa.Array:
    """Return values as texts; nulls stay."""
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"column {name} is of the type {values.type}", remedy="give texts or numbers") from None
