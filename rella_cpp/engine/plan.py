"""The decode plan: from prompts to calls of llama.cpp, so that nothing known is decoded again.

The plan walks the tree of what prompts share. The *trunk*, sequence 0, holds the way down to where it is; what is long
is read there. Where the subtrees beneath a node are short, several are read in one call: each prompt is then a
*branch*, a sequence of its own that begins with the trunk.

With a letter for a token, the prompts abcdX, abcdY and abeZ are 8 positions to read. With room for three branches they
are one call: ab (in branches 1 to 3), cd (1 and 2), X (1), Y (2), eZ (3). With room for two they are three calls:

    ab              onto the trunk, since two calls need it
    cd, X, Y        the trunk's 2 positions stay, branches 1 and 2 begin there: cd in both, X in 1, Y in 2
    eZ              the trunk's 2 positions stay; a single prompt goes on there, without a branch
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rella_cpp.engine.segments import Prompt, Segment
from rella_cpp.engine.tree import Node, common_lead, leaves, tree

MAX_SEQUENCES = 256
"""LLAMA_MAX_SEQ."""
TRUNK = range(1)
_KEPT = 128
"""Positions of a piece that is kept for the next plan, at least: a call for fewer would not pay."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a context holds, and what pays on its backend.

    Attributes
    ----------
    cells
        Positions that its memory holds, over all sequences.
    batch
        Positions that one call reads at most.
    sequences
        Sequences at most, the trunk counted.
    pack
        Subtrees of up to so many positions are read together with others.
    call
        What a call of its own costs, as positions in a call that is made anyway. A shorter node is read again in each
        call beneath it rather than once on the trunk.
    exact
        Share whole segments only, and decode each in calls of its own: llama.cpp gives the same position other last
        bits in a call of another shape, so this alone makes a prompt's outputs independent of the prompts beside it.
    rewinds
        Whether the trunk can be cut back; that of a recurrent model cannot, so its prompts share nothing.

    """

    cells: int
    batch: int = 512
    sequences: int = 64
    pack: int = 320
    call: int = 24
    exact: bool = False
    rewinds: bool = True

    def __post_init__(self) -> None:
        """Refuse what llama.cpp cannot do."""
        if not 1 <= self.sequences <= MAX_SEQUENCES:
            raise ValueError(f"sequences is {self.sequences}; llama.cpp takes 1 to {MAX_SEQUENCES}")


class Wanted(NamedTuple):
    """Rows of a piece that belong to a prompt's output: `length` from `row` on, of the output from `slot` on."""

    prompt: int
    slot: int
    row: int
    length: int


class Piece(NamedTuple):
    """Neighboring positions that belong to the same sequences; `position` is the first one's place in them."""

    segment: Segment
    position: int
    sequences: range
    wanted: tuple[Wanted, ...]


class Call(NamedTuple):
    """One decode call.

    The first `start` positions of the trunk stay, what lies beyond and all branches go, and `branches` new ones begin
    there. With a `start` of None everything stays: the call goes on where the last one stopped.
    """

    start: int | None
    branches: int
    pieces: tuple[Piece, ...]


def plan(
    prompts: Sequence[Prompt], limits: Limits, outputs: Sequence[int] | None = None, *, keep: bool = False
) -> Iterator[Call]:
    """Plan the calls that read prompts.

    Parameters
    ----------
    prompts
        What to read; each fits the memory.
    outputs
        Of how many of each one's last positions something is wanted; None: as the prompts say.
    keep
        Cut the trunk where the whole segments end that all prompts begin with, and at ends of segments before: the next
        plan may find them in memory, also where it has more segments behind them.

    Yields
    ------
    Calls in the order to make them. A function of the arguments alone, so the same prompts give the same bits.

    """
    counts = [prompt.outputs for prompt in prompts] if outputs is None else list(outputs)
    if limits.rewinds:
        yield from _Walk(prompts, counts, limits).calls(keep=keep)
        return
    for number in range(len(prompts)):
        for call in _Walk([prompts[number]], [counts[number]], limits).calls():
            (piece,) = call.pieces
            wanted = tuple(entry._replace(prompt=number) for entry in piece.wanted)
            yield call._replace(pieces=(piece._replace(wanted=wanted),))


def plan_to_hold(prompts: Sequence[Prompt], limits: Limits) -> tuple[list[Call], list[int]]:
    """Plan calls that read prompts and leave them all in memory; return with them each prompt's sequence.

    The caller sees to it that memory and sequences suffice.
    """
    walk = _Walk(prompts, [prompt.outputs for prompt in prompts], limits)
    return walk.held()


