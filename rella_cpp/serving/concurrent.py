"""A worker whose requests are planned together: lines in, results out as they come or in the order of the lines."""

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from rella_cpp.errors import InputError
from rella_cpp.serving.desk import Desk, error_of
from rella_cpp.serving.requests import parse_line
from rella_cpp.serving.scheduler import Ticket
from rella_cpp.serving.worker import numbered

Result = dict[str, Any]


class Together:
    """Answers lines of requests, of which several are under way at a time.

    Parameters
    ----------
    desk
        Takes the requests.
    write
        Called with each result, by one thread at a time.
    most
        How many are under way at most: further lines are not read meanwhile.
    ordered
        Whether results come in the order of the lines, else as soon as they are there.

    Attributes
    ----------
    answered, failed
        How many results were written, and how many of these are errors.
    broken
        What `write` raised, if it did.

    """

    def __init__(self, desk: Desk, write: Callable[[Result], None], *, most: int, ordered: bool = True) -> None:
        self._desk, self._write, self._ordered = desk, write, ordered
        self._room, self._most = threading.Semaphore(most), most
        self._results: queue.SimpleQueue[Future[Result] | None] = queue.SimpleQueue()
        self._tickets: dict[int, tuple[object, Ticket[Any]]] = {}
        self.broken: BaseException | None = None
        self.answered = self.failed = 0

    def run(self, lines: Iterable[bytes]) -> None:
        """Answer lines until they end, and what is under way then.

        Raises whatever `write` raised, and then reads no more lines.
        """
        writer = threading.Thread(target=self._write_all, name="rella results", daemon=True)
        writer.start()
        try:
            for number, line in numbered(lines):
                self._room.acquire()
                if self.broken is not None:
                    self._room.release()
                    break
                self._take(line, number)
        except BaseException:
            self.cancel()
            raise
        finally:
            for _ in range(self._most):  # until the last result is written
                self._room.acquire()
            self._results.put(None)
            writer.join()
        if self.broken is not None:
            raise self.broken

    def cancel(self) -> None:
        """Give up what has not been planned."""
        for _, ticket in [*self._tickets.values()]:
            ticket.cancel()

    def _take(self, line: bytes, number: int) -> None:
        """Take one line; whatever comes of it is its result."""
        result: Future[Result] = Future()
        value: object = None
        if self._ordered:
            self._results.put(result)
        try:
            value = parse_line(line)
            if isinstance(value, dict) and "cancel" in value:
                found = {"cancel": value["cancel"], "cancelled": self._cancel(value)}
                self._settle(result, value, number, found)
                return
            ticket = self._desk.take(self._desk.service.request(value), f"line {number}")
        except Exception as error:
            self._settle(result, value, number, {"error": error_of(error)})
            return
        self._tickets[number] = (value.get("id") if isinstance(value, dict) else None), ticket

        def finish(done: "Future[Result]") -> None:
            self._tickets.pop(number, None)
            error = done.exception()
            try:
                self._settle(result, value, number, done.result() if error is None else {"error": error_of(error)})
            except BaseException as fault:
                result.set_exception(fault)
                if not self._ordered:
                    self._results.put(result)

        ticket.future.add_done_callback(finish)

    def _settle(self, result: "Future[Result]", value: object, number: int, found: Result) -> None:
        own = value.get("id") if isinstance(value, dict) else None
        result.set_result({"id": own, "line": number, **found})
        if not self._ordered:
            self._results.put(result)

    def _cancel(self, value: dict[str, Any]) -> bool:
        """Cancel the requests of an id; tell whether any of them was not planned yet."""
        if unknown := value.keys() - {"id", "cancel"}:
            raise InputError(f"cancel beside {min(unknown)}", place=min(unknown), remedy="leave it out")
        wanted = value["cancel"]
        known = [*self._tickets.values()] if wanted is not None else []
        found = [ticket for own, ticket in known if type(own) is type(wanted) and own == wanted]  # 1 is not true
        return any([ticket.cancel() for ticket in found])

    def _write_all(self) -> None:
        while (result := self._results.get()) is not None:
            try:
                found = result.result()
                if self.broken is None:
                    self._write(found)
                    self.answered, self.failed = self.answered + 1, self.failed + ("error" in found)
            except BaseException as error:
                self.broken = self.broken or error
                self.cancel()
            self._room.release()
