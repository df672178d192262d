"""Columns of a table of any type brought to what a data set holds: numbers, texts, an item's fields.

NaN and null are no values anywhere. Words such as `nan` and `None` are none where a number is meant; elsewhere they are
texts.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.tables.texts import clean
from rella_cpp.domains.domain import Field
from rella_cpp.domains.values import ABSENT_WORDS, NUMBER, WHOLE_FLOAT, is_missing
from rella_cpp.errors import InputError

_NO_TEXT = pa.scalar(None, pa.string())
_INT32 = r"^(0|-?[1-9]\d{0,8})$"  # 007 is no number
_FLAGS = pa.array(["false", "true"])


def numbers(
    values: pa.Array, name: str, *, flags: bool = False
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return numbers, NaN where there is none, and which values are something else; both of shape (n,).

    With `flags`, the words true and false are 1 and 0.
    """
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if not is_number(values.type):
        texts = texts_of(values, name)
        if flags:
            flag = pc.index_in(pc.utf8_lower(pc.utf8_trim_whitespace(texts)), _FLAGS)
            texts = pc.coalesce(flag.cast(pa.string()), texts)
        readable = pc.match_substring_regex(texts, NUMBER)
        bad = pc.and_not(pc.invert(readable), is_absent(texts)).fill_null(False).to_numpy(zero_copy_only=False)
        values = pc.utf8_ltrim(pc.utf8_trim_whitespace(pc.if_else(readable, texts, _NO_TEXT)), "+").cast(pa.float64())
    else:
        bad = np.zeros(len(values), np.bool_)
    found = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    return found, bad | np.isinf(found)


def field_values(values: pa.Array, field: Field, separator: str) -> pa.Array:
    """Return a field as its domain shows it: text, whole numbers or text, or lists of texts; null where it is empty.

    A long text may be a list of paragraphs. Of a `value`, 1991.0 is 1991; texts stay as they are.

    Raises
    ------
    InputError
        The column holds something else.

    """
    listed = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    if field.long and field.type == "text" and listed:
        whole = [" ".join(str(part) for part in parts or () if not is_missing(part)) for parts in values.to_pylist()]
        return clean(pa.array(whole, pa.string()))
    if field.type == "list":
        if listed:
            lists = values.to_pylist()
        else:
            texts = texts_of(values, field.name).to_pylist()
            lists = [None if text is None else text.split(separator) for text in texts]
        tidy = [
            [str(part).strip() for part in parts or () if not is_missing(part) and str(part).strip()] for parts in lists
        ]
        return pa.array([parts or None for parts in tidy], pa.list_(pa.string()))
    texts = clean(texts_of(values, field.name))
    if field.type == "value":
        texts = pc.replace_substring_regex(pc.if_else(is_word(texts), _NO_TEXT, texts), WHOLE_FLOAT, r"\1")
        whole = pc.match_substring_regex(texts, _INT32)
        return texts.cast(pa.int32()) if pc.all(whole).as_py() is not False else texts
    return texts


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a type is one of numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_word(texts: pa.Array) -> pa.Array:
    """Mark words for no value; null stays."""
    marked = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(texts)), pa.array(ABSENT_WORDS))
    return pc.if_else(texts.is_valid(), marked, pa.scalar(None, pa.bool_()))


def is_absent(texts: pa.Array) -> pa.Array:
    """Mark what is no value where a number is meant: blanks, and words for it; null stays."""
    return pc.or_(pc.equal(pc.utf8_trim_whitespace(texts), ""), is_word(texts))


def present(values: pa.Array) -> pa.Array:
    """Return floats with null in place of NaN."""
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def float_texts(values: pa.Array) -> pa.Array:
    """Return floats as a table writes them, whole ones with `.0`; null where there is none."""
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    coded = present(values).dictionary_encode()
    texts = [str(number) for number in coded.dictionary.to_numpy(zero_copy_only=False)]
    return pa.array(texts, pa.string()).take(coded.indices)


def texts_of(values: pa.Array, name: str) -> pa.Array:
    """Return values as texts; nulls stay, and NaN is one.

    Raises
    ------
    InputError
        The column holds lists or objects.

    """
    if pa.types.is_floating(values.type):
        return float_texts(values)
    if pa.types.is_boolean(values.type):
        return pc.if_else(values, "True", "False")  # as Python and pandas write them
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"column {name} is of the type {values.type}", remedy="give texts or numbers") from None
