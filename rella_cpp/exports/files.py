"""Files of exports: tables of text, JSON of Trakt, lists of titles, and archives of all of these."""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from rella_cpp.datasets.tables.delimited_text import (
    Dialect,
    column_names,
    delimited_rows,
    delimiter_between,
    dialect_of,
)
from rella_cpp.datasets.tables.sources import SourceFile, list_files, listed
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.inputs import Entry, json_entries
from rella_cpp.domains.plain_text import decode
from rella_cpp.errors import InputError
from rella_cpp.exports.formats import FORMATS, Format, key
from rella_cpp.exports.recognition import fits, format_of, unknown_header
from rella_cpp.exports.records import Purpose, Row
from rella_cpp.exports.signs import may_be_json, may_be_trakt
from rella_cpp.exports.trakt import is_trakt, trakt_rows

_YEAR_AT_END = re.compile(r'\(\d{4}\)\s*"?\s*$')
_LONGEST_TITLE = 300
_MOST_COLUMNS = 1000
_SEPARATOR = re.compile(r"sep=([;,|\t])", re.IGNORECASE)
_MARK = re.compile(r"^(?:[-*•]|\d{1,3}[.)])\s+")
"""What stands before a title in a list."""
_FEW = 50
_ELSEWHERE = ("deleted", "orphaned", "likes", "lists", "comments")
"""Folders of an archive with what is no longer, or not, one's own."""
_MOST_MEMBERS = 500
_START = 1 << 16
TITLES = Format("titles", (), {"title": ("title",)})


@dataclass(frozen=True, slots=True)
class Export:
    """A file of a known format, and its rows.

    `source` names it in messages, `more` says what it was chosen from; `header` has a table's columns.
    """

    format: Format
    source: str
    rows: list[Row]
    more: str = ""
    header: tuple[str, ...] = ()


def find_export(text: str, source: str, name: str, domain: Domain) -> Export | None:
    """Return what a text that is no JSON holds; None where it is neither a table nor a list of titles.

    Raises
    ------
    InputError
        It is a table, but its header is not known.

    """
    text = text.removeprefix("\ufeff")
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and (sign := _SEPARATOR.fullmatch(lines[0].strip())):  # Excel's word to itself
        text, lines = text.partition("\n")[2], lines[1:]
        name = f"{name}.tsv" if sign[1] == "\t" else name
    if not lines or may_be_json(text):
        return None
    usual = "\t" if name.lower().endswith((".tsv", ".tab")) else ","
    header = next(delimited_rows(io.StringIO(text, newline=""), Dialect(usual), source))[1]
    dialect = Dialect(delimiter_between([each.strip() for each in header], usual))
    rows = delimited_rows(io.StringIO(text, newline=""), dialect, source)
    header = next(rows)[1]
    columns = tuple(each.strip() for each in header)
    if len(columns) > _MOST_COLUMNS:
        raise InputError(
            f"has {len(columns):,} columns", source=source, place="line 1", remedy="give a table of ratings"
        )
    found = format_of(columns, name, domain)
    if found is not None:
        return Export(found, source, list(_table_rows(rows, header, source)), header=columns)
    if 2 * sum(map(bool, map(_YEAR_AT_END.search, lines))) > len(lines):
        return _titles(text, source)
    few = [fields for (_, fields, _), _ in zip(rows, range(_FEW), strict=False)]
    if len(header) > 1 and few and all(len(fields) == len(header) for fields in few):
        raise unknown_header([each.strip() for each in header], domain, source)
    if name.lower().endswith(".txt") and max(map(len, lines)) <= _LONGEST_TITLE:
        return _titles(text, source)
    return None


def _table_rows(rows: Iterator[tuple[int, list[str], list[str]]], header: Sequence[str], source: str) -> Iterator[Row]:
    keys = [key(each) for each in header]
    cut = None
    for line, fields, raw in rows:
        cut = line if len(raw) > 1 and len(fields) != len(keys) else None
        if len(fields) != len(keys):
            yield Row(f"line {line}", broken=f"{len(fields)} fields in place of {len(keys)}")
        else:
            yield Row(f"line {line}", dict(zip(reversed(keys), reversed(fields), strict=True)))  # the first of a name
    if cut is not None:  # all that follows stands in one field
        raise InputError(
            "a quote opens and does not close", source=source, place=f"line {cut}", remedy="mend the row, or double it"
        )


