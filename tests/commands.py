"""Runs a command as the terminal would, in this process."""

import json
import subprocess
import sys
from collections.abc import Callable
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
