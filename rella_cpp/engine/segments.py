"""What the engine reads: marked text, and prompts as segments."""

from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Segment = npt.NDArray[np.int32] | npt.NDArray[np.float32]
"""Token ids, int32 of shape (n,), or input embeddings in their place, float32 of shape (n, n_embd)."""


def same_segment(one: Segment, other: Segment) -> bool:
    """Tell whether two segments are the same to the bit."""
    return one is other or (one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes())


class Span(NamedTuple):
    """A piece of prompt text. Control tokens are recognized in a `trusted` one (a chat frame) and in no other.

    Before the character `soft` of a text that is not trusted a soft prompt will stand: what comes before and behind it
    is tokenized apart, as around a control token.
    """

    text: str
    trusted: bool = False
    soft: int | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of a text made of spans; `starts[i]` is the index of the first token that reaches into span i.

    A token that lies across two spans belongs to the later one, so that what comes before a border never depends on
    what comes after it. `soft` is the index of the token before which a soft prompt is to stand, if one is.
    """

    tokens: tuple[int, ...]
    starts: tuple[int, ...]
    soft: int | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """One sequence to read, cut at fixed places.

    In exact mode the cuts decide which tokens are decoded together, and so, to the last bit, what the model computes.
    `outputs` is how many of the last positions give logits.
    """

    segments: tuple[Segment, ...]
    outputs: int = 1

    def __post_init__(self) -> None:
        """Refuse a prompt that reads nothing or wants more outputs than its last segment has positions."""
        if not self.segments or any(len(segment) == 0 for segment in self.segments):
            raise ValueError("a prompt needs at least one segment, and no segment may be empty")
        if not 1 <= self.outputs <= len(self.segments[-1]):
            raise ValueError(f"outputs is {self.outputs}; the last segment has {len(self.segments[-1])} positions")

    @classmethod
    def cut(
        cls,
        tokens: tuple[int, ...],
        borders: tuple[int, ...],
        soft: tuple[int, npt.NDArray[np.float32]] | None = None,
    ) -> "Prompt":
        """Cut tokens before each index in `borders` (ascending); empty pieces vanish.

        Parameters
        ----------
        soft
            The index of the token before which embeddings stand, and these, float32 of shape (n, n_embd).

        """
        edges = sorted({0, *borders, *(() if soft is None else soft[:1])})
        segments: list[Segment] = []
        for first, last in zip(edges, [*edges[1:], len(tokens)], strict=True):
            if soft is not None and first == soft[0]:
                segments.append(soft[1])
            if first < last:
                segments.append(np.asarray(tokens[first:last], dtype=np.int32))
        return cls(tuple(segments))

    @property
    def merged(self) -> tuple[Segment, ...]:
        """The segments with neighbors of one kind joined: the cuts are gone."""
        runs: list[Segment] = []
        for _, run in groupby(self.segments, key=lambda segment: segment.dtype):
            runs.append(np.concatenate(list(run)))
        return tuple(runs)

    def __len__(self) -> int:
        """Count the positions."""
        return sum(len(segment) for segment in self.segments)