def _titles(text: str, source: str) -> Export:
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    marked = all(_MARK.match(line) for _, line in lines)
    rows = [
        Row(f"line {number}", {"title": _unquoted(_MARK.sub("", line) if marked else line)}) for number, line in lines
    ]
    return Export(TITLES, source, rows)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def find_json_export(entries: Sequence[Entry], source: str) -> Export | None:
    """Return what JSON holds that another service wrote; None where it is a history, or items, as we write them."""
    if not is_trakt(entries):
        return None
    rows = trakt_rows(entries)
    seen = {name for row in rows[:_FEW] for name in row.cells}
    named = [each for each in FORMATS if each.name.startswith("Trakt") and each.known <= seen]
    return Export(named[0], source, rows) if named else None


def find_in_archive(path: Path, domain: Domain, purpose: Purpose) -> Export:
    """Return the richest export in a zip archive.

    Raises
    ------
    InputError
        It is damaged, or holds none.

    """
    if (export := richest_in(path, domain, purpose)) is not None:
        return export
    names = list_files(path)[1]
    there = (", ".join(names[:5]) or "no file") + (" …" if len(names) > 5 else "")
    services = sorted({each.name.split()[0] for each in FORMATS})
    raise InputError(
        f"holds no {'history' if purpose == 'history' else 'export'} that is known; it has {there}",
        source=path,
        remedy=f"known are exports of {', '.join(services)}, and tables with a title",
    )


def richest_in(path: Path, domain: Domain, purpose: Purpose) -> Export | None:
    """Return the richest export in a zip archive, named with what else there is; None where there is none.

    Raises
    ------
    InputError
        It is damaged.

    """
    found: list[tuple[tuple[int, int, bool, str], Export]] = []
    for name in _members(list_files(path)[1]):
        if (export := _member(path, name, domain)) is not None:
            rank = export.format.history if purpose == "history" else export.format.items
            if rank and (export.rows or purpose == "items"):
                found.append(((rank, len(PurePosixPath(name).parts), "movie" not in name, name), export))
    found = [each for each in found if fits(each[1].format, domain)] or found
    if not found:
        return None
    found.sort(key=lambda each: each[0])
    best = found[0][1]
    if not best.rows:
        raise InputError(
            "holds no rows", source=best.source, remedy="give another file; what was rated is no watchlist"
        )
    others = [PurePosixPath(name).name for (_, _, _, name), _ in found]
    return replace(best, more=f"the richest of {listed(others)}" if len(others) > 1 else "")


def _members(names: Sequence[str]) -> list[str]:
    wanted = [name for name in names if name.lower().endswith((".csv", ".tsv", ".json"))]
    return [name for name in wanted if not set(PurePosixPath(name).parts[:-1]) & set(_ELSEWHERE)][:_MOST_MEMBERS]


def _member(path: Path, name: str, domain: Domain) -> Export | None:
    """Return the export that a file of an archive is; of others no more than the beginning is read."""
    file = SourceFile(PurePosixPath(name).name, name, path)
    source = f"{path}, {file.name}"
    is_table = not name.lower().endswith(".json")
    with file.open() as stream:
        start = stream.read(_START)
        if not (_has_header(start, file, domain) if is_table else may_be_trakt(start.decode(errors="replace"))):
            return None
        text = decode(start + stream.read(), source)
    if is_table:
        return find_export(text, source, file.name, domain)
    try:
        return find_json_export(json_entries(text, source), source)
    except InputError:  # JSON of something else, damaged or not
        return None


def _has_header(start: bytes, file: SourceFile, domain: Domain) -> bool:
    """Tell whether a table that begins so has a header that is known."""
    try:
        header = column_names(file, dialect_of(file, "\t" if file.table_name.endswith(".tsv") else ","))
    except InputError:  # no text, or no table
        return False
    return bool(start.strip()) and format_of(header, file.name, domain) is not None


def is_archive(data: bytes, path: str | Path) -> bool:
    """Tell whether a file that was read is a zip archive that is no sheet or document of an office."""
    if not data.startswith((b"PK\x03\x04", b"PK\x05\x06")) or not Path(path).is_file():
        return False
    return b"[Content_Types].xml" not in data[:2000] and b"mimetypeapplication/" not in data[:200]
