"""Text as people save it: UTF-8, or UTF-16 and UTF-32 with their mark, as Excel and PowerShell write them."""

import codecs
import re
from pathlib import Path

from rella_cpp.errors import InputError
from rella_gguf.regular import read_regular

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LONGEST_MARK = 4
_COMPRESSED = (
    (b"\x1f\x8b", "gzip", "call it NAME.gz if it is a table, or unpack it"),
    (b"PK\x03\x04", "zip, as an .xlsx is, too", "unpack it; save a sheet as CSV"),
    (b"BZh", "bzip2", "unpack it"),
    (b"\xfd7zXZ", "xz", "unpack it"),
    (b"(\xb5/\xfd", "zstd", "unpack it"),
)
_AROUND = 20
PYTHON_REMEDY = (
    'turn it into JSON: python -c \'import ast, json; open("NEW.jsonl", "w").writelines('
    'json.dumps(ast.literal_eval(line)) + "\\n" for line in open("OLD"))\''
)
_PYTHON = re.compile(r"\s*\[?\s*\{\s*u?'")


def marked_encoding(start: bytes) -> str | None:
    """Tell the encoding by the mark that a file begins with; None: there is none."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), None)


def refuse_binary(start: bytes, source: str | Path) -> None:
    """Refuse what no text begins with.

    Raises
    ------
    InputError
        It is compressed, or holds zero bytes.

    """
    if marked_encoding(start) is not None:
        return
    for mark, name, remedy in _COMPRESSED:
        if start.startswith(mark):
            raise InputError(f"is compressed ({name})", source=source, remedy=remedy)
    if b"\0" in start:
        raise InputError(
            "is no text: it holds zero bytes, as UTF-16 without its mark does", source=source, remedy="save it as UTF-8"
        )


def decode(data: bytes, source: str | Path) -> str:
    """Return a file's bytes as text.

    Raises
    ------
    InputError
        They are in no encoding that is read; the place is the line.

    """
    refuse_binary(data[:4096], source)
    encoding = marked_encoding(data) or "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding in ("utf-16", "utf-32"):
            raise InputError(f"is no whole {encoding.upper()}", source=source, remedy="save it as UTF-8") from None
        line = data.count(b"\n", 0, error.start) + 1
        around = data[max(0, error.start - _AROUND) : error.start + _AROUND].splitlines()
        near = next((part for part in around if data[error.start : error.start + 1] in part), b"")
        raise not_utf8(near, source, f"line {line}") from None


def not_utf8(near: bytes, source: str | Path | None, place: str | None = None) -> InputError:
    """Return the error about bytes that are not UTF-8, such as `near`."""
    shown = near.decode("cp1252", errors="replace")
    return InputError(
        f"is not UTF-8 (as Latin-1 or Windows-1252 it would be {shown!r})",
        source=source,
        place=place,
        remedy="save it as UTF-8",
    )


def is_utf8(data: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_python(text: str) -> bool:
    """Tell whether text that is no JSON begins as a dict that Python printed: its names in single quotes."""
    return _PYTHON.match(text) is not None


def read_text(path: str | Path, remedy: str, *, handed_down: bool = False) -> str:
    """Read a file of text whole; see `read_regular`.

    Raises
    ------
    InputError
        It is missing, no regular file or too large, cannot be read, or is in no encoding that is read.

    """
    return decode(read_bytes(path, remedy, handed_down=handed_down), path)


def read_bytes(path: str | Path, remedy: str, *, handed_down: bool = False) -> bytes:
    """Read a file whole; see `read_regular`.

    Raises
    ------
    InputError
        It is missing, no regular file or too large, or cannot be read.

    """
    try:
        return read_regular(path, remedy, handed_down=handed_down)
    except FileNotFoundError:
        raise InputError("no such file", source=path, remedy="check the path") from None
    except OSError as error:
        raise InputError(error.strerror or str(error), source=path, remedy=remedy) from None
    except ValueError as error:  # a path with a NUL byte
        raise InputError(str(error), source=path, remedy="check the path") from None
