"""`rella score --jsonl`: a worker on standard input and output, and how it ends."""

import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Self

from rella_gguf.shown import json_line, one_line

if TYPE_CHECKING:
    from rella_cpp.serving.scheduler import Scheduler
    from rella_cpp.serving.service import Service

_CHUNK = 1 << 16
_PIPE = getattr(select, "PIPE_BUF", _CHUNK)  # where a pipe has room at all, it takes so much without blocking
_PATIENCE = 3.0  # seconds
_POLL = 0.2
_SIGNALS = os.name == "posix"  # elsewhere select takes sockets alone, and nobody sends a SIGTERM


def serve(service: "Service") -> None:
    """Answer requests line by line until standard input ends or a SIGTERM comes; the request under way is finished."""
    from rella_cpp.serving.worker import split_lines, work

    for handler in logging.getLogger("rella_cpp").handlers:
        handler.addFilter(_Once())
    requests = failed = 0
    with _Termination() as termination:
        _say("ready")
        try:
            for result in work(service, split_lines(_chunks(termination))):
                termination.write(json_line(result, ascii_only=True).encode())
                requests, failed = requests + 1, failed + ("error" in result)
                if termination.came:
                    break
        except _Terminated:
            pass
    _conclude(requests, failed)


def serve_together(service: "Service", scheduler: "Scheduler", *, exact: bool, most: int, ordered: bool) -> None:
    """Answer requests, up to `most` of them planned together, until standard input ends or a SIGTERM comes.

    Then what has been planned is finished, and what has not is answered with an error.
    """
    from rella_cpp.serving.concurrent import Together
    from rella_cpp.serving.desk import Desk
    from rella_cpp.serving.worker import split_lines

    for handler in logging.getLogger("rella_cpp").handlers:
        handler.addFilter(_Once())
    with _Termination(polls=True) as termination:

        def write(result: dict[str, object]) -> None:
            try:
                termination.write(json_line(result, ascii_only=True).encode())
            except BaseException:  # nobody reads any more: no more lines are waited for
                termination.end()
                raise

        together = Together(Desk(service, scheduler, exact=exact), write, most=most, ordered=ordered)
        termination.then = together.cancel
        _say("ready")
        with suppress(_Terminated):
            together.run(split_lines(_chunks(termination)))
    if together.broken is not None and not isinstance(together.broken, _Terminated):
        raise together.broken
    _conclude(together.answered, together.failed)


def _conclude(requests: int, failed: int) -> None:
    if failed:
        _say(f"{requests:,} request{'' if requests == 1 else 's'}, {failed:,} with an error")


class _Terminated(Exception):
    """A SIGTERM came while there was nothing to do, or nobody to read."""


class _Termination:
    """Takes note of a SIGTERM, and waits for input without missing one.

    The handler raises nothing: within a callback from llama.cpp that would be swallowed. What ends the waiting is a
    pipe: a signal that comes just before a blocking read would else be seen only after it.

    Parameters
    ----------
    polls
        Whether results are written by another thread than the one that waits for input: only one of them can be woken.

    Attributes
    ----------
    came
        Whether a SIGTERM came.
    then
        Called when it comes.

    """

    def __init__(self, *, polls: bool = False) -> None:
        self.came, self._polls = False, polls
        self.then: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        """Take note from now on."""
        if _SIGNALS:
            self._woken, self._wake = os.pipe()
            os.set_blocking(self._wake, False)
            self._former_wake = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
            self._former = signal.signal(signal.SIGTERM, self._take_note)
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave signals as they were."""
        if _SIGNALS:
            signal.signal(signal.SIGTERM, self._former)
            signal.set_wakeup_fd(self._former_wake)
            os.close(self._woken)
            os.close(self._wake)

    def wait_for(self, file: int) -> None:
        """Wait until there is something to read; raise `_Terminated` if a SIGTERM came."""
        while _SIGNALS and not self.came:
            ready, _, _ = select.select([file, self._woken], [], [])
            if self._woken not in ready:
                return
            os.read(self._woken, _CHUNK)
        if self.came:
            raise _Terminated

    def write(self, line: bytes) -> None:
        """Write a line to standard output; once a SIGTERM came, no reader is waited for longer than a few seconds.

        The line is ASCII: readers disagree on whether U+2028 and its like end a line, and on encodings.
        """
        file = sys.stdout.fileno()
        try:
            while line:
                if _SIGNALS:
                    self._wait_for_room(file)
                line = line[os.write(file, line[:_PIPE]) :]
        except ConnectionResetError:
            raise BrokenPipeError from None

    def end(self) -> None:
        """Let whoever waits for input end, as at a SIGTERM."""
        self.came = True
        if _SIGNALS:
            os.write(self._wake, b"\0")

    def _wait_for_room(self, file: int) -> None:
        waited = 0.0
        while self._polls:
            if select.select([], [file], [], _POLL)[1]:
                return
            waited = waited + _POLL if self.came else 0.0
            if waited > _PATIENCE:
                raise _Terminated
        while True:
            watched = [] if self.came else [self._woken]
            woken, room, _ = select.select(watched, [file], [], _PATIENCE if self.came else None)
            if room:
                return
            if not woken:  # the reader does not read
                raise _Terminated
            os.read(self._woken, _CHUNK)

    def _take_note(self, _signal: int, _frame: FrameType | None) -> None:
        self.came = True
        self.then()


class _Once(logging.Filter):
    """Lets each kind of warning through once: where nobody reads stderr, a full pipe would stop the worker."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to say it; llama.cpp's log comes only where it was asked for."""
        said = record.msg in self._said
        self._said.add(record.msg)
        return not said or record.name != "rella_cpp"


def _chunks(termination: _Termination) -> Iterator[bytes]:
    """Yield what comes on standard input, at once."""
    from rella_cpp import InputError

    file = sys.stdin.fileno()
    while True:
        termination.wait_for(file)
        try:
            chunk = os.read(file, _CHUNK)
        except ConnectionResetError:  # Node.js and others give sockets for pipes; whoever held this one has gone
            return
        except OSError as error:
            remedy = "send requests there, one a line"
            raise InputError(error.strerror or str(error), source="standard input", remedy=remedy) from None
        if not chunk:
            return
        yield chunk


def _say(text: str) -> None:
    """Print one line on stderr, if somebody is there to read it."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"rella: {one_line(text)}\n")
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
