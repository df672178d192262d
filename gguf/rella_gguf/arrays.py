"""Read what `Header` leaves of a GGUF's metadata: the arrays, and of which types values are."""

import struct
from itertools import repeat

from rella_gguf.header import ArrayInfo, Header
from rella_gguf.reader import Reader

_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Struct codes by GGUF value type."""
STRINGS = 8
"""The GGUF value type of a string."""


def numbers(header: Header, key: str) -> tuple[float, ...]:
    """Return the metadata value `key`, which may be one number or an array of them; empty where it is neither."""
    value = header.metadata.get(key)
    if isinstance(value, int | float):
        return (value,)
    if not isinstance(value, ArrayInfo) or value.type not in _CODES:
        return ()
    data, start = _entry(header, key)
    return struct.unpack_from(f"<{value.length}{_CODES[value.type]}", data, start)


def kind(header: Header, key: str) -> int:
    """Return the GGUF value type of the metadata value `key`, which is there."""
    data, start = _entry(header, key)
    return int(struct.unpack_from("<I", data, start - 16)[0])


def texts(header: Header, key: str) -> list[bytes]:
    """Return the array of texts `key`, not decoded; empty where it is no such array."""
    value = header.metadata.get(key)
    if not isinstance(value, ArrayInfo) or value.type != STRINGS:
        return []
    data, at = _entry(header, key)
    unpack, found = struct.Struct("<Q").unpack_from, []
    for _ in repeat(None, value.length):  # a vocabulary has 100,000 and more
        (length,) = unpack(data, at)
        start = at + 8
        at = start + length
        found.append(data[start:at])
    return found


def _entry(header: Header, key: str) -> tuple[bytes, int]:
    """Return the bytes of an array's metadata entry, and where in them its first value stands."""
    start, end = header.ranges[key]
    with Reader(header.path) as reader:
        data = reader.read(start, end - start)
    # The key's length and the key; the type, the type of the values, their number.
    return data, 8 + int.from_bytes(data[:8], "little") + 4 + 4 + 8
