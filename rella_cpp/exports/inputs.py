"""Histories and items from files: JSON as we write it, and what other services and people write.

What is no JSON is read by modules that are imported only then: a score of JSON waits for none of them.
"""

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.inputs import (
    STANDARD_INPUT,
    History,
    Places,
    history_of,
    items_of,
    json_entries,
    read_file,
    source_name,
)
from rella_cpp.domains.plain_text import decode
from rella_cpp.domains.records import Item
from rella_cpp.errors import InputError
from rella_cpp.exports.signs import may_be_json, may_be_trakt

if TYPE_CHECKING:
    from rella_cpp.domains.inputs import Entry
    from rella_cpp.exports.files import Export
    from rella_cpp.exports.records import Purpose, Taken

_log = logging.getLogger("rella_cpp")
_TITLED = re.compile(r".*\S\s*\(\d{4}\)\s*")
_FILE = re.compile(r".*(/|\\|\.[A-Za-z]\w{0,7}$)")


def read_history(path: str | Path, domain: Domain, *, allow_empty: bool = False, series: bool = False) -> History:
    """Read a history; `-` is stdin.

    It is a list of behaviors, or `{"user": {…}, "history": [ … ]}`, as JSON or JSON Lines; or an export of Letterboxd,
    IMDb, Goodreads, StoryGraph, Trakt, MovieLens or Netflix, plain or zipped; or a table (CSV, TSV) whose columns are
    called as the domain's fields are. What is left out of an export is logged in one line.

    Parameters
    ----------
    series
        Of exports, take titles that are no films, too.

    Raises
    ------
    InputError
        It cannot be read, or a record in it does not fit the domain.

    """
    source, entries = _entries(path, domain, "history", series=series)
    return history_of(entries, source, domain, allow_empty=allow_empty)


def read_items(path: str | Path, domain: Domain, *, series: bool = False) -> tuple[Item, ...]:
    """Read target items; `-` is stdin.

    They are one object or a list of them, as JSON or JSON Lines; or an export, as `read_history` takes it; or titles,
    one a line.

    Raises
    ------
    InputError
        It cannot be read, holds no item, or an item does not fit the domain.

    """
    return read_placed_items(path, domain, series=series)[0]


def read_placed_items(path: str | Path, domain: Domain, *, series: bool = False) -> tuple[tuple[Item, ...], Places]:
    """Read target items as `read_items` does; return where they stood, too."""
    source, entries = _entries(path, domain, "items", series=series)
    return items_of(entries, source, domain)


def read_target(text: str, domain: Domain, *, series: bool = False) -> tuple[tuple[Item, ...], Places]:
    """Read target items from a file, as `read_placed_items` does, or take the title that is given in place of one.

    Raises
    ------
    InputError
        See there.

    """
    if not is_item_title(text):
        if not _FILE.match(text) and not os.path.exists(text) and text != STANDARD_INPUT:
            raise InputError("no such file", source=text, remedy=f"of a title, give its year, too: '{text} (1999)'")
        return read_placed_items(text, domain, series=series)
    return (titled_item(text, domain),), Places(text, (None,))


def is_item_title(text: str) -> bool:
    """Tell a title that was given in place of a file of items: it ends in a year, or has a blank and is no path."""
    try:
        there = text == STANDARD_INPUT or Path(text).exists()
    except (OSError, ValueError):  # too long for a path, say
        there = False
    return not there and bool(_TITLED.fullmatch(text) or (" " in text.strip() and not _FILE.match(text)))


def titled_item(text: str, domain: Domain) -> Item:
    """Make an item of its title, `Aliens (1986)`.

    Raises
    ------
    InputError
        The domain requires other fields.

    """
    from rella_cpp.exports.files import TITLES
    from rella_cpp.exports.records import Reader, Row

    taken = Reader(TITLES, domain, text, "items").take([Row("", {"title": text})])
    items, _ = items_of(taken.entries, text, domain)
    return items[0]


def _entries(path: str | Path, domain: Domain, purpose: "Purpose", *, series: bool) -> "tuple[str, list[Entry]]":
    """Return a file's name for messages, and its records as JSON has them, with their places."""
    source, data = source_name(path), read_file(path)
    export: Export | None = None
    entries: list[Entry] = []
    if data.startswith(b"PK"):
        from rella_cpp.exports.files import find_in_archive, is_archive

        if is_archive(data, path):
            export = find_in_archive(Path(path), domain, purpose)
    if export is None:
        text = decode(data, source)
        if may_be_json(text):
            entries = json_entries(text, source)
            if not may_be_trakt(text):
                return source, entries
            from rella_cpp.exports.files import find_json_export

            export = find_json_export(entries, source)
        else:
            from rella_cpp.exports.files import find_export

            export = find_export(text, source, Path(path).name, domain)
            if export is None:
                entries = json_entries(text, source)  # says what is wrong with it
    if export is None:
        return source, entries
    return export.source, take(export, domain, purpose, series=series)


def take(
    export: "Export", domain: Domain, purpose: "Purpose", *, series: bool = False, people: bool = False
) -> "list[Entry]":
    """Return an export's records as our JSON has them; log what was taken. With `people` they may be several's.

    Raises
    ------
    InputError
        It is of other things than the domain's, nothing of it is taken, or a row in it is refused.

    """
    from rella_cpp.exports.files import TITLES
    from rella_cpp.exports.recognition import check_kind, check_spelling
    from rella_cpp.exports.records import Reader

    check_spelling(export.header, export.format, domain, export.source)
    check_kind(export.format, domain, export.source)
    if purpose == "history" and export.format is TITLES:
        raise InputError(
            f"is a list of titles, and no history: it says nothing of ratings ({len(export.rows)} lines)",
            source=export.source,
            remedy="give it as --items; of a history, a table with the columns title and rating",
        )
    if purpose == "history" and not export.format.history and not export.format.wishes:
        raise InputError(
            f"is {export.format.name} without ratings and dates, which is no history",
            source=export.source,
            remedy="give it as --items; of a history, call columns rating and date",
        )
    taken = Reader(export.format, domain, export.source, purpose, series, people).take(export.rows)
    line = said(export, taken, purpose)
    if not taken.entries and taken.rows:
        raise InputError(
            f"({export.format.name}) holds nothing to take: {line.partition(': ')[2]}",
            source=export.source,
            remedy="give another file, or --series for what is no film" if taken.others else "give another file",
        )
    if taken.rows and (export.format is not TITLES or taken.left_out):
        _log.info("%s", line)
    return taken.entries


def said(export: "Export", taken: "Taken", purpose: "Purpose") -> str:
    """Say in one line what was taken of a file, what was left out, and what its ratings mean."""
    from rella_cpp.exports.cells import one_of

    count, unit = len(taken.entries), "behavior" if purpose == "history" else "item"
    more = f"; {export.more}" if export.more else ""
    parts = [f"{_counted(taken.rows, 'row')}, {_counted(count, unit)}"]
    if taken.left_out:
        reasons = [
            f"{n:,} {why if n > 1 else one_of(why)}{f' ({first})' if first else ''}"
            for why, (n, first) in taken.left_out.items()
        ]
        parts.append(f"left out {', '.join(reasons)}")
    return f"{export.source} ({export.format.name}{more}): {'; '.join([*parts, *taken.notes])}"


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
