"""The trainer of adapters, in a process of its own: it needs PyTorch, which nothing else here does."""

import re
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rella_cpp.errors import EngineError, InputError
from rella_cpp.storage.progress import Progress

_NEEDED = ("torch", "transformers", "peft")
_STEP = re.compile(r"(?P<done>[\d,]+) of (?P<total>[\d,]+) tokens, (?P<note>loss [\d.]+)")
_TRAINER = """
import os, runpy, sys, threading
def watch():
    while os.read(0, 1):
        pass
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
sys.argv[0] = "rella_train.lora"
runpy.run_module("rella_train.lora", run_name="__main__", alter_sys=True)
"""
"""The trainer, which ends when its standard input does: with the process that started it, however that ends."""
_SAID = 5  # last lines of a trainer that failed


def check_trainer() -> None:
    """Refuse to train where what it takes is not installed.

    Raises
    ------
    InputError
        PyTorch, transformers, PEFT or the trainer is missing.

    """
    if missing := [name for name in (*_NEEDED, "rella_train") if find_spec(name) is None]:
        raise InputError(f"training needs {missing[0]}", remedy="pip install 'rella-cpp[train]'")


def train_adapter(rows: Path, base: Path, out: Path, options: Sequence[str], progress: Progress) -> None:
    """Train a LoRA adapter on rows, or go on where that was killed; `out` becomes a PEFT folder.

    Parameters
    ----------
    rows, base
        What `rella export stream` wrote, and the GGUF to adapt.
    options
        More for `python -m rella_train.lora`.

    Raises
    ------
    InputError
        The trainer refuses something.
    EngineError
        It failed.

    """
    command = [sys.executable, "-c", _TRAINER, str(rows), "--base", str(base), "-o", str(out), *options]
    said: deque[str] = deque(maxlen=_SAID)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line.strip())
                if step := _STEP.search(line):
                    done, total = (int(step[name].replace(",", "")) for name in ("done", "total"))
                    progress("training", done, total, step["note"])
        except BaseException:
            process.terminate()
            raise
    if process.returncode == 2:
        raise InputError(said[-1] if said else "the trainer refuses the rows or the model")
    if process.returncode:
        raise EngineError(f"the trainer failed with status {process.returncode}: {' / '.join(filter(None, said))}")
