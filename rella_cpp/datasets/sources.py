"""Data sets as they are downloaded: a zip archive or a folder, and the files in it."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from rella_cpp.cache import Progress, no_progress
from rella_cpp.errors import InputError

_BLOCK = 1 << 22
# What reading a zip raises; RuntimeError for an encrypted one, and its subclass for an unknown compression.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Layout:
    """The files by which a data set is known; `prepared` tells whether there is a format for it."""

    name: str
    files: tuple[str, ...]
    prepared: bool = True


# The first whose files are all there is what a source looks like.
LAYOUTS = (
    Layout("ml-1m", ("ratings.dat", "movies.dat", "users.dat")),
    Layout("ml-10m", ("ratings.dat", "movies.dat"), prepared=False),
    Layout("ml-100k", ("u.data", "u.item"), prepared=False),
    Layout("ml-25m", ("ratings.csv", "movies.csv")),
    Layout("bookcrossing", ("BX-Users.csv", "BX-Books.csv", "BX-Book-Ratings.csv")),
    Layout("amazon", ("*.item.json", "*.inter.json")),
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source: its own name, its path, and the archive that it lies in, if any.

    `progress` is told how far it is read.
    """

    name: str
    path: str
    archive: Path | None = None
    progress: Progress = field(default=no_progress, compare=False)

    def watched(self, progress: Progress) -> "SourceFile":
        """Return this file with another progress."""
        return replace(self, progress=progress)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open it for reading bytes, straight out of the archive.

        Raises
        ------
        InputError
            It cannot be read.

        """
        try:
            if self.archive is None:
                with Path(self.path).open("rb") as file, self._counted(file) as counted:
                    yield counted
            else:
                with zipfile.ZipFile(self.archive) as archive, archive.open(self.path) as member:
                    with self._counted(cast(BinaryIO, member)) as counted:
                        yield counted
        except _DAMAGED as error:
            raise InputError(
                f"{self.name} in it is damaged ({error})", source=self.archive, remedy="download the archive again"
            ) from None
        except OSError as error:
            raise InputError(f"cannot be read: {error}", source=self.archive or self.path) from None

    def _counted(self, stream: BinaryIO) -> BinaryIO:
        counted = _Counted(stream, f"reading {self.name}, MiB", self._size(), self.progress)
        return cast(BinaryIO, io.BufferedReader(counted, _BLOCK))

    def digest(self) -> str:
        """Read it once from end to end, which finds damage, and return its SHA-256 in hexadecimal."""
        digest = hashlib.sha256()
        if self.archive is None and Path(self.path).is_dir():
            for path in sorted(Path(self.path).rglob("*")):
                if path.is_file():
                    digest.update(f"{path.name} {SourceFile(path.name, str(path)).digest()}\n".encode())
            return digest.hexdigest()
        with self.open() as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def _size(self) -> int:
        if self.archive is None:
            return Path(self.path).stat().st_size
        with zipfile.ZipFile(self.archive) as archive:
            return archive.getinfo(self.path).file_size


class _Counted(io.RawIOBase):
    """A stream that tells how far it is read."""

    def __init__(self, stream: BinaryIO, task: str, size: int, progress: Progress) -> None:
        self._stream, self._task, self._size, self._progress = stream, task, size, progress

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
        self._progress(self._task, self._stream.tell() >> 20, self._size >> 20)
        return len(block)


def find_files(source: Path, layout_name: str) -> tuple[SourceFile, ...]:
    """Find the files of a layout, in its order: at the top of the source or in one folder of it.

    Raises
    ------
    InputError
        There is no such source, it is no whole archive, or it lacks files; if it looks like another data set, it says
        which.

    """
    layout = next(known for known in LAYOUTS if known.name == layout_name)
    archive, paths = list_files(source)
    found = _matches(paths, layout.files)
    if found is not None:
        _refuse_several(source, paths, found, layout.files)
        return tuple(SourceFile(PurePosixPath(path).name, path, archive) for path in found)
    for other in LAYOUTS:
        if other is not layout and _matches(paths, other.files) is not None:
            remedy = f"it looks like {other.name}: " + (
                f"rella data prepare {other.name} {source} …"
                if other.prepared
                else "there is no format for it; rella data prepare table takes tables of any kind"
            )
            break
    else:
        remedy = "give the archive as downloaded, or the folder it unpacks to"
    raise InputError(f"does not hold {listed(layout.files)}", source=source, remedy=remedy)


def _refuse_several(source: Path, paths: Sequence[str], found: Sequence[str], patterns: Sequence[str]) -> None:
    """Refuse a folder with a second file of a pattern: which one is meant cannot be told."""
    for chosen, pattern in zip(found, patterns, strict=True):
        beside = [PurePosixPath(path) for path in paths if PurePosixPath(path).parent == PurePosixPath(chosen).parent]
        names = [path.name for path in beside if fnmatchcase(path.name, pattern)]
        if len(names) > 1:
            raise InputError(f"holds several {pattern}: {listed(names)}", source=source, remedy="give one data set")


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
        with source.open("rb") as file:
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
        raise InputError(
            "is neither a zip archive nor a folder", source=source, remedy="give the data set as downloaded"
        ) from None
    return source, sorted(name for name in names if not name.startswith("__MACOSX/"))


def _matches(paths: Sequence[str], wanted: Sequence[str]) -> list[str] | None:
    """Return the path of every wanted file, all from one folder: the first of the least deep that holds them all."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(str(PurePosixPath(path).parent), []).append(path)
    for folder in sorted(folders, key=lambda name: (name.count("/"), name)):
        chosen = [
            next((path for path in folders[folder] if fnmatchcase(PurePosixPath(path).name, pattern)), None)
            for pattern in wanted
        ]
        if all(chosen):
            return [path for path in chosen if path is not None]
    return None