class _Walk:
    """The way through the tree of some prompts."""

    def __init__(self, prompts: Sequence[Prompt], outputs: Sequence[int], limits: Limits) -> None:
        self._prompts, self._limits = prompts, limits
        self._runs = [prompt.segments if limits.exact else prompt.merged for prompt in prompts]
        self._from = [len(prompt) - count for prompt, count in zip(prompts, outputs, strict=True)]
        self._root = tree(prompts, outputs, whole=limits.exact)

    def calls(self, *, keep: bool = False) -> Iterator[Call]:
        lead = common_lead(self._prompts) if keep and not self._limits.exact else 0
        at = lead if lead >= self._limits.call else 0
        ends = self._kept_ends(at)
        for start, end in zip([0, *ends], ends, strict=False):
            yield from self._read(self._root, start, end)
        yield from self._visit(self._root, at)

    def _kept_ends(self, lead: int) -> list[int]:
        """Return where the pieces end that a lead is read in, each at the end of a segment.

        A piece ends as soon as it is long enough, so the first ones are the same whatever segments follow.
        """
        ends, position = [0], 0
        for segment in self._prompts[0].segments:
            position += len(segment)
            if position < lead and position - ends[-1] >= _KEPT:
                ends.append(position)
        return [*ends[1:], lead]

    def held(self) -> tuple[list[Call], list[int]]:
        root, sequences = self._root, [0] * len(self._prompts)
        at = root.end if root.end >= self._limits.call or not root.children else 0
        calls = list(self._read(root, 0, at))
        if root.children:
            calls += self._pack(root, at, root.children)
            for sequence, leaf in enumerate(leaves(root), start=1):
                for number in leaf.below:
                    sequences[number] = sequence
        return calls, sequences

    def _visit(self, node: Node, at: int) -> Iterator[Call]:
        """Read a subtree; the trunk holds the way to it up to `at`."""
        groups = self._groups(node, at)
        if not groups or self._limits.exact or (len(groups) > 1 and node.end - at >= self._limits.call):
            yield from self._read(node, at, node.end)
            at = node.end
            groups = self._groups(node, at)
        for group in groups:
            if len(group) == 1 and (group[0].leaves == 1 or not self._short(group[0], at)):
                yield from self._visit(group[0], at)
            else:
                yield from self._pack(node, at, group)

    def _groups(self, node: Node, at: int) -> list[tuple[Node, ...]]:
        """Group a node's children as they are read: short ones together, others alone.

        A call has room for 10 positions, the node has 2 that are not on the trunk yet, and its children have 3, 4, 5
        and 2: the groups are (3, 4) and (5, 2). Each begins with the node's 2, so the first holds 2 + 3 + 4 = 9, the
        third child would not fit, and the second holds 2 + 5 + 2 = 9. Once the node is on the trunk the groups are
        the same, of 7 positions each.
        """
        limits, groups = self._limits, list[list[Node]]()
        room = min(limits.batch, limits.cells - at)
        size = branches = 0
        for child in node.children:
            short = self._short(child, at)
            size, branches = size + child.total, branches + child.leaves
            if not (groups and short and size <= room and branches < limits.sequences):
                groups.append([])
                # What lies between the trunk and the children is read before each group.
                size, branches = (node.end - at + child.total if short else room), child.leaves
            groups[-1].append(child)
        return [tuple(group) for group in groups]

    def _short(self, child: Node, at: int) -> bool:
        """Tell whether a subtree may be read together with others."""
        limits = self._limits
        most = 0 if limits.exact else min(limits.pack, limits.batch - (child.start - at), limits.cells - child.start)
        return child.total <= most and child.leaves < limits.sequences

    def _read(self, node: Node, start: int, end: int) -> Iterator[Call]:
        """Read positions of a node, or on the way to it, onto the trunk."""
        for piece in self._pieces(node.below, start, end, TRUNK):
            yield Call(piece.position, 0, (piece,))

    def _pack(self, node: Node, at: int, group: Sequence[Node]) -> Iterator[Call]:
        """Read some of a node's subtrees as branches of the trunk: in one call, or more where it must be."""
        branches, start, filled = sum(child.leaves for child in group), at, 0
        call, pieces = Call(start, branches, ()), list[Piece]()
        for piece in self._branches(node, at, group, 1):
            mixed = bool(pieces) and pieces[-1].segment.dtype != piece.segment.dtype
            if mixed or filled + len(piece.segment) > self._limits.batch:
                yield call._replace(pieces=tuple(pieces))
                call, pieces, filled = Call(None, 0, ()), [], 0
            pieces.append(piece)
            filled += len(piece.segment)
        yield call._replace(pieces=tuple(pieces))

    def _branches(self, node: Node, at: int, group: Sequence[Node], first: int) -> Iterator[Piece]:
        """Yield a node's positions from `at` on, then its subtrees', as branches numbered from `first` on."""
        below = tuple(number for child in group for number in child.below) if group else node.below
        count = sum(child.leaves for child in group) if group else 1
        yield from self._pieces(below, at, node.end, range(first, first + count))
        for child in group:
            yield from self._branches(child, child.start, child.children, first)
            first += child.leaves

    def _pieces(self, below: Sequence[int], start: int, end: int, sequences: range) -> Iterator[Piece]:
        """Cut positions that the prompts `below` share into pieces that a call can read."""
        position = 0
        for run in self._runs[below[0]]:
            last = min(end, position + len(run))
            for first in range(max(start, position), last, self._limits.batch):
                upto = min(first + self._limits.batch, last)
                wanted = tuple(self._wanted(number, first, upto) for number in below if upto > self._from[number])
                yield Piece(run[first - position : upto - position], first, sequences, wanted)
            position += len(run)

    def _wanted(self, number: int, first: int, upto: int) -> Wanted:
        begins = max(first, self._from[number])
        return Wanted(number, begins - self._from[number], begins - first, upto - begins)
