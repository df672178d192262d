"""Reading a history for some targets: which behaviors each prompt shows, so that it fits the context."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rella_cpp.domains import Identity
from rella_cpp.errors import ContextError
from rella_cpp.records import Behavior, Item
from rella_cpp.retrieval import Selection, nearest
from rella_cpp.scoring import Question


@dataclass(frozen=True, slots=True)
class Choice:
    """One target's question, and the behaviors in it.

    `used` are their 0-based places in the input, in prompt order; `dropped` counts those left out for the context's
    sake, `excluded` those that are the target itself.
    """

    item: Item
    question: Question
    used: tuple[int, ...]
    dropped: int
    excluded: int


class Reading:
    """One user's history, read for several targets.

    Parameters
    ----------
    behaviors
        The history, oldest first, each behavior with its 0-based place in the input.
    items
        The targets.
    selection
        Which behaviors to show, and how.
    ask
        Makes a question of behaviors in prompt order and a target.
    embed
        Gives items' vectors, float32 of shape (n, n_embd); called once at most, and only if a choice needs it.
    identity
        Tells an item from others.
    n_ctx
        Tokens that a prompt may have.

    """

    def __init__(
        self,
        behaviors: Sequence[tuple[int, Behavior]],
        items: Sequence[Item],
        selection: Selection,
        *,
        ask: Callable[[Sequence[Behavior], Item], Question],
        embed: Callable[[Sequence[Item]], npt.NDArray[np.float32]],
        identity: Callable[[Item], Identity],
        n_ctx: int,
    ) -> None:
        self._behaviors = [behavior for _, behavior in behaviors]
        self._places = [place for place, _ in behaviors]
        self._items, self._selection = items, selection
        self._make_question, self._embed, self._n_ctx = ask, embed, n_ctx
        self._identities = [identity(behavior.item) for behavior in self._behaviors]
        self._targets = [identity(item) for item in items]

    def choices(self) -> list[Choice]:
        """Choose for every target.

        Raises
        ------
        ContextError
            A target does not fit even with no history; found before anything is computed.

        """
        shortest = [self._shortest(target) for target in range(len(self._items))]
        return [self._choose(target, question) for target, question in enumerate(shortest)]

    def _shortest(self, target: int) -> Question:
        """Ask with no history; refuse where even that does not fit: the target and the question are never cut."""
        question = self._ask([], target)
        if not self._fits(question):
            raise ContextError(
                f"a prompt of {len(question.tokens)} tokens with no history does not fit the context of {self._n_ctx}",
                place=f"item[{target}]",
                remedy="raise --ctx, or shorten the item",
            )
        return question

    def _choose(self, target: int, shortest: Question) -> Choice:
        """Choose at most K behaviors, as many of them as the context holds. Rows are numbered by time."""
        item, k = self._items[target], self._selection.k
        recent = self._selection.retrieval == "recent"
        rows = [row for row, known in enumerate(self._identities) if not known.same(self._targets[target])]
        excluded = len(self._behaviors) - len(rows)

        wanted = rows[-k:] if recent else rows
        if len(wanted) > k:
            wanted = self._by_similarity(wanted, target)[:k]
        question, kept = self._ask(wanted, target), len(wanted)
        if not self._fits(question):
            wanted = sorted(wanted, reverse=True) if recent else self._by_similarity(wanted, target)
            kept, question = self._as_many_as_fit(wanted, target, shortest)
        used = tuple(self._places[row] for row in self._ordered(wanted[:kept], target))
        return Choice(item, question, used, len(wanted) - kept, excluded)

    def _as_many_as_fit(self, wanted: list[int], target: int, shortest: Question) -> tuple[int, Question]:
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

    def _fits(self, question: Question) -> bool:
        return len(question.tokens) <= self._n_ctx

    def _ask(self, rows: Sequence[int], target: int) -> Question:
        shown = [self._behaviors[row] for row in self._ordered(rows, target)]
        return self._make_question(shown, self._items[target])

    def _ordered(self, rows: Sequence[int], target: int) -> list[int]:
        """Bring rows into the prompt's order."""
        if self._selection.order == "similarity":
            return self._by_similarity(rows, target)
        return sorted(rows, reverse=self._selection.order == "reversed")

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
        return self._embed([*(behavior.item for behavior in self._behaviors), *self._items])
