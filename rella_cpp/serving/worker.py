"""A worker: requests in, results out, one line each, in order; what is wrong with a line is that line's result."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Protocol

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.stray_fields import unshown_fields, warn_of_behaviors, warn_of_items, warn_of_user
from rella_cpp.domains.stream import AVERAGE
from rella_cpp.errors import EngineError, InputError
from rella_cpp.retrieval.selection import Selection
from rella_cpp.scoring.results import LOW_ANSWER_MASS, Score, ranks, told_answers
from rella_cpp.serving.requests import LONGEST_LINE, Request, parse_line, placed_in_request, take_request
from rella_cpp.summarization.settings import SummarySettings

logger = logging.getLogger("rella_cpp")
_BOM = b"\xef\xbb\xbf"
_CLOSED = "the model is closed"  # the one failure that no later request can be free of


class Ranker(Protocol):
    """What the worker needs of a `Rella`."""

    @property
    def rank(self) -> Callable[..., list[Score]]:
        """Score items for a user, and keep what was read for the next request; see `Rella.rank`."""


def split_lines(chunks: Iterable[bytes], longest: int = LONGEST_LINE) -> Iterator[bytes]:
    """Cut a stream of bytes into lines, each as soon as its line break is there.

    Parameters
    ----------
    chunks
        The stream, in pieces of any size.
    longest
        Of a longer line, `longest` + 1 bytes are kept, by which it is known, and the rest is dropped as it comes.

    Yields
    ------
    Lines without their line break, blank ones too; what stands behind the last line break only if there is something.

    """
    held = bytearray()
    for chunk in chunks:
        *ends, start = chunk.split(b"\n")
        for end in ends:
            held += end[: longest + 1 - len(held)]
            yield bytes(held)
            held.clear()
        held += start[: longest + 1 - len(held)]
    if held:
        yield bytes(held)


def work(
    ranker: Ranker,
    lines: Iterable[bytes],
    domain: Domain,
    defaults: Selection | None = None,
    summary: SummarySettings | None = None,
    *,
    prompts: bool = False,
) -> Iterator[dict[str, object]]:
    """Answer requests: one result for each line that is not blank, in order, each before the next line is read.

    Parameters
    ----------
    ranker
        A `Rella`.
    lines
        Requests, see `take_request`. The first may begin with a byte order mark.
    domain
        The ranker's.
    defaults
        How histories are read unless a request says otherwise.
    summary
        Show a summary of every history in place of chosen behaviors; see `Rella.rank`.
    prompts
        Whether scores have the prompt's text, too.

    Yields
    ------
    JSON objects with the request's `id` and the number of its `line`, from 1 on; then `score` (of an `item`), or
    `scores` (of `items`, each with its rank), or `error`: its `message`, its `place` in the request or None, and its
    `kind`, `input` or `engine`.

    Raises
    ------
    EngineError
        The model was closed meanwhile.

    """
    reading = defaults or Selection(), summary
    for number, line in enumerate(lines, start=1):
        line = line.removeprefix(_BOM) if number == 1 else line
        if line.strip():
            yield _answer(ranker, line, number, domain, reading, prompts)


def _answer(
    ranker: Ranker,
    line: bytes,
    number: int,
    domain: Domain,
    reading: tuple[Selection, SummarySettings | None],
    prompts: bool,
) -> dict[str, object]:
    value = None
    try:
        value = parse_line(line)
        request = take_request(value, domain, *reading)
        _warn_of_unread(request, domain, number)
        found = _rank(ranker, request)
        _warn(request, found, domain, number)
        result = _result(request, found, prompts)
    except InputError as error:
        result = {"error": {"message": str(error), "place": error.place, "kind": "input"}}
    except EngineError as error:
        if str(error) == _CLOSED:
            raise
        result = {"error": {"message": str(error), "place": None, "kind": "engine"}}
    return {"id": value.get("id") if isinstance(value, dict) else None, "line": number, **result}


def _rank(ranker: Ranker, request: Request) -> list[Score]:
    query = request.query
    with placed_in_request(request.one):
        return ranker.rank(
            query.history, query.items, user=query.user, summary=query.summary, **asdict(query.selection)
        )


def _result(request: Request, scores: Sequence[Score], prompts: bool) -> dict[str, object]:
    rows = [score.as_dict() | ({"prompt": score.prompt} if prompts else {}) for score in scores]
    if request.one:
        (row,) = rows
        return {"score": row}
    return {"scores": [row | {"rank": rank} for row, rank in zip(rows, ranks(scores), strict=True)]}


def _warn_of_unread(request: Request, domain: Domain, number: int) -> None:
    """Say which fields are not read, though another was probably meant by them."""
    query, line = request.query, f"line {number}"
    past = [Behavior.of(behavior) for behavior in query.history]
    warn_of_behaviors(line, [f"history[{i}]" for i in range(len(past))], past, domain)
    places = ["item"] if request.one else [f"items[{i}]" for i in range(len(query.items))]
    warn_of_items(line, places, [Item.of(item) for item in query.items], domain)
    warn_of_user(line, "user", User.of(query.user), domain)


def _warn(request: Request, scores: Sequence[Score], domain: Domain, number: int) -> None:
    """Say what a reader of results would not see: fields that are not shown, answers in another form."""
    items = [*(Behavior.of(behavior).item for behavior in request.query.history), *(score.item for score in scores)]
    stream = scores[0].levels is not None
    unshown = unshown_fields(items, domain, long=request.query.summary is not None, stream=stream)
    if AVERAGE in unshown and domain.reads_averages:
        unshown.remove(AVERAGE)
        logger.warning("line %d: average is not shown; --layout stream shows it", number)
    if unshown:
        logger.warning("line %d: the domain %s does not show %s", number, domain.name, ", ".join(unshown[:8]))
    low = [score.answer_mass for score in scores if score.answer_mass < LOW_ANSWER_MASS and score.head is None]
    if low:
        logger.warning(
            "line %d: the model gives %s together only %.1f%% of its answer",
            *(number, told_answers(domain, scores[0]), 100 * min(low)),
        )
