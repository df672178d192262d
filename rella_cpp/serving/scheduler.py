"""Requests that wait are planned together: turns of limited size, so that a large request holds up no small one.

One thread has the model. A turn takes prompts of the waiting requests in the order of their arrival, a few of each in
rounds, until their tokens come to the budget; a request with more items goes on in the next turn, beside what has come
meanwhile. What has not been planned can be cancelled, and is dropped at its deadline; what llama.cpp decodes is not
interrupted.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

from rella_cpp.errors import EngineError, InputError, RellaError
from rella_cpp.scoring.query import Query
from rella_cpp.scoring.results import Score

_BUDGET = 4096
"""Tokens of a turn: about half a minute of a small model on one core, a second or two of a laptop."""
_ROUND = 32
"""Items that a request puts into a turn before the next one has its turn: to cut a smaller one would read its history
twice."""
_GUESS = 256
"""Tokens of a prompt, before any was read."""
_SMOOTHING = 0.2

_ITEM = re.compile(r"item\[(\d+)\](.*)")

Result = TypeVar("Result")


class Busy(RellaError):
    """So many requests wait that another one is refused."""


class Closed(EngineError):
    """Nothing is taken any more."""


class DeadlineError(RellaError):
    """A request waited longer than it was willing to."""


class Judge(Protocol):
    """What scores the targets of queries: one list a query, in input order; `Rella.judge` does."""

    def __call__(self, queries: Sequence[Query], *, keep: bool) -> list[list[Score]]:
        """Score."""


class Ticket(Generic[Result]):
    """A request that was taken.

    Attributes
    ----------
    future
        Its result, or what it ended with: `DeadlineError`, `CancelledError`, or what scoring raises.
    deadline
        When it gives up, by the scheduler's clock; None: never.

    """

    def __init__(self, deadline: float | None = None) -> None:
        self.future: Future[Result] = Future()
        self.deadline = deadline
        self.cancelled = self._planned = False
        self._before: Ticket[Any] | None = None
        self._lock = threading.Lock()

    def cancel(self) -> bool:
        """Give up what has not been planned; return False where all of it has: then there will be a result."""
        if self._before is not None:
            return self._before.cancel()
        with self._lock:
            self.cancelled = self.cancelled or not self._planned
            return self.cancelled

    def plan(self) -> bool:
        """Let all that is left of it be planned, unless it was cancelled: return whether it may."""
        with self._lock:
            self._planned = not self.cancelled
            return self._planned

    def followed(self) -> "Ticket[Any]":
        """Return a ticket for what is made of this one's result; to cancel it cancels this one."""
        ticket: Ticket[Any] = Ticket(self.deadline)
        ticket._before = self
        return ticket


