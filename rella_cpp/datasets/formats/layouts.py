"""The files by which each data set is known, and where they lie in what was downloaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from rella_cpp.datasets.tables.sources import SourceFile, list_files, listed
from rella_cpp.errors import InputError

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
