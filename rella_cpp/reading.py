"""Reading a history for some targets: which behaviors each prompt shows, so that it fits the context."""

from collections import Counter
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.domain import Identity
from rella_cpp.domains.records import Behavior, Item
from rella_cpp.errors import ContextError
from rella_cpp.prompts.lengths import LongItem
from rella_cpp.retrieval.nearest import nearest
from rella_cpp.retrieval.selection import Shown

Q = TypeVar("Q", bound=Sized)
"""A question; its length is what it takes of the context."""


@dataclass(frozen=True, slots=True)
class Choice(Generic[Q]):
    """One question, and the behaviors in it.

    `items` are the targets that it is about. `used` are the behaviors' 0-based places in the input, in prompt order;
    `dropped` counts those left out for the context's sake, `excluded` those that are a target itself.
    """

    items: tuple[Item, ...]
    question: Q
    used: tuple[int, ...]
    dropped: int
    excluded: int

    @property
    def item(self) -> Item:
        """The first target: the only one, unless all are asked about together."""
        return self.items[0]


class Reading(Generic[Q]):
    """One user's history, read for several targets: a question about each of them, or one about all.

    Parameters
    ----------
    behaviors
        The history, oldest first, each behavior with its 0-based place in the input.
    items
        The targets.
    shown
        Which behaviors to show, and how.
    ask
        Makes a question of behaviors in prompt order and a target, by its number; together, number 0 stands for all.
    embed
        Gives items' vectors, float32 of shape (n, n_embd); called once at most, and only if a choice needs it.
    identity
        Tells an item from others.
    n_ctx
        Tokens that a question may have.
    told
        Says of a target what makes a question of so many tokens long; empty where nothing of it does.
    together
        Ask one question about all targets. Then `shown` must be the latest in the order of time: nothing is near to
        all of them.

    """

    def __init__(
        self,
        behaviors: Sequence[tuple[int, Behavior]],
        items: Sequence[Item],
        shown: Shown,
        *,
        ask: Callable[[Sequence[Behavior], int], Q],
        embed: Callable[[Sequence[Item]], npt.NDArray[np.float32]],
        identity: Callable[[Item], Identity],
        n_ctx: int,
        told: Callable[[Item, int], str] = lambda _item, _tokens: "",
        together: bool = False,
    ) -> None:
        if together and (shown.retrieval, shown.order) != ("recent", "time"):
            raise ValueError("one question about several targets shows the latest behaviors in the order of time")
        self._behaviors = [behavior for _, behavior in behaviors]
        self._places = [place for place, _ in behaviors]
        self._items, self._shown = items, shown
        self._make_question, self._embed, self._n_ctx, self._told = ask, embed, n_ctx, told
        self._together = together
        self._identities = [identity(behavior.item) for behavior in self._behaviors]
        targets = [identity(item) for item in items]
        self._targets = [targets] if together else [[target] for target in targets]
        self._about = [tuple(items)] if together else [(item,) for item in items]
        self._shortest: list[Q] = []
        self._orders: Sequence[Sequence[int]] = []

    @property
    def behaviors(self) -> list[Behavior]:
        """The history, oldest first."""
        return self._behaviors

    @property
    def places(self) -> list[int]:
        """The behaviors' 0-based places in the input."""
        return self._places

    def names(self) -> list[tuple[str, int]]:
        """Return what tells a behavior from others in a prompt; of those alike, which one it is."""
        seen: Counter[str] = Counter()
        names = []
        for behavior in self._behaviors:
            text = repr((behavior.item, behavior.rating))
            names.append((text, seen[text]))
            seen[text] += 1
        return names

    def check(self) -> None:
        """Refuse targets that do not fit even with no history.

        Raises
        ------
        ContextError
            One does not.

        """
        for target in range(len(self._targets)):
            self._ask_shortest(target)

    @cached_property
    def wanted(self) -> list[list[int]]:
        """For each target the rows that its prompt shows where they fit, ascending: rows are numbered by time.

        Raises
        ------
        ContextError
            A target does not fit even with no history; found before anything is computed.

        """
        self._shortest = [self._ask_shortest(target) for target in range(len(self._targets))]
        return [sorted(self._wanted(target)) for target in range(len(self._targets))]

    def choices(self, orders: Sequence[Sequence[int]] | None = None) -> list[Choice[Q]]:
        """Choose for every target.

        Parameters
        ----------
        orders
            For each target the rows of `wanted` in the order to show them; needed where the selection's order is
            `shared`, which looks at other readings too.

        Raises
        ------
        ContextError
            See `wanted`.

        """
        self._orders = self.wanted if orders is None else orders
        return [self._choose(target, rows) for target, rows in enumerate(self.wanted)]

    def _ask_shortest(self, target: int) -> Q:
        """Ask with no history; refuse where even that does not fit: the target and the question are never cut."""
        question = self._ask([], target)
        if not self._fits(question):
            raise self._too_long(target, len(question))
        return question

    def _too_long(self, target: int, tokens: int) -> ContextError:
        finding = f"a prompt of {tokens} tokens with no history does not fit the context of {self._n_ctx}"
        for number in range(len(self._items)) if self._together else (target,):
            if told := self._told(self._items[number], min(tokens, self._n_ctx)):
                finding, remedy = f"{told}: {finding}", "shorten it, or raise --ctx"
                return ContextError(finding, place=f"item[{number}]", remedy=remedy)
        place = None if self._together else f"item[{target}]"
        return ContextError(finding, place=place, remedy="raise --ctx, or shorten the item")

    def others(self, target: int) -> list[int]:
        """Return the rows of behaviors that are not a target itself."""
        own = self._targets[target]
        return [row for row, known in enumerate(self._identities) if not any(map(known.same, own))]

    def _wanted(self, target: int) -> list[int]:
        """Choose at most K behaviors."""
        rows, k = self.others(target), self._shown.k
        if self._shown.retrieval == "recent":
            return rows[max(0, len(rows) - k) :]
        return rows if len(rows) <= k else self._by_similarity(rows, target)[:k]

    def _choose(self, target: int, wanted: list[int]) -> Choice[Q]:
        """Show as many of the behaviors wanted as the context holds."""
        question, kept = self._ask(wanted, target), len(wanted)
        if not self._fits(question):
            recent = self._shown.retrieval == "recent"
            wanted = sorted(wanted, reverse=True) if recent else self._by_similarity(wanted, target)
            kept, question = self._as_many_as_fit(wanted, target, self._shortest[target])
        used = tuple(self._places[row] for row in self._ordered(wanted[:kept], target))
        excluded = len(self._behaviors) - len(self.others(target))
        return Choice(self._about[target], question, used, len(wanted) - kept, excluded)

    def _as_many_as_fit(self, wanted: list[int], target: int, shortest: Q) -> tuple[int, Q]:
        """Find the greatest number of leading rows whose prompt fits, by bisection."""
        fits, question, beyond = 0, shortest, len(wanted)
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            longer = self._ask(wanted[:middle], target)
            if self._fits(longer):
                fits, question = middle, longer
            else:
                beyond = middle
        return fits, question

    def _fits(self, question: Q) -> bool:
        return len(question) <= self._n_ctx

    def _ask(self, rows: Sequence[int], target: int) -> Q:
        return self._make_question([self._behaviors[row] for row in self._ordered(rows, target)], target)

    def _ordered(self, rows: Sequence[int], target: int) -> list[int]:
        """Bring rows into the prompt's order."""
        if self._shown.order == "similarity":
            return self._by_similarity(rows, target)
        if self._shown.order == "shared":
            kept = set(rows)
            return [row for row in (self._orders[target] if rows else ()) if row in kept]
        return sorted(rows, reverse=self._shown.order == "reversed")

    def _by_similarity(self, rows: Sequence[int], target: int) -> list[int]:
        """Bring rows into the order of their cosine to the target, greatest first."""
        rows = sorted(rows)  # ties go to the later row, whatever order they came in
        if not rows:
            return []
        found, _ = nearest(self._vectors[list(rows)], self._vectors[len(self._behaviors) + target], len(rows))
        return [rows[i] for i in found]

    @cached_property
    def _vectors(self) -> npt.NDArray[np.float32]:
        """Vectors of all behaviors, then of all targets."""
        try:
            return self._embed([*(behavior.item for behavior in self._behaviors), *self._items])
        except LongItem as error:
            target = error.number - len(self._behaviors)
            place = f"item[{target}]" if target >= 0 else f"history[{self._places[error.number]}]"
            raise error.at(place) from None