@dataclass(eq=False)
class _Job:
    """A query that waits, which of its targets have been planned, and the scores so far."""

    ticket: Ticket[list[Score]]
    query: Query
    planned: int = 0
    scores: list[Score] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether its targets are to be scored together: the order of its behaviors depends on all of them."""
        return self.query.selection.order == "shared"

    def part(self, count: int) -> Query:
        """Return the query of its next targets."""
        return replace(self.query, items=self.query.items[self.planned : self.planned + count])


@dataclass(eq=False)
class _Call:
    """Work that is no query, such as a recommendation: it has a turn of its own."""

    ticket: "Ticket[object]"
    work: Callable[[], object]
    result: object = None


class Scheduler:
    """Plans what waits together. Close it, or use it with `with`.

    Parameters
    ----------
    judge
        Scores queries; only the scheduler's thread calls it.
    budget
        Prompt tokens that a turn takes, about: what begins within it is not cut below 32 prompts.
    most
        Requests that may wait; another one is `Busy`.
    clock
        Seconds, for deadlines.

    Attributes
    ----------
    most
        As given.

    """

    def __init__(
        self,
        judge: Judge,
        *,
        budget: int = _BUDGET,
        most: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._judge, self._budget, self.most, self._clock = judge, budget, most, clock
        self._jobs: OrderedDict[int, _Job | _Call] = OrderedDict()
        self._changed = threading.Condition()
        self._closing = self._stopped = False
        self._mean = float(_GUESS)
        self._thread = threading.Thread(target=self._run, name="rella scheduler", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many requests have been taken and are not finished."""
        with self._changed:
            return len(self._jobs)

    def score(self, query: Query, *, seconds: float | None = None) -> Ticket[list[Score]]:
        """Take a query; it is scored with others that wait, its targets in several turns if they are many.

        Parameters
        ----------
        query
            A history, targets, and which behaviors prompts show.
        seconds
            How long it may take; None: however long. What is planned by then is read to its end.

        Raises
        ------
        Busy
            Too many requests wait.
        Closed
            The scheduler is closed.

        """
        ticket: Ticket[list[Score]] = Ticket(self._deadline(seconds))
        if not query.items:
            ticket.future.set_result([])
            return ticket
        self._add(_Job(ticket, query))
        return ticket

    def call(self, work: Callable[[], Result], *, seconds: float | None = None) -> Ticket[Result]:
        """Take work that is to have the model for itself, in its turn; raises as `score` does."""
        ticket: Ticket[Result] = Ticket(self._deadline(seconds))
        self._add(_Call(ticket, work))  # type: ignore[arg-type]  # of any result
        return ticket

    def stop(self) -> None:
        """Take nothing more, and end what has not been planned with `Closed`."""
        with self._changed:
            self._closing = self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Take nothing more, finish what was taken, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> "Scheduler":
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    def _deadline(self, seconds: float | None) -> float | None:
        return None if seconds is None else self._clock() + seconds

    def _add(self, job: _Job | _Call) -> None:
        with self._changed:
            if self._closing:
                raise Closed("no more requests are taken")
            if len(self._jobs) >= self.most:
                raise Busy(f"{len(self._jobs)} requests wait already")
            self._jobs[id(job)] = job
            self._changed.notify_all()

    def _run(self) -> None:
        """Make turns until the scheduler is closed and nothing waits."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closing)
                if not self._jobs:
                    return
                waiting = [*self._jobs.values()]
            self._drop(waiting)
            with self._changed:
                turn = self._turn()
            if turn:
                try:
                    self._make(turn)
                except BaseException as error:  # a fault of the program: nobody is to wait for it in vain
                    for job in [turn] if isinstance(turn, _Call) else [part[0] for part in turn]:
                        if id(job) in self._jobs:
                            self._end(job, error)

    def _drop(self, waiting: "Sequence[_Job | _Call]") -> None:
        """End what was cancelled, or waited too long."""
        now = self._clock()
        for job in waiting:
            ticket = job.ticket
            if ticket.cancelled:
                self._end(job, CancelledError())
            elif self._stopped:
                self._end(job, Closed("ended before it was read"))
            elif ticket.deadline is not None and now >= ticket.deadline:
                self._end(job, _late())

    def _turn(self) -> "list[tuple[_Job, Query]] | _Call | None":
        """Return the parts of queries of the next turn, or the call whose turn it is."""
        waiting = [job for job in self._jobs.values() if not job.ticket.cancelled]
        first = waiting[0] if waiting else None
        if not isinstance(first, _Job):
            return first if first is not None and first.ticket.plan() else None
        jobs = [job for job in waiting if isinstance(job, _Job)]
        counts, left = dict.fromkeys(jobs, 0), max(1, round(self._budget / self._mean))
        while left > 0 and jobs:
            for job in [*jobs]:
                open_ = len(job.query.items) - job.planned - counts[job]
                taken = open_ if job.whole else min(open_, _ROUND)
                counts[job] += taken
                left -= taken
                if taken == open_:
                    jobs.remove(job)
                if left <= 0:
                    break
        return [
            (job, job.part(count))
            for job, count in counts.items()
            if count and (job.planned + count < len(job.query.items) or job.ticket.plan())
        ]

    def _make(self, turn: "list[tuple[_Job, Query]] | _Call") -> None:
        if isinstance(turn, _Call):
            self._finish_call(turn)
            return
        try:
            found = self._judge([query for _, query in turn], keep=True)
            if list(map(len, found)) != [len(query.items) for _, query in turn]:
                raise EngineError("as many scores as items were wanted")
        except Exception as error:
            if len(turn) == 1:
                self._end(turn[0][0], _renumbered(error, turn[0][0].planned))
                return
            for part in turn:  # one of them is at fault: each has a turn of its own
                self._make([part])
            return
        for (job, query), scores in zip(turn, found, strict=True):
            job.scores += scores
            job.planned += len(query.items)
            for score in scores:
                self._mean += _SMOOTHING * (score.prompt_tokens - self._mean)
        for job in [job for job, _ in turn if job.planned == len(job.query.items)]:
            self._end(job, None)
        with self._changed:  # what is not finished goes behind what has come meanwhile
            for job, _ in turn:
                if id(job) in self._jobs:
                    self._jobs.move_to_end(id(job))

    def _finish_call(self, job: _Call) -> None:
        try:
            result = job.work()
        except Exception as error:
            self._end(job, error)
            return
        job.result = result
        self._end(job, None)

    def _end(self, job: _Job | _Call, error: BaseException | None) -> None:
        """Give a request its result, or what it ended with; whoever waits for it may ask for more at once."""
        with self._changed:
            del self._jobs[id(job)]
        if error is None and job.ticket.deadline is not None and self._clock() > job.ticket.deadline:
            error = _late()
        if error is not None:
            job.ticket.future.set_exception(error)
        elif isinstance(job, _Job):
            job.ticket.future.set_result(job.scores)
        else:
            job.ticket.future.set_result(job.result)


def _late() -> DeadlineError:
    return DeadlineError("the deadline passed before the answer was there")


def _renumbered(error: Exception, before: int) -> Exception:
    """Say of an item at fault where it stands in the request, of which `before` targets were planned earlier."""
    found = _ITEM.fullmatch(error.place or "") if isinstance(error, InputError) else None
    if found is None or not isinstance(error, InputError):
        return error
    place = f"item[{int(found[1]) + before}]{found[2]}"
    return type(error)(error.finding, source=error.source, place=place, remedy=error.remedy)
