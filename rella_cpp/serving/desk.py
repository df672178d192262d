"""Takes requests at any time, from any thread, and answers those that wait together."""

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from rella_cpp.errors import EngineError, InputError
from rella_cpp.scoring.results import Score
from rella_cpp.serving.notices import noticed
from rella_cpp.serving.requests import Request
from rella_cpp.serving.scheduler import Busy, Closed, DeadlineError, Scheduler, Ticket
from rella_cpp.serving.service import Service

logger = logging.getLogger("rella_cpp")
Answer = dict[str, Any]


def error_of(error: BaseException) -> Answer:
    """Return what a request ended with as the error of its answer: `message`, `place` in the request, and `kind`.

    A kind is `input`, `engine`, `deadline`, `cancelled`, `busy` or `closed`. What is none of these is a fault of the
    program: it is logged, and an `engine` error to whoever asked.
    """
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (InputError, "input"),
        (DeadlineError, "deadline"),
        (Busy, "busy"),
        (Closed, "closed"),
        (EngineError, "engine"),
    )
    if isinstance(error, CancelledError):
        return {"message": "cancelled before all of it was read", "place": None, "kind": "cancelled"}
    for kind, name in kinds:
        if isinstance(error, kind):
            return {"message": str(error), "place": getattr(error, "place", None), "kind": name}
    logger.error("a fault of the program: %r", error)
    return {"message": "a fault of the program", "place": None, "kind": "engine"}


class Desk:
    """Takes requests and hands them to a scheduler: plain scores together, what else they want in its turn.

    Parameters
    ----------
    service
        Says what a request is, and its answer.
    scheduler
        Has the model.
    exact
        Whether the model reads exactly, which every answer says: if not, what is read together changes last bits.

    """

    def __init__(self, service: Service, scheduler: Scheduler, *, exact: bool) -> None:
        self.service, self.scheduler, self._exact = service, scheduler, exact

    def take(self, request: Request, place: str) -> Ticket[Answer]:
        """Take a request; `place` is how warnings call it.

        Raises
        ------
        Busy, Closed
            See `Scheduler.score`.

        """
        notices: list[str] = []
        with noticed(notices):
            self.service.warn_of_unread(request, place)
        seconds = request.wanted.deadline

        def answer() -> Answer:
            with noticed(notices):
                return self.service.answer(request, place)

        def scored(scores: list[Score]) -> Answer:
            with noticed(notices):
                return self.service.scored(request, scores, place)

        if not request.wanted.plain or request.query.summary is not None:
            return self._answered(self.scheduler.call(answer, seconds=seconds), dict, notices)
        return self._answered(self.scheduler.score(request.query, seconds=seconds), scored, notices, one=request.one)

    def _answered(
        self, ticket: Ticket[Any], answer: Callable[[Any], Answer], notices: list[str], *, one: bool | None = None
    ) -> Ticket[Answer]:
        """Return a ticket for the answer that is made of a ticket's result."""
        made: Ticket[Answer] = ticket.followed()

        def finish(done: "Future[Any]") -> None:
            try:
                found = answer(done.result()) | {"exact": self._exact}
                made.future.set_result(found | ({"warnings": notices} if notices else {}))
            except InputError as error:
                made.future.set_exception(error if one is None else _placed(error, one))
            except BaseException as error:
                made.future.set_exception(error)

        ticket.future.add_done_callback(finish)
        return made


def _placed(error: InputError, one: bool) -> InputError:
    """Say of a refused item where it stands in the request, which may have `item` (`one`) or `items`."""
    from rella_cpp.serving.requests import placed_in_request

    try:
        with placed_in_request(one):
            raise error
    except InputError as placed:
        return placed
