"""Plain reads of a file (a mapping would count as memory), and one that digests every byte on the way."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rella_gguf.errors import GGUFError
from rella_gguf.regular import refuse_special

CHUNK = 1 << 22


def combined(digests: Sequence[str]) -> str:
    """Return a model's fingerprint from its parts' SHA-256s, in hexadecimal: of one file its own, else theirs."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


class Reader:
    """Reads bytes from anywhere in a file.

    Raises
    ------
    GGUFError
        The file cannot be read, or has become shorter.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        refuse_special(path, "give a readable GGUF file", GGUFError)
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise self._failure(error) from None

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on."""
        data = self._take(start, size)
        if len(data) < size:
            raise GGUFError(
                f"ends at byte {start + len(data):,}, where it had more before",
                source=self.path,
                remedy="leave the file alone while it is read",
            )
        return data

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, start: int, size: int) -> bytes:
        parts: list[bytes] = []
        missing = size
        try:
            self._file.seek(start)
            while missing and (part := self._file.read(missing)):
                parts.append(part)
                missing -= len(part)
        except OSError as error:
            raise self._failure(error) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _failure(self, error: OSError) -> GGUFError:
        return GGUFError(error.strerror or str(error), source=self.path, remedy="give a readable GGUF file")


class DigestingReader(Reader):
    """Reads mostly from front to back, and digests the bytes read as well as those stepped over."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._digest = hashlib.sha256()
        self._digested = 0

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on."""
        while self._digested < start and self._take(self._digested, min(start - self._digested, CHUNK)):
            pass
        return super().read(start, size)

    def sha256(self) -> str:
        """Read what is left, and return the whole file's SHA-256 in hexadecimal."""
        while self._take(self._digested, CHUNK):
            pass
        return self._digest.hexdigest()

    def _take(self, start: int, size: int) -> bytes:
        data = super()._take(start, size)
        if start <= self._digested < start + len(data):
            self._digest.update(memoryview(data)[self._digested - start :])
            self._digested = start + len(data)
        return data


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises
    ------
    GGUFError
        It cannot be read.

    """
    with DigestingReader(path) as reader:
        return reader.sha256()
