"""Ids of tables as texts: the same for every kind of file, on both sides of a join."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.content import find_texts
from rella_cpp.datasets.tables.columns import float_texts, is_word, present, texts_of
from rella_cpp.domains.values import WHOLE, WHOLE_FLOAT

_LARGEST = 1e15
_NONE = pa.scalar("", pa.string())


def id_texts(values: pa.Array, name: str) -> pa.Array:
    """Return one column's ids as texts, empty where there is none.

    A column of floats that are all whole gives whole numbers: 7.0 is `7`. Other floats are as a table writes them. What
    texts such as `7.0` are, `settle` says.

    Raises
    ------
    InputError
        The column holds lists or objects.

    """
    if pa.types.is_floating(values.type):
        values = present(values)
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), _LARGEST))
        values = values.cast(pa.int64()) if pc.all(whole).as_py() is not False else float_texts(values)
    return pc.utf8_trim_whitespace(texts_of(values, name).fill_null(""))


def settle(*columns: pa.Array) -> list[pa.Array]:
    """Bring columns of the same ids (of interactions, of the items) to the same texts.

    A table writes a column of whole numbers as `128.0` where one of them is missing. So a column of texts is taken for
    numbers if every id in it is a whole number and one at least ends in `.0`: then `128.0` is `128`, and a word such as
    `nan` no id. All columns are left alone if one of them has such an id beside others: there, `1.0` is a text.
    """
    kinds = [_kind(column) for column in columns]
    if any(kind == "texts" for kind in kinds):
        return list(columns)
    return [_as_numbers(column) if kind == "numbers" else column for column, kind in zip(columns, kinds, strict=True)]


def find_ids(known: pa.Array, ids: pa.Array) -> npt.NDArray[np.int32]:
    """Return each id's place among known ones, int32 of shape (n,), -1 where it is unknown.

    `128.0` finds 128, unless it is an id itself.
    """
    rows = find_texts(known, ids)
    if (rows < 0).any() and _floats(ids).any():
        rows = np.where(rows < 0, find_texts(known, pc.replace_substring_regex(ids, WHOLE_FLOAT, r"\1")), rows)
    return rows


def _kind(column: pa.Array) -> str:
    """Say whether a column's ids were `numbers` once, or are `texts` though some look so; else it is `clear`."""
    texts = column.unique()
    if not _floats(texts).any():
        return "clear"
    ids = texts.filter(pc.invert(pc.or_(pc.equal(texts, ""), is_word(texts))))
    return "numbers" if pc.all(pc.match_substring_regex(ids, WHOLE)).as_py() else "texts"


def _floats(texts: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.match_substring_regex(texts, WHOLE_FLOAT).to_numpy(zero_copy_only=False)
    return found


def _as_numbers(column: pa.Array) -> pa.Array:
    texts = pc.replace_substring_regex(pc.if_else(is_word(column), _NONE, column), WHOLE_FLOAT, r"\1")
    return pc.if_else(pc.equal(texts, "-0"), pa.scalar("0"), texts)
