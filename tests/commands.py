"""Runs a command as the terminal would, in this process."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from rella_cli.main import main


class Result(NamedTuple):
    code: object
    out: str
    err: str

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Result]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(caught.value.code, captured.out, captured.err)

    return run


def run_python(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def kill_when_written(command: Sequence[object], part: Path) -> None:
    """Start a command, and kill it with -9 as soon as its first group of lines is on the disk."""
    nothing = subprocess.DEVNULL
    process = subprocess.Popen([str(word) for word in command], stdout=nothing, stderr=nothing)
    while process.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert part.stat().st_size, "it ended before it could be killed"
