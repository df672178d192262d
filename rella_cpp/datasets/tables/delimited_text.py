"""Delimited text (CSV and its kin) as columns of given types.

pyarrow reads a whole file at once. Only where it cannot are the rows looked at one by one, to find the broken ones.
"""

import csv
import io
import re
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, Literal, cast

import pyarrow as pa
from pyarrow import csv as arrow_csv

from rella_cpp.datasets.tables.sheets import Sheet, Told
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.datasets.tables.streams import LONGEST_LINE, MOST_BROKEN, too_long
from rella_cpp.domains.plain_text import not_utf8
from rella_cpp.errors import InputError

Kind = Literal["int32", "int64", "float32", "text"]

_WHOLE = {"int32": re.compile(r"\s*-?\d{1,9}\s*"), "int64": re.compile(r"\s*-?\d{1,18}\s*")}
_FLOAT = re.compile(r"\s*-?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?\s*")
_BLOCK = 1 << 24
_NOT_ENCODED = "is not in the file's encoding"
_DELIMITERS = (",", ";", "\t", "|")
_IN_MEMORY = 1 << 26


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file of rows is written.

    `names` are the columns of a file without a header; `separator`, where set, stands between fields in place of the
    one-character `delimiter`.
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    names: tuple[str, ...] = ()
    separator: bytes = b""


def read_delimited(file: SourceFile, dialect: Dialect, columns: Mapping[str, Kind]) -> Sheet:
    """Read some columns of a file. Rows with another number of fields, or no number where one belongs, are broken.

    Raises
    ------
    InputError
        A column is missing, or the file cannot be read at all.

    """
    header = dialect.names or _header(file, dialect)
    names = _tidy(header)
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(
            f"has no column {' and no column '.join(missing)}",
            source=file.name,
            remedy=f"its columns are {', '.join(names) or 'none'}",
        )
    refuse_twice(file.name, names, columns)
    place = partial(_place, file, dialect)
    try:
        with _stream(file, dialect) as stream:
            return Sheet(file.name, _parse(stream, dialect, header, columns), place)
    except pa.ArrowInvalid as error:
        reason = str(error)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as whole:
        removed, broken, told = _screen(file, dialect, names, columns, cast(BinaryIO, whole))
        whole.seek(0)
        try:
            if not removed:
                raise pa.ArrowInvalid(reason)
            sheet = Sheet(file.name, _parse(cast(BinaryIO, whole), dialect, header, columns), place, removed, broken)
        except pa.ArrowInvalid as error:
            raise InputError(f"cannot be read: {error}", source=file.name, remedy="mend the file") from None
    for kind, words in told.items():
        sheet.explain(kind, words)
    return sheet


def _parse(stream: BinaryIO, dialect: Dialect, header: Sequence[str], columns: Mapping[str, Kind]) -> dict[str, object]:
    table = arrow_csv.read_csv(stream, **_settings(dialect, header, columns)).rename_columns(list(columns))
    found = {}
    for name, kind in columns.items():
        chunks = table[name]
        found[name] = chunks.combine_chunks() if kind == "text" else chunks.to_numpy()
        table = table.drop_columns([name])  # at 25 million rows, one copy of a column is enough
    return found


def _settings(dialect: Dialect, header: Sequence[str], columns: Mapping[str, Kind]) -> dict[str, Any]:
    """Return pyarrow's options for a file and some of its columns, which it gives as the header writes them."""
    written = dict(zip(_tidy(header), header, strict=True))
    return {
        "read_options": arrow_csv.ReadOptions(
            column_names=dialect.names or None, encoding=dialect.encoding, block_size=_BLOCK
        ),
        "parse_options": arrow_csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            double_quote=bool(dialect.quote) and not dialect.escape,
            escape_char=dialect.escape or False,
            newlines_in_values=bool(dialect.quote),
        ),
        "convert_options": arrow_csv.ConvertOptions(
            column_types={written[name]: pa.string() if kind == "text" else kind for name, kind in columns.items()},
            include_columns=[written[name] for name in columns],
            null_values=[],  # an empty field is no number, and NULL is text
        ),
    }


