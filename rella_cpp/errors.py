"""The error tree.

RellaError
├── InputError        something the user gave is wrong (exit code 2)
│   ├── GGUFError     a file is no usable GGUF model or adapter
│   ├── ContextError  a prompt does not fit the context, and nothing in it may be left out
│   └── FaultsError   a file has several faults, each with a line of its own
└── EngineError       llama.cpp failed at run time, or cannot do what is asked (exit code 1)

A programmer's wrong argument stays `ValueError` or `TypeError`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from rella_gguf.errors import GGUFError, InputError, RellaError

__all__ = ["ContextError", "EngineError", "FaultsError", "GGUFError", "InputError", "RellaError"]


class ContextError(InputError):
    """A prompt does not fit the context, and nothing in it may be left out."""


class FaultsError(InputError):
    """A file has several faults.

    Parameters
    ----------
    faults
        What is wrong, two or more. As text each has a line of its own, in this order.

    """

    def __init__(self, faults: Iterable[InputError]) -> None:
        self.faults = tuple(faults)
        first = self.faults[0]
        super().__init__(first.finding, source=first.source, place=first.place, remedy=first.remedy)
        self.args = ("\n".join(map(str, self.faults)),)

    def located(self, source: str | Path | None = None, place: str | None = None) -> Self:
        """Return these faults, each with its source and place filled in where they are still missing."""
        return type(self)(fault.located(source, place) for fault in self.faults)


def faults_of(error: InputError) -> tuple[InputError, ...]:
    """Return the faults that an error stands for: its own, or itself."""
    return error.faults if isinstance(error, FaultsError) else (error,)


def refuse(faults: Iterable[InputError]) -> None:
    """Raise the fault, or all of them together; nothing where there is none."""
    found = [each for fault in faults for each in faults_of(fault)]
    if len(found) == 1:
        raise found[0]
    if found:
        raise FaultsError(found)


class EngineError(RellaError):
    """llama.cpp failed at run time, or the installed llama-cpp-python cannot do what is asked."""
