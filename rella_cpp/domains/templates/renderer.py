"""The process that compiles and renders untrusted templates, one request after the other.

A request is an object in JSON, a reply `{"text": …}` or `{"failure": …}`; both have their length before them, in eight
bytes. A first reply, `{}`, says that it is ready. It ends when its standard input does.
"""

import json
import os
import signal
import sys
from typing import BinaryIO

from rella_cpp.domains.templates.environments import BeyondBounds, compiled, names_in

LONGEST_SOURCE = 1 << 20
"""Characters of a template."""
LONGEST_TEXT = 1 << 21
"""Characters that a template may write."""


def main(seconds: float, megabytes: int) -> None:
    """Serve requests from standard input.

    Parameters
    ----------
    seconds
        Time of a processor that one request may take.
    megabytes
        Address space that there may be, where the system keeps to it.

    """
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # our parent ends us
    if hasattr(signal, "SIGPROF"):  # what our parent does with it is handed down
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    _bound_memory(megabytes << 20)
    import jinja2.sandbox  # noqa: F401  # before the first request, whose time and memory are bounded

    _send(replies, b"{}")  # ready
    while (request := _read(requests)) is not None:
        # Its default action ends the process also where C code runs that never looks for Python's signals.
        _set_timer(seconds)
        reply = _reply(request, megabytes)
        _set_timer(0)
        _send(replies, reply)


def _reply(request: bytes, megabytes: int) -> bytes:
    try:
        found = {"text": _answer(**json.loads(request))}
        return json.dumps(found).encode()
    except MemoryError:
        return json.dumps({"failure": f"it takes more than {megabytes:,} MB of memory", "beyond": True}).encode()
    except BeyondBounds as error:
        return json.dumps({"failure": str(error), "beyond": True}).encode()
    except Exception as error:  # a template can raise whatever Python can
        return json.dumps({"failure": (str(error) or type(error).__name__)[:1000]}).encode()


def _answer(do: str, source: str, chat: bool = False, names: dict[str, object] | None = None) -> str:
    if len(source) > LONGEST_SOURCE:
        raise BeyondBounds(f"it has {len(source):,} characters; {LONGEST_SOURCE:,} are the most")
    if do == "names":
        return "\n".join(sorted(names_in(source)))
    template = compiled(source, chat)
    if do == "check":
        return ""
    parts: list[str] = []
    length = 0
    for part in template.generate(names or {}):
        parts.append(part)
        length += len(part)
        if length > LONGEST_TEXT:
            raise BeyondBounds(f"it writes more than {LONGEST_TEXT:,} characters")
    return "".join(parts)


def _send(stream: BinaryIO, data: bytes) -> None:
    stream.write(len(data).to_bytes(8, "little") + data)
    stream.flush()


def _read(stream: BinaryIO) -> bytes | None:
    size = stream.read(8)
    return stream.read(int.from_bytes(size, "little")) if len(size) == 8 else None


def _set_timer(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _bound_memory(most: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = min(limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    except (ValueError, OSError):  # a system that has no such bound
        return
