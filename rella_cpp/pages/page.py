"""A page: head, style, and tables that sort at a click; light and dark, and readable on a phone."""

import html
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rella_cpp.errors import InputError
from rella_gguf.files import new_file, refuse_existing
from rella_gguf.shown import harmless

_START = "<!doctype html>"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --for: #1a7f37; --against: #b3261e; --bar: #4c7fd0; }
@media (prefers-color-scheme: dark) { :root { --for: #57d07b; --against: #ff8a80; --bar: #7aa5ea; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } td.number { white-space: nowrap; }
td:not(.number) { min-width: 9rem; } td:last-child:not(.number):not(:first-child) { min-width: 15rem; }
td.number small { display: block; } small, .caveat { opacity: .75; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid var(--bar); }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
.plots { margin-top: 1.5rem; display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
.plots figure { margin: 0; background: #fff; border-radius: .5rem; border: 1px solid var(--line); }
.plots svg { width: 100%; height: auto; display: block; }
@media (max-width: 40rem) { .wide { display: none; } th, td { padding: .3rem .4rem; } }
meter { width: 8rem; max-width: 16vw; } .shade { padding: .1rem .4rem; border-radius: .3rem; }
"""
_SORT = """
for (const table of document.querySelectorAll("table.sortable"))
  table.querySelectorAll("th").forEach((head, at) => head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    table.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[at].dataset.value ?? row.cells[at].textContent;
    const number = (text) => (text === "" || isNaN(text) ? null : Number(text));
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)], [m, n] = [number(x), number(y)];
      return m !== null && n !== null ? m - n : x.localeCompare(y);
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? order(b, a) : order(a, b)));
    table.tBodies[0].append(...rows);
  }));
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: its HTML, what it sorts by (None: its text), and whether it is a number.

    A `wide` one is left out on a phone: what it says stands elsewhere on the page, too.
    """

    markup: str
    value: float | None = None
    number: bool = False
    wide: bool = False

    @property
    def classes(self) -> str:
        """How it is styled, as an attribute."""
        names = " ".join(name for name, there in (("number", self.number), ("wide", self.wide)) if there)
        return f' class="{names}"' if names else ""


def text(value: object) -> str:
    """Return text for a page: escaped, its control characters shown harmless."""
    return html.escape(harmless(str(value)))


def preformatted(value: str) -> str:
    """Return text of several lines for a page, as it stands."""
    return f"<pre>{html.escape(harmless(value, lines=True))}</pre>"


def number_cell(value: float | None, shown: str, more: str = "") -> Cell:
    """Return a cell for a number; "–" where there is none."""
    small = f" <small>{text(more)}</small>" if more else ""
    return Cell("–" if value is None else f"{text(shown)}{small}", value, number=True)


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: Sequence[int] = (), wide: Sequence[int] = ()
) -> str:
    """Return a table that sorts by each column.

    Parameters
    ----------
    heads
        The columns' names.
    rows
        Their cells.
    numbers
        Which columns are numbers.
    wide
        Which are left out on a phone; their cells are `wide`, too.

    """
    named = [Cell(text(name), number=at in numbers, wide=at in wide) for at, name in enumerate(heads)]
    top = "".join(f"<th{head.classes}><button>{head.markup}</button></th>" for head in named)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(cell: Cell) -> str:
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    return f"<td{cell.classes}{value}>{cell.markup}</td>"


def details(summary: str, markup: str) -> str:
    """Return what is shown when its summary is opened."""
    return f"<details><summary>{text(summary)}</summary>{markup}</details>"


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page."""
    return (
        f'{_START}<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{text(title)}</h1>{''.join(parts)}<script>{_SORT}</script></body></html>\n"
    )


def refuse_page(path: Path, *, force: bool = False) -> None:
    """Refuse a page that cannot be written, before any work is done for it.

    Raises
    ------
    InputError
        It is a folder, or is there already and `force` is False, or is no page.

    """
    refuse_output(path, (_START,), "page", force=force)


def refuse_output(path: Path, starts: Sequence[str], noun: str, *, force: bool) -> None:
    """Refuse a file that cannot be written, or would take the place of one that does not begin as its kind does.

    Raises
    ------
    InputError
        It is a folder or no file, or there already, or its folder is not there or cannot be written to.

    """
    if str(path) == "-":
        raise InputError("a page goes to a file", source=path, remedy="name one")
    if path.is_dir():
        raise InputError("is a folder", source=path, remedy="name a file")
    if not path.parent.is_dir():
        raise InputError("there is no such folder", source=path.parent, remedy="make it, or name another")
    if not os.access(path.parent, os.W_OK):
        raise InputError("cannot be written to", source=path.parent, remedy="name another folder")
    if not force:
        refuse_existing(path)
    elif os.path.lexists(path) and not (path.is_file() and _begins(path, starts)):
        raise InputError(f"is not a {noun}, so it is not overwritten", source=path, remedy="name another file")


def _begins(path: Path, starts: Sequence[str]) -> bool:
    with path.open("rb") as file:
        start = file.read(max(map(len, starts)))
    return any(start.startswith(each.encode()) for each in starts)


def save_page(path: Path, markup: str) -> None:
    """Write a page; it appears when it is complete."""
    with new_file(path) as file:
        file.write(markup.encode())
