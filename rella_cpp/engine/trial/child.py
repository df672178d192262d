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
import time
from collections.abc import Callable
from typing import NamedTuple

from rella_cpp.engine.trial.probe import BEAT, MARK, REFUSED, STAGES, Job
from rella_cpp.engine.trial.verdicts import NO_MEMORY, Death

logger = logging.getLogger("rella_cpp")

PATIENCE = 60.0
"""Seconds without a sign of life after which a child counts as dead."""

_STEP = 1.0
"""Seconds after which the stage is told again."""
_ABORTED = 3
_BLOCK = 1 << 16
ENTRY = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from rella_cpp.engine.trial.probe import main; main()"
"""What the interpreter is told to do. It finds what we import where we found it."""
_LAST_WORDS = re.compile(r"(?:.*[/\\])?([^/\\]+:\d+: .*)|.*(what\(\): .*)")
"""A failed assertion with its place in llama.cpp's source, or an exception that nobody caught."""


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
    environment.pop("PYTHONFAULTHANDLER", None)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        process = subprocess.Popen(command, env=environment, bufsize=0, **pipes)  # type: ignore[call-overload]
    except OSError as error:
        logger.warning("the model could not be tried: %s cannot be run (%s)", sys.executable, error.strerror)
        return Outcome(False)
    with process:
        try:
            stage, words, ended = _listen(process.stdout.fileno(), tell, patience)
            code = _code(process, patience if ended else 0)
        finally:
            process.kill()
    killed_by = f"no progress for {patience:.0f} s" if code is None else _name(code)
    if killed_by is not None:
        return Outcome(False, Death(killed_by, stage, words), stage in STAGES[:2])
    well = code == 0 and stage == STAGES[-1]  # another program than Python's interpreter says no stages
    if not well and code != REFUSED and NO_MEMORY.search(words):  # so it would be for this process
        return Outcome(False, Death(f"status {code}", stage, words), stage in STAGES[:2])
    if not well and code != REFUSED:
        logger.warning("the model could not be tried (%s)", words or f"{sys.executable} ended with status {code}")
    return Outcome(well)


def _listen(output: int, tell: Callable[[str], None], patience: float) -> tuple[str, str, bool]:
    """Follow a child until its output ends, or it shows no progress for long.

    Returns the stage it was in, its last words, and whether its output ended. Time is counted in steps: while this
    process is stopped, so may the child be.
    """
    lines: queue.Queue[bytes | None] = queue.Queue(maxsize=1000)
    threading.Thread(target=_read, args=(os.dup(output), lines), daemon=True).start()
    stage, words, said = STAGES[0], "", ""
    silent, last = 0.0, time.monotonic()
    while silent < patience:
        tell(stage)
        try:
            raw = lines.get(timeout=min(patience, _STEP))
        except queue.Empty:
            raw = b""
        now = time.monotonic()
        silent, last = silent + min(now - last, 2 * _STEP), now
        if raw is None:
            return stage, words or said, True
        line = raw.decode("utf-8", errors="replace").strip()
        if line.startswith(MARK):
            silent, found = 0.0, line.removeprefix(MARK)
            stage = stage if found == BEAT else found
        elif line:
            said = line
            if match := _LAST_WORDS.fullmatch(line):
                words = match[1] or match[2]
    return stage, words, False


def _read(output: int, lines: "queue.Queue[bytes | None]") -> None:
    """Hand on the lines that come from a file descriptor of its own, and None at its end.

    Where the child left a process that holds the other end, this outlives the trial.
    """
    begun = b""
    with open(output, "rb", buffering=0) as file:
        while data := file.read(_BLOCK):
            *whole, begun = (begun[-_BLOCK:] + data).split(b"\n")
            for line in whole:
                lines.put(line)
    lines.put(begun)
    lines.put(None)


def _code(process: subprocess.Popen[bytes], patience: float) -> int | None:
    """Return the exit code of a child that ends within so many seconds; None where it does not."""
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        return None


def _name(code: int) -> str | None:
    """Name what killed a process, by its exit code; None where it ended by itself."""
    if os.name == "nt":  # it knows no signals; 3 is what abort() leaves
        return f"status {code & 0xFFFFFFFF:#x}" if code & 0x80000000 or code == _ABORTED else None
    number = -code if code < 0 else code - 128  # as a shell has it, where one stands between
    return signal.Signals(number).name if number in set(signal.Signals) else None
