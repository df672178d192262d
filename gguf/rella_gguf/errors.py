"""The root of the error tree; `rella_cpp.errors` re-exports it and adds the engine's leaves.

RellaError
├── InputError        something the user gave is wrong (exit code 2)
│   └── GGUFError     a file is no usable GGUF model or adapter
└── EngineError       llama.cpp failed at run time (exit code 1; defined in rella_cpp.errors)
"""

from pathlib import Path
from typing import Self

from rella_gguf.shown import one_line


class RellaError(Exception):
    """Base of every error that this project raises on purpose."""


class InputError(RellaError):
    """Something the user gave is wrong.

    Parameters
    ----------
    finding
        What was found, as a sentence without its full stop.
    source
        The file (or `standard input`, or an option) where it was found.
    place
        Where in the source: `line 3, column 7`, `behavior 4`.
    remedy
        What would be right.

    """

    def __init__(
        self,
        finding: str,
        *,
        source: str | Path | None = None,
        place: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.finding = finding
        self.source = None if source is None else str(source)
        self.place = place
        self.remedy = remedy
        where = ", ".join(part for part in (self.source, place) if part)
        text = f"{where}: {finding}" if where else finding
        super().__init__(one_line(f"{text}; {remedy}" if remedy else text))

    def located(self, source: str | Path | None = None, place: str | None = None) -> Self:
        """Return this error with its source and place filled in, where they are still missing."""
        return type(self)(self.finding, source=self.source or source, place=self.place or place, remedy=self.remedy)


class GGUFError(InputError):
    """A file is no usable GGUF: not one at all, truncated, or of another kind than asked for."""
