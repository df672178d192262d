"""What a machine may lack: memory, where less is asked for under a limit, and room on a disk."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

_SPARING = {
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MALLOC_ARENA_MAX": "1",
}
"""What libraries read when they are loaded. Each would reserve hundreds of megabytes of addresses it never uses."""
_RESERVE: list[Any] = []
"""Some memory that is given back when something fails, so that there is enough to say so."""
_M_ARENA_MAX = -8  # of mallopt; the variable is read when the process starts
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the last: beyond a limit of this process, or of the disk
_CLOSE = 64 << 20  # bytes left, below which whatever fails fails for lack of memory
_LACK = re.compile(
    r"(?i)cannot allocate memory|failed to map segment|unable to allocate|malloc of size \d+ failed|bad_alloc|"
    r"start new thread|launch worker thread|out of memory"
)
"""What libraries say of it where they raise no MemoryError."""


def be_sparing() -> None:
    """Where the address space is limited (`ulimit -v`), let libraries reserve little of it.

    Raises
    ------
    MemoryError
        What is left is too little for any command.

    """
    if _limit() is None:
        return
    import mmap

    _RESERVE.append(mmap.mmap(-1, _CLOSE // 4))
    for name, value in _SPARING.items():
        os.environ.setdefault(name, value)
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
    from rella_cpp.engine.machine.address_space import warm_numpy

    warm_numpy()


def no_memory(error: BaseException) -> str | None:
    """Say in one sentence that memory ran out, and what to do, if that is why something failed."""
    from rella_cpp.errors import InputError

    _RESERVE.clear()
    limit = _limit()
    if not any(map(_is_lack, _chain(error))) and not (limit is not None and _is_odd(error)):
        return None
    said = str(error)
    if isinstance(error, InputError):  # without its remedy
        said = ": ".join(part for part in (error.source, error.finding) if part)
    reason = f" ({said})" if said else ""
    raised = "" if limit is None else f"raise the limit of {limit / 1e6:,.0f} MB (ulimit -v), "
    return f"out of memory{reason}: {raised}free some, or give it less to do at a time"


def end(code: int) -> NoReturn:
    """End at once under a limit: libraries that lack memory crash, or wait for ever, when Python tidies up."""
    if _limit() is not None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def no_disk(error: BaseException) -> bool:
    """Tell whether something failed because a disk, or the user's part of it, is full."""
    return any(isinstance(each, OSError) and each.errno in _FULL for each in _chain(error))


def _is_odd(error: BaseException) -> bool:
    """Tell whether it is no error of ours, and the limit is close: then anything may have failed for that reason."""
    from rella_cpp.engine.machine.address_space import address_space_left
    from rella_cpp.errors import RellaError

    if isinstance(error, RellaError | OSError) or hasattr(error, "format_message"):
        return False
    try:
        left = address_space_left()
    except MemoryError:
        return True
    return left is not None and left < _CLOSE


def _is_lack(error: BaseException) -> bool:
    from rella_cpp.errors import RellaError

    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return not isinstance(error, RellaError) and _LACK.search(str(error)) is not None  # those quote users' texts


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it, which `from None` hides from people alone."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _limit() -> int | None:
    """Return how many bytes of addresses this process may have; None where there is no limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit
