"""What prompts share, as a tree: a node is a run of positions with which the prompts beneath it go on alike.

With a letter for a token, the prompts abcdX, abcdY and abeZ make these nodes (8 positions, of 14):

    ab        0 to 2, of all three prompts
      cd      2 to 4, of the first two
        X     4 to 5, of the first: a leaf
        Y     4 to 5, of the second
      eZ      2 to 4, of the third
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.segments import Prompt, same_segment


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Positions `start` to `end` of the prompts in `below`, by number; of a leaf those that end there.

    `total` counts the positions of the subtree, `leaves` its ends. Where a prompt ends and others go on, a leaf of no
    positions stands for it.
    """

    start: int
    end: int
    below: tuple[int, ...]
    children: "tuple[Node, ...]"
    total: int
    leaves: int


def tree(prompts: Sequence[Prompt], outputs: Sequence[int], *, whole: bool) -> Node:
    """Find what prompts share.

    Parameters
    ----------
    prompts
        At least one, and few enough for a recursion of that depth.
    outputs
        Of how many of each one's last positions something is wanted.
    whole
        Share whole segments alone, and last ones only where as many outputs are wanted.

    """
    if whole:
        keys, ends = _segment_keys(prompts, outputs), [np.cumsum([0, *map(len, p.segments)]) for p in prompts]
    else:
        keys, ends = _position_keys(prompts), [np.arange(len(prompt) + 1) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda number: keys[number].astype(">u4").tobytes())
    return _grow(order, keys, ends, 0)


def _grow(order: list[int], keys: list[npt.NDArray[np.uint32]], ends: list[npt.NDArray[np.int64]], depth: int) -> Node:
    """Make the node of prompts, sorted by their keys, that agree in the first `depth` of them."""
    first, last = keys[order[0]][depth:], keys[order[-1]][depth:]
    shortest = min(len(first), len(last))
    differ = np.flatnonzero(first[:shortest] != last[:shortest])
    upto = depth + (int(differ[0]) if len(differ) else shortest)
    start, end = int(ends[order[0]][depth]), int(ends[order[0]][upto])
    if len(keys[order[-1]]) == upto:
        return Node(start, end, tuple(order), (), end - start, 1)
    children = []
    for value, group in groupby(
        order, key=lambda number: int(keys[number][upto]) if len(keys[number]) > upto else None
    ):
        below = list(group)
        children.append(Node(end, end, tuple(below), (), 0, 1) if value is None else _grow(below, keys, ends, upto))
    total = end - start + sum(child.total for child in children)
    return Node(start, end, tuple(order), tuple(children), total, sum(child.leaves for child in children))


def leaves(node: Node) -> Iterator[Node]:
    """Yield a subtree's leaves, in order."""
    if not node.children:
        yield node
    for child in node.children:
        yield from leaves(child)


def common_lead(prompts: Sequence[Prompt]) -> int:
    """Count the positions of the whole segments that all prompts begin with, their last ones left out."""
    length = 0
    for column in zip(*(prompt.segments[:-1] for prompt in prompts), strict=False):
        if not all(same_segment(column[0], other) for other in column[1:]):
            break
        length += len(column[0])
    return length


def _position_keys(prompts: Sequence[Prompt]) -> list[npt.NDArray[np.uint32]]:
    """Give each position a number: a token its own, an embedding one beyond all tokens'."""
    rows: dict[bytes, int] = {}
    return [
        np.concatenate(
            [
                segment.astype(np.uint32)
                if segment.dtype == np.int32
                else np.array([rows.setdefault(row.tobytes(), 1 << 31 | len(rows)) for row in segment], np.uint32)
                for segment in prompt.segments
            ]
        )
        for prompt in prompts
    ]


def _segment_keys(prompts: Sequence[Prompt], outputs: Sequence[int]) -> list[npt.NDArray[np.uint32]]:
    """Give each segment a number; the last one's rows are computed in another shape, so it is another's."""
    known: dict[tuple[object, ...], int] = {}
    return [
        np.array(
            [
                known.setdefault((count if last else 0, segment.dtype.char, segment.tobytes()), len(known))
                for segment, last in zip(prompt.segments, _is_last(prompt), strict=True)
            ],
            np.uint32,
        )
        for prompt, count in zip(prompts, outputs, strict=True)
    ]


def _is_last(prompt: Prompt) -> Iterator[bool]:
    return (number == len(prompt.segments) for number in range(1, len(prompt.segments) + 1))
