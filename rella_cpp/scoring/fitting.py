"""A prompt that fits the context: behaviors are left out until it does; the target and the question never are."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rella_cpp.domains.records import Behavior, Item
from rella_cpp.errors import ContextError
from rella_cpp.retrieval.history import HistoryRows

Q = TypeVar("Q", bound=Sized)
"""A question; its length is what it takes of the context."""
Q_co = TypeVar("Q_co", bound=Sized, covariant=True)


class Writer(Protocol[Q_co]):
    """Writes one user's prompts; see `rella_cpp.prompts.writers`."""

    @property
    def n_ctx(self) -> int:
        """Tokens that a prompt may have."""

    def write(self, target: int, behaviors: Sequence[Behavior]) -> Q_co:
        """Write the prompt of that number, which shows these behaviors in this order."""

    def too_long(self, target: int, tokens: int) -> ContextError:
        """Say that the prompt of that number has so many tokens with no history, and does not fit."""


@dataclass(frozen=True, slots=True)
class FittedPrompt(Generic[Q]):
    """A question that fits, and the behaviors in it.

    `items` are the targets that it is about. `used` are the behaviors' 0-based places in the input, in prompt order;
    `dropped` counts those left out for the context's sake, `excluded` those that are a target itself, `unrated` those
    that a stream leaves out because they have no rating.
    """

    items: tuple[Item, ...]
    question: Q
    used: tuple[int, ...]
    dropped: int
    excluded: int
    unrated: int = 0

    @property
    def item(self) -> Item:
        """The first target: the only one, unless all are asked about together."""
        return self.items[0]


class PromptFitter(Generic[Q]):
    """Shows as many of the behaviors wanted as the context holds.

    Parameters
    ----------
    rows
        The history: which behaviors each prompt shows, and in which order.
    writer
        Writes the prompts.

    Raises
    ------
    ContextError
        A prompt does not fit even with no history.

    """

    def __init__(self, rows: HistoryRows, writer: Writer[Q]) -> None:
        self.rows, self._writer = rows, writer
        self._shortest = [self._with_no_history(target) for target in range(len(rows.targets))]

    def fit(self, shared: Sequence[Sequence[int]] | None = None) -> list[FittedPrompt[Q]]:
        """Write every prompt.

        Parameters
        ----------
        shared
            For each prompt the rows wanted in the order `shared`, which other histories decide, too; needed where the
            selection has that order.

        """
        orders = self.rows.wanted if shared is None else shared
        return [self._fit(target, order) for target, order in enumerate(orders)]

    def _fit(self, target: int, shared: Sequence[int]) -> FittedPrompt[Q]:
        rows, wanted = self.rows, self.rows.wanted[target]
        question, kept = self._write(wanted, target, shared), list(wanted)
        if not self._fits(question):
            kept, question = self._as_many_as_fit(target, shared)
        used = tuple(rows.places[row] for row in rows.ordered(kept, target, shared))
        excluded = len(rows.behaviors) - len(rows.others(target))
        dropped, unrated = len(wanted) - len(kept), rows.unrated(target)
        return FittedPrompt(tuple(rows.targets[target]), question, used, dropped, excluded, unrated)

    def _as_many_as_fit(self, target: int, shared: Sequence[int]) -> tuple[list[int], Q]:
        """Find the greatest number of behaviors whose prompt fits, by bisection; those of most worth are kept."""
        by_worth = self.rows.by_worth(target)
        fits, question, beyond = 0, self._shortest[target], len(by_worth)
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            longer = self._write(by_worth[:middle], target, shared)
            if self._fits(longer):
                fits, question = middle, longer
            else:
                beyond = middle
        return by_worth[:fits], question

    def _write(self, kept: Sequence[int], target: int, shared: Sequence[int]) -> Q:
        ordered = self.rows.ordered(kept, target, shared)
        return self._writer.write(target, [self.rows.behaviors[row] for row in ordered])

    def _fits(self, question: Q) -> bool:
        return len(question) <= self._writer.n_ctx

    def _with_no_history(self, target: int) -> Q:
        question = self._writer.write(target, [])
        if not self._fits(question):
            raise self._writer.too_long(target, len(question))
        return question
