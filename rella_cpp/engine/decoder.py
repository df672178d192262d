"""Makes the calls of a plan, except for what is in memory already, and hands on what comes out."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.plan import Call, Piece, Wanted
from rella_cpp.engine.segments import Segment, same_segment


class Context(Protocol):
    """What decodes; `LlamaContext` is one."""

    def clear(self) -> None:
        """Forget all sequences."""

    def cut(self, length: int) -> None:
        """Keep so many positions of the trunk, drop the rest and all branches."""

    def fork(self, branches: int) -> None:
        """Let branches 1 … n begin with the trunk."""

    def save(self) -> npt.NDArray[np.uint8]:
        """Copy the trunk out of memory."""

    def load(self, data: npt.NDArray[np.uint8]) -> None:
        """Forget all sequences, and put a saved trunk back."""

    def decode(self, pieces: Sequence[Piece], *, hidden: bool) -> None:
        """Decode pieces in one call."""

    def logits(self, index: int) -> npt.NDArray[np.float32]:
        """Copy the logits at a position of the last call."""

    def hidden(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Copy the hidden states at positions of the last call."""


Take = Callable[[Wanted, int], None]
"""Told of wanted rows when they are there: whose they are, and the place of the first in the last call."""


@dataclass(frozen=True, slots=True, eq=False)
class _Trunk:
    """A trunk that is not in use: where its pieces begin, the pieces, and its memory."""

    starts: list[int]
    pieces: list[Segment]
    data: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        """Count positions."""
        return self.starts[-1] + len(self.pieces[-1])


class Decoder:
    """Makes calls on a context, and remembers what stands on its trunk.

    A trunk that another user's prompts would cut is copied out of memory, and put back when prompts begin with it
    again: so an app that goes to and fro between users reads only what is new.

    Parameters
    ----------
    context
        What decodes.
    rewinds
        Whether its trunk can be cut back.

    Attributes
    ----------
    saved
        Positions of trunks that are kept so, at most, those used last; 0: none are.
    worth
        Positions that a trunk must lose to be copied out of memory first.
    decoded_tokens
        Positions decoded so far.

    """

    def __init__(self, context: Context, *, rewinds: bool = True) -> None:
        self.context, self._rewinds = context, rewinds
        self.saved, self.worth = 0, 64
        self._starts: list[int] = []
        self._kept: list[Segment] = []
        self._trunks: list[_Trunk] = []
        self._begins = False
        self.decoded_tokens = 0

    def forget(self) -> None:
        """Drop what is kept: it no longer holds (other adapters, say)."""
        self._trunks.clear()
        self._clear()

    def _clear(self) -> None:
        self._starts, self._kept = [], []
        self.context.clear()

    def run(self, calls: Iterable[Call], take: Take, *, hidden: bool = False) -> None:
        """Make calls, those that would only repeat what stands on the trunk left out.

        Parameters
        ----------
        calls
            A plan.
        take
            Told of the wanted rows after each call.
        hidden
            Let hidden states come out where anything is wanted.

        """
        self._begins = True
        try:
            for call in calls:
                if not self._stands(call) and not self._resumed(call):
                    self._make(call, take, hidden)
        except BaseException:  # what the memory holds now is uncertain
            self.forget()
            raise

    def _make(self, call: Call, take: Take, hidden: bool) -> None:
        if call.start is not None:
            self._cut(call.start)
            self.context.fork(call.branches)
        self.context.decode(call.pieces, hidden=hidden and any(piece.wanted for piece in call.pieces))
        place = 0
        for piece in call.pieces:
            for wanted in piece.wanted:
                take(wanted, place + wanted.row)
            place += len(piece.segment)
        self.decoded_tokens += place
        if call.start is not None and not call.branches:
            self._starts.append(call.start)
            self._kept.append(call.pieces[0].segment.copy())  # the caller may change his

    def _cut(self, length: int) -> None:
        """Cut the trunk back to so many positions, where a piece ends."""
        if length == 0 or not self._rewinds:
            if length == 0:
                self._clear()
            return
        stay = bisect_left(self._starts, length)
        del self._starts[stay:], self._kept[stay:]
        self.context.cut(length)

    def _resumed(self, call: Call) -> bool:
        """Where a plan leaves the trunk: keep that, if it is long, and go on with a saved one that holds the call."""
        if not self._begins or call.start is None or not self._rewinds or not self.saved:
            return False
        self._begins = False
        length = self._starts[-1] + len(self._kept[-1]) if self._starts else 0
        found = None if call.branches or call.pieces[0].wanted else self._find(call)
        if length - call.start >= self.worth:
            self._trunks.append(_Trunk(self._starts, self._kept, self.context.save()))
            self._starts, self._kept = self._starts[:], self._kept[:]
        if found is not None:
            self._trunks.remove(found)
            self.context.load(found.data)
            self._starts, self._kept = found.starts, found.pieces
        while sum(map(len, self._trunks)) > self.saved:
            self._trunks.pop(0)
        return found is not None

    def _find(self, call: Call) -> "_Trunk | None":
        """Return the saved trunk that is as the one in use up to a call's piece, and has that, too."""
        before, piece = bisect_left(self._starts, call.start or 0), call.pieces[0].segment
        for trunk in reversed(self._trunks):
            if trunk.starts[: before + 1] == [*self._starts[:before], call.start] and all(
                map(same_segment, trunk.pieces[: before + 1], [*self._kept[:before], piece])
            ):
                return trunk
        return None

    def _stands(self, call: Call) -> bool:
        """Tell whether the trunk holds this very piece, decoded as the call would, and no row of it is wanted."""
        if call.start is None or call.branches or call.pieces[0].wanted or not self._rewinds:
            return False
        place, segment = bisect_left(self._starts, call.start), call.pieces[0].segment
        if place == len(self._starts) or self._starts[place] != call.start:
            return False
        return same_segment(self._kept[place], segment)


def check_segments(segments: Sequence[Segment], n_vocab: int, n_embd: int) -> None:
    """Refuse segments that a model cannot read: llama.cpp would stop the process on some of them.

    Raises
    ------
    ValueError
        A token id outside the vocabulary, or embeddings of another type or width.

    """
    for segment in segments:
        if segment.dtype == np.int32 and segment.ndim == 1:
            if segment.min() < 0 or segment.max() >= n_vocab:
                raise ValueError(f"a token id lies outside 0 … {n_vocab - 1}")
        elif segment.dtype != np.float32 or segment.ndim != 2 or segment.shape[1] != n_embd:
            raise ValueError(f"a segment is int32 (n,) or float32 (n, {n_embd}), found {segment.dtype} {segment.shape}")
