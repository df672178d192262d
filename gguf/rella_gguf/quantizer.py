"""llama.cpp's quantizer, in a process of its own.

So an interruption ends it at once, a failed assertion (which stops its process) becomes an error, and its memory
goes back.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rella_gguf.errors import GGUFError, InputError, RellaError
from rella_gguf.file_types import FileType
from rella_gguf.files import disk_full

REFUSED = 3
"""The process's exit code where llama.cpp says why it cannot."""

ALIGNMENT = 32
"""The quantizer aligns tensors so, whatever its source does."""

_TENSOR = re.compile(
    r"^\[ *(?P<done>\d+)/ *(?P<total>\d+)\] (?P<name>.*?) +- \[[^\]]*\], type = +(?P<type>\w+), "
    r"(converting to (?P<converted>\w+) \.\. )?size = [^>]*(-> .*?( \((?P<planned>\w+)\))?)?$"
)
_FALLBACK = re.compile(r"-> falling back to +(\w+)$")
_ENTRY = "from rella_gguf.native import main; main()"


@dataclass(frozen=True, slots=True)
class Job:
    """What to make of which file; with `dry` nothing is written, llama.cpp only says which type each tensor gets."""

    source: Path
    out: Path
    type: FileType
    threads: int
    quantized_from: str = ""
    dry: bool = False

    @property
    def arguments(self) -> list[str]:
        """What the process is told."""
        numbers = (self.type.number, self.threads, int(self.dry))
        return [str(self.source), str(self.out), *map(str, numbers), self.quantized_from]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What llama.cpp said: the type that each tensor has got, and the types that it fell back to, once a tensor."""

    types: dict[str, str]
    fallbacks: tuple[str, ...]


def run(job: Job, progress: Callable[[int, int], None]) -> Outcome:
    """Let llama.cpp quantize; call `progress` with the tensors done and their number.

    Raises
    ------
    GGUFError
        llama.cpp refuses the source, or stops on it.
    InputError
        The output cannot be written.
    RellaError
        llama-cpp-python cannot be loaded, or the process was killed.

    """
    types: dict[str, str] = {}
    fallbacks: list[str] = []
    said: list[str] = []
    # -P: a folder named gguf or llama_cpp where the user stands must not hide the package.
    command = [sys.executable, "-P", "-c", _ENTRY, *job.arguments]
    environment = os.environ | {"GGML_NO_BACKTRACE": "1"}  # a backtrace would start a debugger
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as process:
        try:
            for raw in process.stdout or ():
                line = raw.decode("utf-8", errors="replace").rstrip("\n")
                if tensor := parse_line(line):
                    done, total, name, kind = tensor
                    types[name] = kind
                    progress(done, total)
                elif fallback := _FALLBACK.search(line):
                    fallbacks.append(fallback[1].upper())
                else:
                    said = [*said[-20:], line]
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failure(job, process.returncode, said)
    return Outcome(types, tuple(fallbacks))


def parse_line(line: str) -> tuple[int, int, str, str] | None:
    """Read a line of llama.cpp's log that tells of a tensor: its number, their number, its name, the type it gets."""
    found = _TENSOR.match(line)
    if found is None:
        return None
    kind = found["planned"] or found["converted"] or found["type"]
    return int(found["done"]), int(found["total"]), found["name"], kind.upper()


def _failure(job: Job, code: int, said: list[str]) -> RellaError:
    """Make one error of how the process ended and its last words."""
    words = next((line for line in reversed(said) if line.strip()), "no reason given").strip()
    words = words.rpartition("failed to quantize: ")[2]
    if code == REFUSED and "iostream error" in words:
        error = InputError("cannot be written whole", source=job.out, remedy="free space, or name another place")
        error.__cause__ = disk_full()
        return error
    if code == REFUSED:
        return GGUFError(
            f"llama.cpp cannot quantise it ({words})",
            source=job.source,
            remedy="it may be damaged, or of an architecture newer than the installed llama-cpp-python",
        )
    if code == -signal.SIGKILL:
        return RellaError(f"{job.source}: llama.cpp was killed while it quantised: memory may have run out")
    if code < 0:
        reason = next((line.strip() for line in reversed(said) if "GGML_ASSERT" in line or "what():" in line), "")
        return GGUFError(
            f"llama.cpp stopped on it ({reason or signal.Signals(-code).name})",
            source=job.source,
            remedy="it may be damaged: inspect it, or download it again",
        )
    return RellaError(f"llama-cpp-python cannot quantise ({words}): reinstall it")
