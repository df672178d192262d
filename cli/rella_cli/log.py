"""The library's log, on stderr: what it says and warns of, each once and in one line, and llama.cpp's on request."""

import logging
import sys
from collections import deque

from rella_gguf.shown import one_line

_SAID: deque[str] = deque(maxlen=64)
"""What is not said again, and stands on pages; a worker says much."""


class _OneLine(logging.Formatter):
    """Messages quote names of files, which may hold line breaks and worse. A warning is called one."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        return one_line(f"rella: {level}{super().format(record)}")


class _Unsaid(logging.Filter):
    """Lets the same warning through once, among the latest: a command may open the same cache several times."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to say it; llama.cpp's log comes as it is."""
        if record.name != "rella_cpp":
            return True
        said = record.getMessage()
        new = said not in _SAID
        if new:
            _SAID.append(said)
        return new


def begin() -> None:
    """Begin a command, which says all anew."""
    _SAID.clear()
    listen(False)


def said_so_far() -> tuple[str, ...]:
    """Return what the library said in this command, the latest lines of it."""
    return tuple(_SAID)


def listen(verbose: bool) -> None:
    """Show on stderr what the library says; with `verbose`, llama.cpp's log too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    handler.addFilter(_Unsaid())
    own = logging.getLogger("rella_cpp")
    own.handlers = [handler]
    own.setLevel(logging.INFO)
    native = logging.getLogger("rella_cpp.llama_cpp")
    native.propagate = verbose
    native.setLevel(logging.DEBUG if verbose else logging.WARNING)
