"""Our side of the process that renders untrusted templates."""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from typing import Any

from rella_cpp.domains.templates.environments import BeyondBounds, TemplateFailure
from rella_cpp.errors import EngineError

_ENTRY = (
    "import json, sys; sys.path[:], *bounds = json.loads(sys.argv[1]); "
    "from rella_cpp.domains.templates.renderer import main; main(*bounds)"
)
"""What the interpreter is told to do. It finds what we import where we found it."""
_PATIENCE = 60.0
"""Seconds after which a process is ended that no clock of its own ended."""


class _Killed(BeyondBounds):
    """The process was killed, which a template cannot do."""


class Sandbox:
    """A process that renders templates: started when first needed, and again where a template ended it.

    Safe under threads: one request at a time.

    Parameters
    ----------
    seconds
        Time of a processor that one request may take.
    megabytes
        Address space that the process may have, where the system keeps to it.

    Attributes
    ----------
    process
        The one that renders, if it is running.

    """

    def __init__(self, seconds: float = 3.0, megabytes: int = 1024) -> None:
        self._seconds, self._megabytes = seconds, megabytes
        self._lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._ready = False
        self._record: tuple[object, object] = None, None

    def start(self) -> None:
        """Start the process, without waiting for it."""
        with self._lock:
            self._running()

    def ask(self, request: Mapping[str, Any]) -> str:
        """Send a request, and return the text that comes back.

        Raises
        ------
        TemplateFailure
            The template fails, or goes beyond a bound.
        EngineError
            There is no process that could render it.

        """
        data = json.dumps(request, default=self._plain).encode()
        with self._lock:
            try:
                reply = self._exchange(self._running(), data)
            except _Killed:  # from outside, or for the machine's lack of memory
                reply = self._exchange(self._running(), data)
        found = json.loads(reply)
        if "failure" in found:
            raise (BeyondBounds if found.get("beyond") else TemplateFailure)(found["failure"])
        return str(found["text"])

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes) -> bytes:
        guard = None
        if not hasattr(signal, "setitimer"):  # Windows
            guard = threading.Timer(_PATIENCE, process.kill)
            guard.start()
        try:
            if not self._ready:
                self._ready = _received(process) is not None
            if self._ready:
                _send(process, data)
            reply = _received(process) if self._ready else None
        except BaseException:  # what is left in the pipes belongs to no later request
            self._end()
            raise
        finally:
            if guard is not None:
                guard.cancel()
        if reply is None:
            ready, code = self._ready, self._end()
            if not ready:
                raise EngineError(
                    f"the process that renders templates does not start (status {code}): free some memory"
                )
            if hasattr(signal, "SIGKILL") and code == -signal.SIGKILL:
                raise _Killed(self._why(code))
            raise BeyondBounds(self._why(code))
        return reply

    def _running(self) -> subprocess.Popen[bytes]:
        owned = self._owner == os.getpid()  # a fork shares our pipes
        if self.process is not None and owned and self.process.poll() is not None:  # killed from outside
            self._end()
        if self.process is None or not owned:
            self._ready = False
            arguments = [[str(path) for path in sys.path], self._seconds, self._megabytes]
            # -P: a folder named jinja2 where the user stands must not hide the package.
            command = [sys.executable, "-P", "-c", _ENTRY, json.dumps(arguments)]
            try:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
            except (OSError, MemoryError) as error:
                raise EngineError(f"no process could be started to render a template ({error})") from None
            self._owner = os.getpid()
        return self.process

    def _end(self) -> int:
        """End the process; return its exit code."""
        process, self.process = self.process, None
        assert process is not None
        process.kill()
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # a request that it never read
            process.stdin.close()
        with process:
            return process.wait()

    def close(self) -> None:
        """End the process; the next request starts another."""
        with self._lock:
            if self.process is not None and self._owner == os.getpid():
                self._end()

    def forget(self) -> None:
        """Leave the process to whom we were forked from, and the lock that a thread of theirs may hold."""
        self._lock, self.process = threading.Lock(), None

    def _plain(self, value: object) -> object:
        """Return a record (a domain, which stands in every prompt) as a template sees it: its fields by name."""
        if not is_dataclass(value) or isinstance(value, type):
            raise TypeError(f"{type(value).__name__} is nothing that a template sees")
        if self._record[0] is not value:
            self._record = value, asdict(value)
        return self._record[1]

    def _why(self, code: int) -> str:
        if hasattr(signal, "SIGPROF") and code == -signal.SIGPROF:
            return f"it takes longer than {self._seconds:g} seconds"
        if os.name == "nt":
            return f"it takes longer than {_PATIENCE:.0f} seconds, or its process ended with status {code}"
        return f"the process that renders it ended ({signal.Signals(-code).name if code < 0 else f'status {code}'})"


SANDBOX = Sandbox()
"""The one of this process."""
atexit.register(SANDBOX.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SANDBOX.forget)


def _send(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(len(data).to_bytes(8, "little") + data)
        process.stdin.flush()
    except BrokenPipeError:  # there will be no reply either
        return


def _received(process: subprocess.Popen[bytes]) -> bytes | None:
    """Return what comes; None where the process ends first."""
    assert process.stdout is not None
    size = int.from_bytes(process.stdout.read(8), "little")
    reply = process.stdout.read(size)
    return reply if reply and len(reply) == size else None
