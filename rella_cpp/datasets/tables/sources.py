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
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
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
_NO_FORMAT = "there is no format for it; rella data prepare table takes tables of any kind"
_AS_TABLE = (
    "rella data prepare table {{folder}}/{} … --items {{folder}}/{} --user-column userId --item-column movieId "
    "--rating-column rating --time-column timestamp --liked-above 3"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The files by which a data set is known; `remedy` says what to do where there is no format for it.

    `{folder}` stands in it for the source.
    """

    name: str
    files: tuple[str, ...]
    remedy: str = ""


# The first whose files are all there is what a source looks like.
LAYOUTS = (
    Layout("ml-1m", ("ratings.dat", "movies.dat", "users.dat")),
    Layout("ml-10m", ("ratings.dat", "movies.dat"), _NO_FORMAT),
    Layout("ml-100k", ("u.data", "u.item"), _NO_FORMAT),
    Layout("ml-25m", ("ratings.csv", "movies.csv")),
    Layout("Kaggle's copy of MovieLens", ("rating.csv", "movie.csv"), _AS_TABLE.format("rating.csv", "movie.csv")),
    Layout(
        "Kaggle's The Movies Dataset",
        ("ratings.csv", "movies_metadata.csv"),
        _AS_TABLE.format("ratings.csv", "movies_metadata.csv"),
    ),
    Layout("bookcrossing", ("BX-Users.csv", "BX-Books.csv", "BX-Book-Ratings.csv")),
    Layout("amazon", ("*.item.json", "*.inter.json")),
)


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
    remedy = "give the archive as downloaded, or the folder it unpacks to"
    for other in LAYOUTS:
        there = None if other is layout else _matches(paths, other.files)
        if there is not None:
            remedy = f"it looks like {other.name}: {_instead(other, source, there[0], archive)}"
            break
    raise InputError(f"does not hold {listed(layout.files)}", source=source, remedy=remedy)


def _instead(other: Layout, source: Path, first: str, archive: Path | None) -> str:
    """Say how another data set is prepared; `first` is the path of its first file."""
    if not other.remedy:
        return f"rella data prepare {other.name} {source} …"
    unpacked = "unpack it, then " if archive is not None and "{folder}" in other.remedy else ""
    return unpacked + other.remedy.format(folder="FOLDER" if unpacked else PurePosixPath(first).parent)


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
