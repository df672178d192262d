"""Streams of bytes out of a data set's files: counted, bounded, and of text as UTF-8, line by line."""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from rella_cpp.domains.plain_text import LONGEST_MARK, marked_encoding, refuse_binary
from rella_cpp.errors import InputError
from rella_cpp.storage.progress import Progress

BLOCK = 1 << 22
LONGEST_LINE = 1 << 24
"""Bytes of a line, or of an entry of a JSON list."""
MOST_BROKEN = 1 << 20
"""Broken rows that a file may have if most of its rows are: each takes memory."""
EXPANSION = 100
"""How many times its size an archive may expand to; tables of ratings do so 4 times, JSON 20."""
FREE = 1 << 26
"""Bytes that an archive of any size may expand to."""


class Counted(io.RawIOBase):
    """A stream that tells how far it is read, and that ends with an error behind `most` bytes.

    Parameters
    ----------
    stream
        What is read.
    task, size, progress
        What `progress` is told, and the size that is aimed at.
    most
        Bytes that it may give; None: as many as there are.
    source
        What to name in the error.

    """

    def __init__(
        self, stream: BinaryIO, task: str, size: int, progress: Progress, most: int | None, source: str | Path
    ) -> None:
        self._stream, self._task, self._size, self._progress = stream, task, size, progress
        self._most, self._source = most, source

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say what the stream says."""
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go elsewhere."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Say where it is."""
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        """Read as much as there is room for."""
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        at = self._stream.tell()
        if self._most is not None and at > self._most:
            raise too_expansive(self._source)
        self._progress(self._task, at >> 20, self._size >> 20)
        return len(block)


def most_of(stored: int) -> int:
    """Return to how many bytes `stored` ones may expand."""
    return max(FREE, stored * EXPANSION)


def too_expansive(source: str | Path) -> InputError:
    """Return the error about an archive that expands too far."""
    return InputError(
        f"expands to more than {EXPANSION} times its size, as no data set does",
        source=source,
        remedy="if you trust it, unpack it and give what is in it",
    )


class _Recoded(io.RawIOBase):
    """A stream of text in some encoding, as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str, source: str) -> None:
        self._stream, self._encoding, self._source = stream, encoding, source
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready, self._ended = b"", False

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read as much as there is room for."""
        while not self._ready and not self._ended:
            block = self._stream.read(BLOCK >> 2)
            self._ended = not block
            try:
                self._ready = self._decoder.decode(block, final=self._ended).encode("utf-8", "surrogatepass")
            except UnicodeError:
                raise InputError(
                    f"is no whole {self._encoding.upper()}", source=self._source, remedy="save it as UTF-8"
                ) from None
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


def as_utf8(stream: io.BufferedReader, source: str, encoding: str | None) -> BinaryIO:
    """Return a stream of text as UTF-8 without a mark; None as the encoding: what the mark says, else UTF-8 it is.

    Raises
    ------
    InputError
        It is no text; or, while it is read, it is not in that encoding.

    """
    start = stream.peek(LONGEST_MARK)
    if encoding is None:
        refuse_binary(start[: 1 << 12], source)
    encoding = marked_encoding(start) or encoding or "utf-8"
    if encoding == "utf-8-sig":
        stream.read(len(codecs.BOM_UTF8))
        return stream
    if codecs.lookup(encoding).name == "utf-8":
        return stream
    return cast(BinaryIO, io.BufferedReader(_Recoded(stream, encoding, source), BLOCK))


def lines_of(stream: BinaryIO, source: str) -> Iterator[bytes]:
    """Give a stream's lines.

    Raises
    ------
    InputError
        One is longer than 16 MiB.

    """
    number = 1
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise too_long(source, f"line {number}")
        yield line
        number += 1


def too_long(source: str, place: str) -> InputError:
    """Return the error about a line, or an entry, that is too long."""
    return InputError(
        f"is longer than {LONGEST_LINE >> 20} MiB", source=source, place=place, remedy="give a table with shorter rows"
    )