def delimited_parts(file: SourceFile, dialect: Dialect, columns: Sequence[str]) -> Iterator[Sheet]:
    """Give some columns of a file as texts, some rows at a time; a row's number is that in the whole file.

    Raises
    ------
    InputError
        A row has another number of fields, or the file cannot be read at all.

    """
    place = partial(_place, file, dialect)
    header = dialect.names or _header(file, dialect)
    names = _tidy(header)
    refuse_twice(file.name, names, columns)
    try:
        with _stream(file, dialect) as stream:
            for batch in arrow_csv.open_csv(stream, **_settings(dialect, header, dict.fromkeys(columns, "text"))):
                yield Sheet(file.name, dict(zip(columns, batch.columns, strict=True)), place)
    except pa.ArrowInvalid as error:
        checks = [(names.index(name), _checker(name, "text")) for name in columns]
        for row, (line, fields, _) in enumerate(_rows(file, dialect), 0 if dialect.names else -1):
            if row >= 0 and (wrong := _wrong(fields, len(names), checks)) is not None:
                raise InputError(wrong, source=file.name, place=f"line {line}", remedy="mend the row") from None
        raise InputError(f"cannot be read: {error}", source=file.name, remedy="mend the file") from None


@contextmanager
def _stream(file: SourceFile, dialect: Dialect) -> Iterator[BinaryIO]:
    if dialect.encoding == "utf-8":
        with file.open_text() as stream:
            yield stream
        return
    with file.open() as stream:
        if dialect.separator:
            yield io.BytesIO(stream.read().replace(dialect.separator, dialect.delimiter.encode()))
        else:
            yield stream


class _Lines:
    """A file's lines as text; `taken` are those that the current row took so far."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.taken.append(line)
            yield line


def _bounded(text: io.TextIOBase, source: str) -> Iterator[str]:
    """Give the lines of a text, none of which may be longer than 16 MiB."""
    for number, line in enumerate(iter(partial(text.readline, LONGEST_LINE + 1), ""), 1):
        if len(line) > LONGEST_LINE:
            raise too_long(source, f"line {number}")
        yield line


def _rows(file: SourceFile, dialect: Dialect) -> Generator[tuple[int, list[str], list[str]]]:
    """Give every row of a file as `delimited_rows` does."""
    with _stream(file, dialect) as stream:
        # Not closed by the wrapper: the stream has its own owner.
        text = io.TextIOWrapper(stream, encoding=dialect.encoding, errors="surrogateescape", newline="")
        try:
            yield from delimited_rows(text, dialect, file.name)
        finally:
            text.detach()


def delimited_rows(text: io.TextIOBase, dialect: Dialect, source: str) -> Generator[tuple[int, list[str], list[str]]]:
    """Give every row but empty lines, the header among them: its first line (from 1), its fields, its raw lines.

    Raises
    ------
    InputError
        A line is too long, or a quote never closes.

    """
    lines = _Lines(_bounded(text, source))
    reader = csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape,
        doublequote=not dialect.escape,
    )
    number = 1
    try:
        for fields in reader:
            if fields:
                yield number, fields, lines.taken
            number, lines.taken = reader.line_num + 1, []
    except csv.Error as error:  # above all a quote that opens a field and never closes it
        raise InputError(
            f"cannot be read ({error})",
            source=source,
            place=f"line {number}",
            remedy="mend the row: perhaps a quote opens and does not close",
        ) from None


def column_names(file: SourceFile, dialect: Dialect) -> tuple[str, ...]:
    """Return the names in a file's first row, without blanks around them."""
    return _tidy(_header(file, dialect))


def _header(file: SourceFile, dialect: Dialect) -> tuple[str, ...]:
    with closing(_rows(file, dialect)) as rows:
        first = next(rows, None)
    if first is None:
        raise InputError("is empty", source=file.name)
    if not all(map(_encodable, first[1])):
        raise not_utf8(first[2][0].encode(errors="surrogateescape")[:40], file.name, "line 1")
    return tuple(name.removeprefix("\ufeff") for name in first[1])


def first_rows(file: SourceFile, dialect: Dialect, count: int) -> list[dict[str, str]]:
    """Return the fields by name of the first whole rows."""
    names = dialect.names or column_names(file, dialect)
    start = 0 if dialect.names else 1
    rows = (fields for _, fields, _ in islice(_rows(file, dialect), start, start + count))
    return [dict(zip(names, fields, strict=True)) for fields in rows if len(fields) == len(names)]


