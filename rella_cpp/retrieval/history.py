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
from rella_cpp.retrieval.selection import Shown, window_start

Embed = Callable[[Sequence[Item]], npt.NDArray[np.float32]]
"""Gives items' vectors, float32 of shape (n, dim); `ItemVectors` is one."""


class HistoryRows:
    """A history, whose rows are numbered by time: 0 is the oldest behavior. A prompt is about one or more targets.

    For example, K = 2 of five behaviors, the target being nearest to rows 3, 0 and 4, in this order:

        retrieval="subr"     the prompt's rows are 0 and 3
        retrieval="recent"   rows 3 and 4
        order="time"         shown as 0, 3; "reversed": 3, 0; "similarity": 3, 0

    Of a stream, whose lines end in ratings, behaviors without one are left out, and the latest make a window:

        window="anchored"    rows 2 to 4 (from the second on, a multiple of K)
        window="sliding"     rows 3 and 4
        retrieval="both"     rows 0 and 1, the nearest of those before the window, then 2 to 4

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
    earlier
        How many rated behaviors of the user came before the first that is given; an anchored window counts them.

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
        earlier: int = 0,
    ) -> None:
        if any(len(items) > 1 for items in targets) and (shown.retrieval, shown.order) != ("recent", "time"):
            raise ValueError("a prompt about several targets shows the latest behaviors in the order of time")
        self.behaviors = [behavior for _, behavior in behaviors]
        self.places = [place for place, _ in behaviors]
        self.targets = targets
        self._shown, self._embed, self._earlier = shown, embed, earlier
        self._identities = [identity(behavior.item) for behavior in self.behaviors]
        self._own = [[identity(item) for item in items] for items in targets]

    def others(self, target: int) -> list[int]:
        """Return the rows of behaviors that are none of a prompt's targets, ascending."""
        own = self._own[target]
        return [row for row, known in enumerate(self._identities) if not any(map(known.same, own))]

    def unrated(self, target: int) -> int:
        """Count the behaviors that a stream leaves out because they have no rating."""
        return 0 if self._shown.window is None else len(self.others(target)) - len(self.lines(target))

    def lines(self, target: int) -> list[int]:
        """Return the rows that a prompt may show, ascending: of a stream those with a rating."""
        rows = self.others(target)
        if self._shown.window is None:
            return rows
        return [row for row in rows if self.behaviors[row].rating is not None]

    @cached_property
    def wanted(self) -> list[list[int]]:
        """For each prompt the rows of at most K behaviors that it shows where they fit, ascending."""
        return [sorted(self._wanted(target)) for target in range(len(self.targets))]

    def by_worth(self, target: int) -> list[int]:
        """Return the rows wanted, those first that a prompt keeps longest: the nearest, or the latest."""
        wanted = self.wanted[target]
        if self._shown.retrieval == "recent":
            return sorted(wanted, reverse=True)
        if self._shown.retrieval == "subr":
            return self._by_similarity(wanted, target)
        start = self._window_start
        latest, nearest_ones = ([row for row in wanted if (row >= start) == late] for late in (True, False))
        return [*sorted(latest, reverse=True), *self._by_similarity(nearest_ones, target)]

    def ordered(self, rows: Sequence[int], target: int, shared: Sequence[int] = ()) -> list[int]:
        """Bring rows into the prompt's order; `shared` has the rows wanted in the order of that name."""
        if self._shown.order == "similarity":
            return self._by_similarity(rows, target)
        if self._shown.order == "shared":
            kept = set(rows)
            return [row for row in shared if row in kept]
        return sorted(rows, reverse=self._shown.order == "reversed")

    def cosines(self, rows: Sequence[int], target: int) -> list[float | None]:
        """Return the cosine of each row's item to the target; None where that decides nothing that is shown."""
        if self._shown.retrieval == "recent" and self._shown.order in ("time", "reversed"):
            return [None] * len(rows)
        own = self._vectors[len(self.behaviors) + target]
        scale = np.linalg.norm(self._vectors[list(rows)], axis=1) * np.linalg.norm(own)
        found = self._vectors[list(rows)] @ own / np.maximum(scale, np.finfo(np.float32).tiny)
        return [float(cosine) for cosine in found]

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
        rows, k, retrieval = self.lines(target), self._shown.k, self._shown.retrieval
        if retrieval == "recent" and self._shown.window is None:
            return rows[max(0, len(rows) - k) :]
        latest: list[int] = []
        if retrieval != "subr":
            latest = [row for row in rows if row >= self._window_start]
            rows = [] if retrieval == "recent" else rows[: len(rows) - len(latest)]
        return latest + (rows if len(rows) <= k else self._by_similarity(rows, target)[:k])

    @cached_property
    def _window_start(self) -> int:
        """The row where the window begins: behind so many rated behaviors, the targets themselves counted."""
        k, window = self._shown.k, self._shown.window
        assert window is not None
        rated = [row for row, behavior in enumerate(self.behaviors) if behavior.rating is not None]
        start = window_start(self._earlier + len(rated), k, window) - self._earlier
        return rated[max(0, start)] if start < len(rated) else len(self.behaviors)

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
