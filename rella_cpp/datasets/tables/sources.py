"""Data sets as they are downloaded: a zip archive or a folder, and the files in it."""

import gzip
import hashlib
import io
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from rella_cpp.datasets.tables.streams import BLOCK, Counted, as_utf8, most_of, too_expansive
from rella_cpp.errors import InputError
from rella_cpp.storage.progress import Progress, no_progress
from rella_gguf.regular import open_regular, refuse_special

_GZIP = ".gz"
_IN_MEMORY = 1 << 26
# What reading a zip raises; RuntimeError for an encrypted one, and its subclass for an unknown compression.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
# What other archives begin with.
_PACKED = ((b"\x1f\x8b", "packed with gzip"), (b"BZh", "packed with bzip2"), (b"7z\xbc\xaf", "packed with 7z"))


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source: its own name, its path, and the archive that it lies in, if any.

    `progress` is told how far it is read; `delimiter` and `encoding` are those of a table of text, where given.
    """

    name: str
    path: str
    archive: Path | None = None
    progress: Progress = field(default=no_progress, compare=False)
    delimiter: str | None = None
    encoding: str | None = None

    def watched(self, progress: Progress) -> "SourceFile":
        """Return this file with another progress."""
        return replace(self, progress=progress)

    @property
    def table_name(self) -> str:
        """Its name in small letters, without the ending of a compression that is read: `ratings.csv`."""
        return self.name.lower().removesuffix(_GZIP)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open it for reading bytes, straight out of the archive, and out of gzip where its name ends so.

        Raises
        ------
        InputError
            It cannot be read, or expands too far.

        """
        if not self.name.lower().endswith(_GZIP):
            with self._stored() as stream:
                yield stream
            return
        with self._stored() as stream, gzip.GzipFile(fileobj=stream) as whole:
            most = most_of(self._sizes()[0])
            yield _buffered(Counted(cast(BinaryIO, whole), "", 0, no_progress, most, self._shown()))

    @contextmanager
    def open_text(self) -> Iterator[BinaryIO]:
        """Open it for reading text as UTF-8, without a mark.

        Raises
        ------
        InputError
            It cannot be read, or is no text in the encoding that it is said to have.

        """
        with self.open() as stream:
            text = as_utf8(cast(io.BufferedReader, stream), self.name, self.encoding)
            if text is stream:
                yield text
                return
            # Written out first: pyarrow, which reads in a thread of its own, is not to meet what cannot be decoded.
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as whole:
                shutil.copyfileobj(text, whole, BLOCK)
                whole.seek(0)
                yield cast(BinaryIO, whole)

    def check_packed(self) -> None:
        """Unpack a gzipped file once for nothing, which finds damage, and whether it expands too far.

        Raises
        ------
        InputError
            It does, or is damaged.

        """
        if self.name.lower().endswith(_GZIP):
            with self.open() as file:
                while file.read(BLOCK):
                    pass

    @contextmanager
    def _stored(self) -> Iterator[BinaryIO]:
        """Open it for reading bytes as they are stored, in an archive as they were put in."""
        try:
            stored, size = self._sizes()
            task = f"reading {self.name}, MiB"
            if self.archive is None:
                with open_regular(self.path) as file:
                    yield _buffered(Counted(file, task, size, self.progress, None, self.path))
            else:
                if size > most_of(stored):
                    raise too_expansive(self._shown())
                with zipfile.ZipFile(self.archive) as archive, archive.open(self.path) as member:
                    stream = cast(BinaryIO, member)
                    yield _buffered(Counted(stream, task, size, self.progress, most_of(stored), self._shown()))
        except gzip.BadGzipFile as error:
            raise InputError(f"is no gzip file ({error})", source=self._shown(), remedy="download it again") from None
        except _DAMAGED as error:
            found = "is cut short or damaged" if self.archive is None else f"{self.name} in it is damaged"
            raise InputError(
                f"{found} ({error})", source=self.archive or self.path, remedy="download it again"
            ) from None
        except OSError as error:
            raise InputError(f"cannot be read: {error}", source=self.archive or self.path) from None

    def digest(self) -> str:
        """Read it once from end to end, which finds damage, and return its SHA-256 in hexadecimal."""
        self.check_packed()
        digest = hashlib.sha256()
        if self.archive is None and Path(self.path).is_dir():
            for path in sorted(Path(self.path).rglob("*")):
                if path.is_file():
                    digest.update(f"{path.name} {SourceFile(path.name, str(path)).digest()}\n".encode())
            return digest.hexdigest()
        with self._stored() as file:
            while block := file.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def _shown(self) -> str:
        return self.path if self.archive is None else f"{self.archive}, {self.name}"

    def _sizes(self) -> tuple[int, int]:
        """Return how many bytes it takes, and how many it has."""
        if self.archive is None:
            refuse_special(self.path)
            size = Path(self.path).stat().st_size
            return size, size
        with zipfile.ZipFile(self.archive) as archive:
            member = archive.getinfo(self.path)
            return member.compress_size, member.file_size


def _buffered(stream: Counted) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(stream, BLOCK))


def is_saved_dataset(folder: Path) -> bool:
    """Tell whether `datasets` saved a data set into a folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def list_files(source: Path) -> tuple[Path | None, list[str]]:
    """Return the archive (None for a folder) and the paths of its files; of a folder, two levels deep.

    Raises
    ------
    InputError
        There is no such source, or it is no whole archive.

    """
    try:
        if source.is_dir():
            return None, sorted(str(path) for depth in ("*", "*/*") for path in source.glob(depth) if path.is_file())
        with open_regular(source, "give the data set as downloaded") as file:
            start = file.read(4)
    except FileNotFoundError:
        raise InputError("no such file or folder", source=source, remedy="give the data set as downloaded") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error}", source=source) from None
    try:
        with zipfile.ZipFile(source) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except _DAMAGED as error:
        if start.startswith(b"PK"):
            raise InputError(
                f"is a zip archive cut short or damaged ({error})", source=source, remedy="download it again"
            ) from None
        packed = next((told for mark, told in _PACKED if start.startswith(mark)), None)
        raise InputError(
            "is neither a zip archive nor a folder" if packed is None else f"is no zip archive, but {packed}",
            source=source,
            remedy="give the data set as downloaded" if packed is None else "unpack it, and give the folder",
        ) from None
    return source, sorted(name for name in names if not name.startswith("__MACOSX/"))
