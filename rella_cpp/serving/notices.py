"""What the library warns of while a request is answered, for its answer: nobody sees a server's log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_NOTICES: ContextVar[list[str] | None] = ContextVar("notices", default=None)


class _Collector(logging.Handler):
    """Adds warnings to the request's that is answered by this thread."""

    def emit(self, record: logging.LogRecord) -> None:
        found = _NOTICES.get()
        if found is not None and record.levelno >= logging.WARNING and (said := record.getMessage()) not in found:
            found.append(said)


_COLLECTOR = _Collector()


@contextmanager
def noticed(into: list[str]) -> Iterator[None]:
    """Collect the warnings of what is done within."""
    logger = logging.getLogger("rella_cpp")
    if _COLLECTOR not in logger.handlers:
        logger.addHandler(_COLLECTOR)
    token = _NOTICES.set(into)
    try:
        yield
    finally:
        _NOTICES.reset(token)
