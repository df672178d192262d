"""SIGTERM while a command that runs until it is told to end gets ready: it ends, and that is no failure."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def end_quietly() -> None:
    """Exit with 0 at a SIGTERM, until something else is said."""
    if os.name == "posix":
        signal.signal(signal.SIGTERM, lambda _signal, _frame: os._exit(0))


@contextmanager
def ending_quietly(*, at: tuple[str, ...] = ("SIGTERM",)) -> Iterator[Callable[[], None]]:
    """Exit with 0 at a SIGTERM; after a call of what is yielded, whoever runs then takes note of it himself."""
    if os.name != "posix":  # elsewhere nobody sends one
        yield lambda: None
        return
    ready = False

    def end(_signal: int, _frame: FrameType | None) -> None:
        if not ready:
            raise SystemExit(0)

    def be_ready() -> None:
        nonlocal ready
        ready = True

    former = {name: signal.signal(getattr(signal, name), end) for name in at}
    try:
        yield be_ready
    finally:
        for name, handler in former.items():
            signal.signal(getattr(signal, name), handler)
