"""Texts from the wild made fit to show: entities read, blanks tidied, nothing in place of an empty one."""

import html

import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.domains.values import WHOLE_FLOAT


def clean(texts: pa.Array) -> pa.Array:
    """Return texts with HTML entities read and runs of blanks and line breaks made one; null where nothing is left."""
    marked = pc.match_substring(texts, "&")
    if pc.any(marked).as_py():
        read = [html.unescape(text) for text in texts.filter(marked).to_pylist()]
        texts = pc.replace_with_mask(texts, marked, pa.array(read, pa.string()))
    texts = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"\s+", " "))
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def whole_numbers(texts: pa.Array, low: int, high: int) -> tuple[pa.Array, int]:
    """Read texts as int32, null where there is none or it lies outside; count those that lie outside. 18.0 is 18."""
    texts = pc.replace_substring_regex(texts, WHOLE_FLOAT, r"\1")
    digits = pc.match_substring_regex(texts, r"^\d{1,9}$")
    numbers = pc.if_else(digits, texts, pa.scalar(None, pa.string())).cast(pa.int32())
    inside = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    outside = pc.sum(pc.invert(inside)).as_py() or 0
    return pc.if_else(inside, numbers, pa.scalar(None, pa.int32())), outside
