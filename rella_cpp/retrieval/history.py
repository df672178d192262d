"""Which behaviors of one user's history a prompt shows, and in which order: rows of the history in, rows out."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.domain import Identity
from rella_cpp.domains.records import Behavior, Item
from rella_cpp.prompts.lengths import LongItem
from rella_cpp.retrieval.nearest import nearest
from rella_cpp.retrieval.selection import Shown

Embed = Callable[[Sequence[Item]], npt.NDArray[np.float32]]
"""Gives items' vectors, float32 of shape (n, dim); `ItemVectors` is one."""


class HistoryRows:
    """A history, whose rows are numbered by time: 0 is the oldest behavior. A prompt is about one or more targets.

    For example, K = 2 of five behaviors, the target being nearest to rows 3, 0 and 4, in this order:

        retrieval="subr"     the prompt's rows are 0 and 3
        retrieval="recent"   rows 3 and 4
        order="time"         shown as 0, 3; "reversed": 3, 0; "similarity": 3, 0

    Parameters
    ----------
    behaviors
        The history, oldest first, each behavior with its 0-based place in the input.
    targets
        For each prompt the items that it is about. Behaviors that are one of them are not shown.
    shown
        Which behaviors to show. Of a prompt about several items these are the latest, in the order of time: no behavior
        is near to all of them.
    identity
        Tells an item from others.
    embed
        Gives vectors; called once at most, and only if a prompt's rows depend on them.

    Attributes
    ----------
    behaviors
        The history, oldest first.
    places
        The behaviors' 0-based places in the input.
    targets
        As given.

    Raises
    ------
    ValueError
        A prompt is about several items, and does not show the latest behaviors in the order of time.

    """

    def __init__(
        self,
        behaviors: Sequence[tuple[int, Behavior]],
        targets: Sequence[Sequence[Item]],
        shown: Shown,
        identity: Callable[[Item], Identity],
        embed: Embed,
    ) -> None:
        if any(len(items) > 1 for items in targets) and (shown.retrieval, shown.order) != ("recent", "time"):
            raise ValueError("a prompt about several targets shows the latest behaviors in the order of time")
        self.behaviors = [behavior for _, behavior in behaviors]
        self.places = [place for place, _ in behaviors]
        self.targets = targets
        self._shown, self._embed = shown, embed
        self._identities = [identity(behavior.item) for behavior in self.behaviors]
        self._own = [[identity(item) for item in items] for items in targets]

    def others(self, target: int) -> list[int]:
        """Return the rows of behaviors that are none of a prompt's targets, ascending."""
        own = self._own[target]
        return [row for row, known in enumerate(self._identities) if not any(map(known.same, own))]

    @cached_property
    def wanted(self) -> list[list[int]]:
        """For each prompt the rows of at most K behaviors that it shows where they fit, ascending."""
        return [sorted(self._wanted(target)) for target in range(len(self.targets))]

    def by_worth(self, target: int) -> list[int]:
        """Return the rows wanted, those first that a prompt keeps longest: the nearest, or the latest."""
        wanted = self.wanted[target]
        recent = self._shown.retrieval == "recent"
        return sorted(wanted, reverse=True) if recent else self._by_similarity(wanted, target)

    def ordered(self, rows: Sequence[int], target: int, shared: Sequence[int] = ()) -> list[int]:
        """Bring rows into the prompt's order; `shared` has the rows wanted in the order of that name."""
        if self._shown.order == "similarity":
            return self._by_similarity(rows, target)
        if self._shown.order == "shared":
            kept = set(rows)
            return [row for row in shared if row in kept]
        return sorted(rows, reverse=self._shown.order == "reversed")

    def names(self) -> list[tuple[str, int]]:
        """Return what tells each behavior from others in a prompt; of those alike, which one it is."""
        seen: Counter[str] = Counter()
        names = []
        for behavior in self.behaviors:
            text = repr((behavior.item, behavior.rating))
            names.append((text, seen[text]))
            seen[text] += 1
        return names

    def _wanted(self, target: int) -> list[int]:
        rows, k = self.others(target), self._shown.k
        if self._shown.retrieval == "recent":
            return rows[max(0, len(rows) - k) :]
        return rows if len(rows) <= k else self._by_similarity(rows, target)[:k]

    def _by_similarity(self, rows: Sequence[int], target: int) -> list[int]:
        """Bring rows into the order of their cosine to the target, greatest first."""
        rows = sorted(rows)  # ties go to the later row, whatever order they came in
        if not rows:
            return []
        found, _ = nearest(self._vectors[list(rows)], self._vectors[len(self.behaviors) + target], len(rows))
        return [rows[i] for i in found]

    @cached_property
    def _vectors(self) -> npt.NDArray[np.float32]:
        """Vectors of all behaviors, then of all targets."""
        targets = [item for items in self.targets for item in items]
        try:
            return self._embed([*(behavior.item for behavior in self.behaviors), *targets])
        except LongItem as error:
            target = error.number - len(self.behaviors)
            place = f"item[{target}]" if target >= 0 else f"history[{self.places[error.number]}]"
            raise error.at(place) from None
