"""Rows of JSON tables: an object on each line, or one list of objects, of which one is in memory at a time."""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.datasets.tables.streams import LONGEST_LINE, MOST_BROKEN, lines_of, too_long
from rella_cpp.domains.plain_text import PYTHON_REMEDY, is_python, is_utf8, not_utf8
from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError

Row = tuple[str, dict[str, Any] | str]
"""Where a row stands, and its object or what is wrong with it."""
Objects = Callable[[SourceFile], Iterator[Row]]
_BLANK = re.compile(r"[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
_DECODE = json.JSONDecoder().raw_decode
_BLOCK = 1 << 20
_GO_ON = ("", *"0123456789.eE+-")
_REMEDY = "mend the file; a table is a list of objects, or an object on each line"


def json_lines(file: SourceFile) -> Iterator[Row]:
    """Give every line that is not blank.

    Raises
    ------
    InputError
        A line is too long, or a dict that Python printed.

    """
    with file.open_text() as stream:
        yield from _few_broken(_lines(stream, file.name), file.name)


def _few_broken(rows: Iterator[Row], source: str) -> Iterator[Row]:
    """Give rows; refuse a file most of whose rows are broken, where they are so many that they take memory."""
    broken = 0
    for number, (place, value) in enumerate(rows, 1):
        broken += isinstance(value, str)
        if broken > MOST_BROKEN and 2 * broken > number:
            raise InputError(str(value), source=source, place=place, remedy="most rows are broken: mend the file")
        yield place, value


def _lines(stream: BinaryIO, source: str) -> Iterator[Row]:
    for number, line in enumerate(lines_of(stream, source), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            yield f"line {number}", _wrong(line, source, f"line {number}")
            continue
        yield f"line {number}", value if isinstance(value, dict) else "is no object"


def _wrong(line: bytes, source: str, place: str) -> str:
    """Say what is wrong with a line that is no JSON; refuse one that Python printed, since all of them are then."""
    if not is_utf8(line):
        return "is not in UTF-8"
    if is_python(line[:1000].decode(errors="replace")):
        raise InputError(
            "is what Python prints, not JSON (its texts stand in single quotes)",
            source=source,
            place=place,
            remedy=PYTHON_REMEDY,
        )
    return "is not JSON"


def json_rows(file: SourceFile) -> Iterator[Row]:
    """Give every entry of the list that a file holds, or every line of one that has an object on each.

    Raises
    ------
    InputError
        It holds something else, or a row is too long.

    """
    with file.open_text() as stream:
        first = b"\n"
        while first and not first.strip():
            first = stream.readline(LONGEST_LINE + 1)
        several = first.lstrip()[:1] == b"{" and any(line.strip() for line in lines_of(stream, file.name))
    if first.lstrip()[:1] == b"{" and len(first) > LONGEST_LINE:
        raise too_long(file.name, "line 1")
    if several and (_is_object(first) or is_python(first[:1000].decode(errors="replace"))):
        yield from json_lines(file)
        return
    with file.open_text() as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="strict")
        try:
            rows = enumerate(_entries(text, file.name), 1)
            told = ((f"row {n}", value if isinstance(value, dict) else "is no object") for n, value in rows)
            yield from _few_broken(told, file.name)
        except UnicodeDecodeError as error:
            raise not_utf8(error.object[error.start : error.start + 20], file.name) from None
        finally:
            text.detach()


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


class _Buffer:
    """A part of a text, from `at` on; before it stand `lines`, and `before` characters of its first one."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.part, self.at, self.ended = "", 0, False
        self.lines = self.before = 0

    def more(self, count: int) -> None:
        """Drop what is read, and append some characters."""
        self.lines += self.part.count("\n", 0, self.at)
        start = self.part.rfind("\n", 0, self.at)
        self.before = self.before + self.at if start < 0 else self.at - start - 1
        block = self._text.read(count)
        self.ended = not block
        self.part, self.at = self.part[self.at :] + block, 0

    def character(self) -> str:
        """Return the next character that is no blank; empty: there is none."""
        while True:
            self.at = _BLANK.match(self.part, self.at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if self.at < len(self.part) or self.ended:
                return self.part[self.at : self.at + 1]
            self.more(_BLOCK)


def _entries(text: io.TextIOWrapper, source: str) -> Iterator[object]:
    """Give the entries of a list of JSON, one by one."""
    buffer = _Buffer(text)
    if buffer.character() != "[":
        raise _no_list(buffer, source)
    buffer.at += 1
    number, end = 0, buffer.character() == "]"
    while not end:
        number += 1
        if (quick := _quickly(buffer)) is not None:
            yield quick[0]
            continue
        yield _entry(buffer, source, f"row {number}")  # at the end of what is in the buffer
        mark = buffer.character()
        if mark not in (",", "]") or not mark:
            raise _no_json(buffer, buffer.at, "Expecting ',' delimiter", source)
        end = mark == "]"
        buffer.at += 1
        buffer.character()
    if not number:
        buffer.at += 1
    if buffer.character():
        raise _no_json(buffer, buffer.at, "Extra data", source)


def _quickly(buffer: _Buffer) -> tuple[object] | None:
    """Take an entry and the comma behind it, where both are in the buffer; else leave it to be looked at closely."""
    try:
        value, at = _DECODE(buffer.part, buffer.at)
    except (ValueError, RecursionError):
        return None
    comma = _COMMA.match(buffer.part, at)
    if comma is None:
        return None
    buffer.at = comma.end()
    return (value,)


def _entry(buffer: _Buffer, source: str, place: str) -> object:
    buffer.character()
    size = _BLOCK
    while True:
        try:
            value, at = _DECODE(buffer.part, buffer.at)
            if buffer.ended or buffer.part[at : at + 1] not in _GO_ON:  # a number may, an object may not
                buffer.at = at
                return value
        except json.JSONDecodeError as error:
            if buffer.ended:
                raise _no_json(buffer, error.pos, error.msg, source) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"is not JSON ({error})", source=source, place=place, remedy=_REMEDY) from None
        if len(buffer.part) - buffer.at > LONGEST_LINE:
            raise too_long(source, place)
        buffer.more(size)
        size *= 2


def _no_list(buffer: _Buffer, source: str) -> InputError:
    """Say what stands in place of a list."""
    buffer.more(LONGEST_LINE)
    whole = buffer.part
    if is_python(whole):
        told = "is what Python prints, not JSON (its texts stand in single quotes)"
        return InputError(told, source=source, remedy=PYTHON_REMEDY)
    try:
        found = describe(json.loads(whole))
    except json.JSONDecodeError as error:
        return _no_json(buffer, error.pos, error.msg, source)
    except (ValueError, RecursionError) as error:
        return InputError(f"is not JSON ({error})", source=source, remedy=_REMEDY)
    return InputError(f"is {found}", source=source, remedy="give a list of objects, one for each row")


def _no_json(buffer: _Buffer, at: int, told: str, source: str) -> InputError:
    line = buffer.lines + buffer.part.count("\n", 0, at) + 1
    start = buffer.part.rfind("\n", 0, at)
    column = at - start + (buffer.before if start < 0 else 0)
    if is_python(buffer.part[:1000]):
        told = "it is what Python prints: texts in single quotes"
    return InputError(f"is not JSON ({told})", source=source, place=f"line {line}, column {column}", remedy=_REMEDY)
