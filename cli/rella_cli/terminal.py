"""Printing: results on stdout, everything else on stderr."""

import json
import sys

from rich.console import Console
from rich.text import Text


def console() -> Console:
    """Return the console for results. Nothing is read as markup: what is shown comes from files."""
    return Console(markup=False, highlight=False, emoji=False)


def print_json(value: object) -> None:
    """Print one JSON object as one line, numbers in full precision."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def note(text: str) -> None:
    """Print a hint or a warning on stderr: one line, wrapped only on a terminal."""
    error = Console(stderr=True, markup=False, highlight=False, emoji=False)
    error.print(Text(text, style="dim"), soft_wrap=not error.is_terminal)


def count(number: int, noun: str) -> str:
    """Write a number and its noun: `1 behavior`, `2 behaviors`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
