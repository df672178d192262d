"""What requests are answered with: one at a time, or those that wait together."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.stray_fields import unshown_fields, warn_of_behaviors, warn_of_items, warn_of_user
from rella_cpp.domains.stream import AVERAGE
from rella_cpp.errors import InputError
from rella_cpp.retrieval.selection import Selection
from rella_cpp.scoring.results import LOW_ANSWER_MASS, Likelihood, Score, ranks, told_answers
from rella_cpp.serving.requests import Request, placed_in_request, take_request
from rella_cpp.summarization.settings import SummarySettings

if TYPE_CHECKING:  # a worker that answers one at a time needs neither
    from rella_cpp.prompts.layout import Layout
    from rella_cpp.recommender.candidates import Recommendation
    from rella_cpp.scoring.explanation import Explanation

logger = logging.getLogger("rella_cpp")
LONGEST_HISTORY = 5000
"""Behaviors that a request to a server may have."""


class Ranker(Protocol):
    """What answers need of a `Rella`."""

    @property
    def rank(self) -> Callable[..., list[Score]]:
        """Score items for a user, and keep what was read for the next request; see `Rella.rank`."""


class Recommender(Ranker, Protocol):
    """What answers to all kinds of requests need of a `Rella`."""

    contrast: bool

    @property
    def explain(self) -> "Callable[..., list[Explanation]]":
        """See `Rella.explain`."""

    @property
    def choose(self) -> Callable[..., list[Likelihood]]:
        """See `Rella.choose`."""

    @property
    def recommend(self) -> "Callable[..., list[Recommendation[Score]]]":
        """See `Rella.recommend`."""

    @property
    def recommend_next(self) -> "Callable[..., list[Recommendation[Likelihood]]]":
        """See `Rella.recommend_next`."""


class Service:
    """Answers requests with a loaded model.

    Parameters
    ----------
    ranker
        A `Rella`.
    domain
        The ranker's.
    defaults
        How histories are read unless a request says otherwise.
    summary
        Show a summary of every history in place of chosen behaviors; see `Rella.rank`.
    layout
        The ranker's, which requests may name; None: it is not looked at.
    prompts
        Whether scores have the prompt's text, too.
    longest
        Behaviors that a request may have; None: any number. To check and to choose among many holds up other requests.

    """

    def __init__(
        self,
        ranker: Ranker,
        domain: Domain,
        defaults: Selection | None = None,
        summary: SummarySettings | None = None,
        *,
        layout: "Layout | None" = None,
        prompts: bool = False,
        longest: int | None = None,
    ) -> None:
        self.ranker, self.domain, self.layout, self._longest = ranker, domain, layout, longest
        self._defaults, self._summary, self._prompts = defaults or Selection(), summary, prompts

    def request(self, value: object) -> Request:
        """Check a request, a JSON value; see `take_request`."""
        history = value.get("history") if isinstance(value, dict) else None
        if self._longest is not None and isinstance(history, list) and len(history) > self._longest:
            finding = f"has {len(history):,} behaviors"
            raise InputError(finding, place="history", remedy=f"send the latest {self._longest:,}")
        return take_request(value, self.domain, self._defaults, self._summary, self.layout)

    def answer(self, request: Request, place: str) -> dict[str, Any]:
        """Answer a request: `score`, `scores` or `recommendations`. `place` is how warnings call it.

        Raises
        ------
        InputError, EngineError
            As `Rella` does; an input's place is that in the request.

        """
        if request.wanted.plain:
            with placed_in_request(request.one):
                return self.scored(request, self.ranker.rank(*_of(request), **_reading(request)), place)
        with placed_in_request(request.one), _contrast(self.ranker, request.wanted.contrast) as ranker:
            return self._answer_otherwise(ranker, request, place)

    def scored(self, request: Request, scores: Sequence[Score], place: str) -> dict[str, Any]:
        """Return the answer to a request that wants scores alone, and warn of what a reader would not see."""
        self._warn(request, scores, place)
        return _ranked(request, scores, [self._row(score) for score in scores])

    def _answer_otherwise(self, ranker: Recommender, request: Request, place: str) -> dict[str, Any]:
        wanted, reading = request.wanted, _reading(request)
        likelihood = {"user": request.query.user, "k": request.query.selection.k}
        if wanted.recommend is not None:
            past, count = request.query.history, {"candidates": wanted.candidates}
            if wanted.by == "likelihood":
                rows: Sequence[Any] = ranker.recommend_next(past, wanted.recommend, **count, **likelihood)
                return {"recommendations": _numbered(rows)}
            found = ranker.recommend(past, wanted.recommend, **count, **reading)
            if not wanted.why:
                return {"recommendations": _numbered(found)}
            reasons = ranker.explain(past, [each.score.item for each in found], **reading)
            return {"recommendations": [row | _why(why) for row, why in zip(_numbered(found), reasons, strict=True)]}
        if wanted.by == "likelihood":
            chosen = ranker.choose(*_of(request), **likelihood)
            return _ranked(request, chosen, [each.as_dict() for each in chosen])
        if not wanted.why:
            return self.scored(request, ranker.rank(*_of(request), **reading), place)
        reasons = ranker.explain(*_of(request), **reading)
        scores = [each.score for each in reasons]
        self._warn(request, scores, place)
        return _ranked(request, scores, [self._row(each.score) | _why(each) for each in reasons])

    def _row(self, score: Score) -> dict[str, Any]:
        return score.as_dict() | ({"prompt": score.prompt} if self._prompts else {})

    def warn_of_unread(self, request: Request, place: str) -> None:
        """Say which fields are not read, though another was probably meant by them."""
        query, domain = request.query, self.domain
        past = [Behavior.of(behavior) for behavior in query.history]
        warn_of_behaviors(place, [f"history[{i}]" for i in range(len(past))], past, domain)
        places = ["item"] if request.one else [f"items[{i}]" for i in range(len(query.items))]
        warn_of_items(place, places, [Item.of(item) for item in query.items], domain)
        warn_of_user(place, "user", User.of(query.user), domain)

    def _warn(self, request: Request, scores: Sequence[Score], place: str) -> None:
        """Say what a reader of results would not see: fields that are not shown, answers in another form."""
        domain = self.domain
        items = [*(Behavior.of(behavior).item for behavior in request.query.history), *(score.item for score in scores)]
        stream = scores[0].levels is not None
        unshown = unshown_fields(items, domain, long=request.query.summary is not None, stream=stream)
        if AVERAGE in unshown and domain.reads_averages:
            unshown.remove(AVERAGE)
            logger.warning("%s: average is not shown; --layout stream shows it", place)
        if unshown:
            logger.warning("%s: the domain %s does not show %s", place, domain.name, ", ".join(unshown[:8]))
        low = [score.answer_mass for score in scores if score.answer_mass < LOW_ANSWER_MASS and score.head is None]
        if low:
            logger.warning(
                "%s: the model gives %s together only %.1f%% of its answer",
                *(place, told_answers(domain, scores[0]), 100 * min(low)),
            )


@contextmanager
def _contrast(ranker: Any, wanted: bool | None) -> Iterator[Recommender]:
    """Let a request have its own contrast; the next one has the worker's again."""
    if wanted is None:
        yield ranker
        return
    before, ranker.contrast = ranker.contrast, wanted
    try:
        yield ranker
    finally:
        ranker.contrast = before


def _of(request: Request) -> tuple[Any, Any]:
    return request.query.history, request.query.items


def _reading(request: Request) -> dict[str, Any]:
    query = request.query
    return {"user": query.user, "summary": query.summary, **asdict(query.selection)}


def _ranked(
    request: Request, found: Sequence[Score] | Sequence[Likelihood], rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    if request.one:
        (row,) = rows
        return {"score": row}
    return {"scores": [row | {"rank": rank} for row, rank in zip(rows, ranks(found), strict=True)]}


def _numbered(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [each.as_dict() | {"rank": rank} for rank, each in enumerate(found, 1)]


def _why(reason: "Explanation") -> dict[str, Any]:
    return {"why": reason.as_dict()}
