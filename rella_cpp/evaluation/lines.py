"""What evaluations share: the model that scores, and how its scores and the settings stand in a run's files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rella_cpp.errors import InputError
from rella_cpp.retrieval.samples import Histories
from rella_cpp.scoring.query import ChoiceQuery, Query
from rella_cpp.scoring.results import Likelihood, Score
from rella_cpp.storage.versions import library_versions

Q = TypeVar("Q")
R = TypeVar("R")


class Model(Protocol):
    """A model whose answers are written down."""

    def settings(self) -> Mapping[str, object]:
        """Return all that its answers depend on besides the request, as JSON."""


class ScoringModel(Model, Protocol):
    """A model that scores; `Rella` is one."""

    def judge(self, queries: Sequence[Query]) -> list[list[Score]]:
        """Score the targets of queries."""


class ChoosingModel(Model, Protocol):
    """A model that chooses among candidates by likelihood; `Rella` is one."""

    def likelihoods(self, queries: Sequence[ChoiceQuery]) -> list[list[Likelihood]]:
        """Say how likely each of a query's candidates comes next."""


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


def as_line(score: Score | Likelihood, positions: Sequence[int]) -> dict[str, Any]:
    """Return a score as a part of a prediction's line; `positions` are those of the behaviors that were given."""
    if isinstance(score, Likelihood):
        names, extras = ("log_probability", "per_token", "tokens", "share"), dict[str, object]()
    else:
        names, extras = ("probability", "yes_logit", "no_logit", "answer_mass"), score.extras()
    return {
        **{name: getattr(score, name) for name in names},
        "prompt_tokens": score.prompt_tokens,
        "used": [positions[place] for place in score.used],
        "dropped": score.dropped,
        **extras,
    }


def run_settings(
    histories: Histories,
    samples: Mapping[str, object],
    reading: Mapping[str, object],
    judge: Model | None,
) -> dict[str, object]:
    """Return all that a run's predictions depend on, as JSON."""
    data, index = histories.data, histories.vectors
    return {
        "format": 1,
        "data": data.identity,
        "samples": dict(samples),
        "reading": dict(reading),
        "index": None if index is None else index.identity,
        "judge": None if judge is None else dict(judge.settings()),
        "versions": library_versions(),
    }