def _tidy(header: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in header)


def dialect_of(file: SourceFile, usual: str) -> Dialect:
    """Tell what stands between a file's fields: what it is said to be; else the usual, unless another parts its header.

    Raises
    ------
    InputError
        The file is empty or cannot be read.

    """
    if file.delimiter is not None:
        return Dialect(file.delimiter)
    return Dialect(delimiter_between(column_names(file, Dialect(usual)), usual))


def delimiter_between(names: Sequence[str], usual: str) -> str:
    """Tell what stands between the names of a header that was read as if it were the usual delimiter."""
    found = max(_DELIMITERS, key=lambda each: names[0].count(each)) if len(names) == 1 else usual
    return found if len(names) == 1 and found in names[0] else usual


def refuse_twice(source: str, names: Sequence[str], wanted: Iterable[str]) -> None:
    """Refuse a table with several columns of a name that is wanted.

    Raises
    ------
    InputError
        There are several.

    """
    for name in wanted:
        if names.count(name) > 1:
            raise InputError(f"has several columns {name}", source=source, remedy="leave one of them")


def _place(file: SourceFile, dialect: Dialect, row: int) -> str:
    """Say on which line a row begins; fields may hold line breaks, so the rows before it are read again."""
    at = row + (0 if dialect.names else 1)
    line = next(islice(_rows(file, dialect), at, None), None)
    return f"row {row + 1}" if line is None else f"line {line[0]}"


def _screen(
    file: SourceFile, dialect: Dialect, names: Sequence[str], columns: Mapping[str, Kind], whole: BinaryIO
) -> tuple[list[int], dict[str, tuple[int, int]], dict[str, Told]]:
    """Copy the whole rows to `whole`; return the numbers of the others, and by kind how many, the first, and more."""
    checks = [(names.index(name), _checker(name, kind)) for name, kind in columns.items()]
    removed: list[int] = []
    broken: dict[str, tuple[int, int]] = {}
    told: dict[str, Told] = {}
    for row, (line, fields, lines) in enumerate(_rows(file, dialect), 0 if dialect.names else -1):
        wrong = _wrong(fields, len(names), checks) if row >= 0 else None
        if wrong is None:
            whole.write("".join(lines).encode(dialect.encoding, errors="surrogateescape"))
            continue
        removed.append(row)
        count, first = broken.get(wrong, (0, row))
        broken[wrong] = (count + 1, first)
        if not count and wrong.endswith(_NOT_ENCODED):
            told[wrong] = _in_latin_1(wrong, fields)
        if len(removed) > MOST_BROKEN and 2 * len(removed) > row:
            raise InputError(
                wrong, source=file.name, place=f"line {line}", remedy="most rows are broken: mend the file"
            )
    return removed, broken, told


def _in_latin_1(wrong: str, fields: Sequence[str]) -> Told:
    """Say how a text would look in the encoding that it most likely is in."""
    text = next(text for text in fields if not _encodable(text))
    shown = text.encode(errors="surrogateescape").decode("cp1252", errors="replace")
    return Told(
        f"{wrong}, which is UTF-8 (in Latin-1 it would be {shown[:60]!r})",
        "save it as UTF-8, or say --encoding latin-1 of a table",
    )


def _wrong(fields: Sequence[str], width: int, checks: Sequence[tuple[int, Callable[[str], str | None]]]) -> str | None:
    if len(fields) != width:
        return f"{len(fields)} fields in place of {width}"
    return next((wrong for at, check in checks if (wrong := check(fields[at]))), None)


def _checker(name: str, kind: Kind) -> Callable[[str], str | None]:
    if kind == "text":
        return lambda text: None if text.isascii() or _encodable(text) else f"{name} {_NOT_ENCODED}"
    pattern = _FLOAT if kind == "float32" else _WHOLE[kind]
    wanted = "no number" if kind == "float32" else "no whole number"
    return lambda text: None if pattern.fullmatch(text) else f"{name} is {wanted}"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a byte that was not in the encoding
        return False
    return True
