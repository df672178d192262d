"""What an evaluation needs of a model: protocols that `Rella` meets, and asking several queries at once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from rella_cpp.errors import InputError
from rella_cpp.prompts.layout import Layout
from rella_cpp.scoring.query import ChoiceQuery, Query
from rella_cpp.scoring.results import Likelihood, Score

Q = TypeVar("Q")


R = TypeVar("R")


class Model(Protocol):
    """A model whose answers are written down."""

    def settings(self) -> Mapping[str, object]:
        """Return all that its answers depend on besides the request, as JSON."""


class ScoringModel(Model, Protocol):
    """A model that scores; `Rella` is one."""

    @property
    def judged_tokens(self) -> tuple[int, int]:
        """Prompt tokens of the scores so far, and decoded tokens."""

    def judge(self, queries: Sequence[Query]) -> list[list[Score]]:
        """Score the targets of queries."""


class ChoosingModel(Model, Protocol):
    """A model that chooses among candidates by likelihood; `Rella` is one."""

    def likelihoods(self, queries: Sequence[ChoiceQuery]) -> list[list[Likelihood]]:
        """Say how likely each of a query's candidates comes next."""


def check_layout(judge: Model | None, layout: Layout) -> None:
    """Refuse settings of one layout for a model that was loaded with another.

    Raises
    ------
    InputError
        They are.

    """
    own = layout if judge is None else judge.settings().get("layout", "question")
    if own != layout:
        raise InputError(
            f"the settings are of the layout {layout}, the model's is {own}", remedy="give both one layout"
        )


def ask_together(ask: Callable[[Sequence[Q]], list[list[R]]], queries: Mapping[str, Q], source: Path) -> list[list[R]]:
    """Ask a model queries together; their names stand in messages.

    Raises
    ------
    InputError
        One cannot be answered: it is named.

    """
    try:
        return ask(list(queries.values()))
    except InputError as refused:
        for name, query in queries.items():
            try:  # which one was it? Nothing was answered yet
                ask([query])
            except InputError as error:
                place = f"{name}, {error.place}" if error.place else name
                raise type(error)(
                    error.finding, source=error.source or source, place=place, remedy=error.remedy
                ) from None
        raise refused
