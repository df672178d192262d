"""Runs a probe in a child process and says how it ended."""

import json
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, NamedTuple

from rella_cpp.engine.probe import BEAT, MARK, REFUSED, STAGES, Job
from rella_cpp.engine.verdicts import Death

logger = logging.getLogger("rella_cpp")

PATIENCE = 60.0
"""Seconds without a sign of life after which a child counts as dead."""

_FAILED = 1
"""Exit code of Python itself, where something is wrong that is not llama.cpp."""
ENTRY = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from rella_cpp.engine.probe import main; main()"
"""What the interpreter is told to do. It finds what we import where we found it."""
_LAST_WORDS = re.compile(r"(?:.*[/\\])?([^/\\]+:\d+: .*)|.*(what\(\): .*)")
"""A failed assertion with its place in llama.cpp's source, or an exception that nobody caught."""


_LIKELY = {"SIGKILL": "memory may have run out", "SIGILL": "the build is for another processor"}
"""Why a signal came, where nothing was said."""


class Outcome(NamedTuple):
    """How a probe ended: whether all of it went well, and how llama.cpp died, if it did.

    Neither: the model was refused, or the probe could not be run.
    """

    well: bool
    death: Death | None = None
    before_first_decode: bool = False


def run(job: Job, tell: Callable[[str], None], *, entry: str = ENTRY, patience: float = PATIENCE) -> Outcome:
    """Probe a model in a fresh interpreter.

    Parameters
    ----------
    job
        What to try.
    tell
        Told what is being done, again and again.
    entry
        The interpreter's program; its arguments are the module path and the job, as JSON.
    patience
        Seconds without a sign of life after which the child is killed.

    """
    # -P: a folder named gguf or llama_cpp where the user stands must not hide the package.
    command = [sys.executable, "-P", "-c", entry, json.dumps([str(path) for path in sys.path]), job.dump()]
    environment = os.environ | {"GGML_NO_BACKTRACE": "1"}  # a backtrace would start a debugger
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environment, bufsize=0, **pipes) as process:  # type: ignore[call-overload]
        try:
            stage, words, hung = _listen(process.stdout, tell, patience)
            if hung:
                process.kill()
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    if hung:
        death = Death(f"no progress for {patience:.0f} s", stage, words)
    elif code in (0, REFUSED, _FAILED):
        if code == _FAILED:
            logger.warning("the model could not be tried (%s)", words or "no reason given")
        return Outcome(code == 0)
    else:
        name = _name(code)
        death = Death(name, stage, words or _LIKELY.get(name, ""))
    return Outcome(False, death, stage in STAGES[:2])


def _listen(output: IO[bytes] | None, tell: Callable[[str], None], patience: float) -> tuple[str, str, bool]:
    """Follow a child to its end; return the stage it was in, its last words, and whether it hung."""
    lines: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        with suppress(OSError, ValueError):  # closed: nobody listens any more
            for line in output or ():
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    stage, words, said = STAGES[0], "", ""
    while True:
        try:
            raw = lines.get(timeout=patience)
        except queue.Empty:
            return stage, words, True
        if raw is None:
            return stage, words or said, False
        line = raw.decode("utf-8", errors="replace").strip()
        if line.startswith(MARK):
            found = line.removeprefix(MARK)
            stage = stage if found == BEAT else found
            tell(stage)
        elif line:
            said = line
            if match := _LAST_WORDS.fullmatch(line):
                words = match[1] or match[2]


def _name(code: int) -> str:
    """Name the signal that ended a process; Windows knows numbers alone."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"status {code & 0xFFFFFFFF:#x}"
