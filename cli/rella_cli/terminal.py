"""Printing: results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rella_gguf.errors import one_line

_NARROWEST, _USUAL = 20, 80  # on a terminal of no width, rich would print nothing at all


def console() -> Console:
    """Return the console for results. Nothing is read as markup: what is shown comes from files."""
    out = Console(markup=False, highlight=False, emoji=False)
    return out if out.width >= _NARROWEST else Console(markup=False, highlight=False, emoji=False, width=_USUAL)


def printable(text: str) -> str:
    """Take control characters but line breaks out of a text from an untrusted file: a terminal would obey them."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def print_json(value: object) -> None:
    """Print one JSON object as one line, numbers in full precision."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def note(text: str) -> None:
    """Print a hint or a warning on stderr: one line, wrapped only on a terminal."""
    error = Console(stderr=True, markup=False, highlight=False, emoji=False)
    error.print(Text(one_line(text), style="dim"), soft_wrap=not error.is_terminal)


def count(number: int, noun: str) -> str:
    """Write a number and its noun: `1 behavior`, `2 behaviors`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def facts(values: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(Text(name), Text(printable(value)))
    out = console()
    # What another program reads is not folded: a path stays one word.
    if not out.is_terminal:
        longest = max((len(line) for value in values.values() for line in value.splitlines()), default=0)
        out.width = max(out.width, longest + max(map(len, values), default=0) + 4)
    out.print(table)
