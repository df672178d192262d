"""Printing: results on stdout, everything else on stderr; nothing from a file as it is."""

import sys
from collections.abc import Iterable, Mapping

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rella_gguf.shown import harmless, json_line, one_line

_NARROWEST, _USUAL = 20, 80  # on a terminal of no width, rich would print nothing at all


class _Console(Console):
    """Shows nothing that a terminal would obey, whatever a view forgot, and reads nothing as markup."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=harmless(segment.text, lines=True))


def console(*, stderr: bool = False) -> Console:
    """Return the console for results, or for everything else."""
    out = _Console(stderr=stderr)
    return out if out.width >= _NARROWEST else _Console(stderr=stderr, width=_USUAL)


def line(text: str, style: str = "") -> Text:
    """Make a text to print of what comes from a file: one line, harmless, nothing in it markup."""
    return Text(harmless(text), style=style)


def lines(text: str, style: str = "") -> Text:
    """Make such a text that may have several lines."""
    return Text(harmless(text, lines=True), style=style)


def print_json(value: object) -> None:
    """Print one JSON object as one line, numbers in full precision."""
    sys.stdout.write(json_line(value))


def note(text: str) -> None:
    """Print a hint or a warning on stderr: one line, wrapped only on a terminal."""
    error = console(stderr=True)
    error.print(line(one_line(text), "dim"), soft_wrap=not error.is_terminal)


def count(number: int, noun: str) -> str:
    """Write a number and its noun: `1 behavior`, `2 behaviors`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def facts(values: Mapping[str, str | tuple[str, ...]]) -> None:
    """Print names and values in two columns; a value is one line, or several."""
    rows = {name: (value,) if isinstance(value, str) else value for name, value in values.items()}
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, told in rows.items():
        table.add_row(line(name), lines("\n".join(map(harmless, told))))
    out = console()
    # What another program reads is not folded: a path stays one word.
    if not out.is_terminal:
        longest = max((len(harmless(each)) for told in rows.values() for each in told), default=0)
        out.width = max(out.width, longest + max(map(len, rows), default=0) + 4)
    out.print(table)
