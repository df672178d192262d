"""Whether usearch can walk a graph: a forged one, whose SHA-256 is right, would lead it out of the file."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.signedinteger[Any]]

_HEAD = struct.Struct("<QQQqQ")  # nodes; neighbors of each, and on the lowest level; the highest level; where to enter
_NODE = 10  # bytes before a node's lists of neighbors: its key and its level
_SLOT = 4  # bytes of a neighbor, and of how many there are
_MOST = 1 << 12  # neighbors
_CHUNK = 1 << 13  # nodes looked at together


def check_walk(path: Path, start: int) -> None:
    """Refuse a graph that is not whole in itself; it begins at `start`, behind what usearch says of its kinds.

    Raises
    ------
    ValueError
        A node has another key than its place, or a neighbor that is not there.

    """
    data = np.memmap(path, np.uint8, "r")
    nodes, upper, lowest, top, entry = _HEAD.unpack(data[start : start + _HEAD.size].tobytes())
    at = start + _HEAD.size
    if not 0 < max(upper, lowest) <= _MOST or at + 2 * nodes > len(data):
        raise ValueError("its graph has no size that can be")
    levels: Numbers = np.frombuffer(data, "<i2", nodes, at).astype(np.int64)
    if levels.min() < 0 or levels.max() != top or not 0 <= entry < nodes or levels[entry] != top:
        raise ValueError("its graph has no beginning")
    sizes = _NODE + _SLOT * (1 + lowest) + levels * _SLOT * (1 + upper)
    starts = at + 2 * nodes + np.cumsum(sizes) - sizes
    if starts[-1] + sizes[-1] > len(data):
        raise ValueError("its graph is cut short")
    for first in range(0, nodes, _CHUNK):
        chunk = slice(first, first + _CHUNK)
        heads = data[starts[chunk, None] + np.arange(_NODE)]
        keys, own = np.ascontiguousarray(heads[:, :8]).view("<u8"), np.ascontiguousarray(heads[:, 8:]).view("<i2")
        if not np.array_equal(keys[:, 0], np.arange(first, first + len(keys))):
            raise ValueError("its graph has other keys")
        if not np.array_equal(own[:, 0], levels[chunk]):
            raise ValueError("its graph has other levels")
        for level, lists in _lists(data, starts[chunk], levels[chunk], lowest, upper):
            counts, slots = lists[:, :1], lists[:, 1:]
            used = slots[np.arange(slots.shape[1]) < counts]
            if (counts > slots.shape[1]).any() or (used >= nodes).any() or (levels[used] < level).any():
                raise ValueError("its graph leads to where nothing is")


def _lists(
    data: npt.NDArray[np.uint8], starts: Numbers, levels: Numbers, lowest: int, upper: int
) -> Iterator[tuple[int, npt.NDArray[np.uint32]]]:
    """Yield each level's lists of neighbors, uint32 of shape (nodes that reach it, 1 + most); first how many."""
    at = _NODE
    for level in range(int(levels.max()) + 1):
        size = _SLOT * (1 + (lowest if level == 0 else upper))
        places = starts[levels >= level] + at
        yield level, data[places[:, None] + np.arange(size)].view("<u4")
        at += size
