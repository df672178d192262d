"""Long work that resumes: a folder with its settings, sealed, and one JSON line for each thing done.

While it goes on the lines stand in `NAME.jsonl.part`, synced group by group; a killed process loses at most the group
that it was in, and the same settings go on from there.

Of 20 lines in groups of 8, 8 and 4, say that a kill came while line 19 was written. The file then has 18 whole lines
and a part of one; its whole groups end with line 16. It is cut there, `done` is 16, and lines 17 to 20 are made again,
in the company that they would have had.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from rella_cpp.errors import InputError
from rella_cpp.storage.artifacts import brief, first_difference, read_json, write_json
from rella_gguf.files import LOCK, locked, no_follow, refuse_link, writing
from rella_gguf.regular import open_regular

Line = Mapping[str, Any]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class JournalFiles:
    """What such a folder is called and holds.

    Attributes
    ----------
    kind
        What it is, with its article: `a run`.
    settings, lines
        Names of its files.
    beside
        Names of files that are made of the lines.
    remedy
        What to do where it is damaged.
    parse
        What fails where a line is damaged: it also gets what it made of the first.

    """

    kind: str
    settings: str
    lines: str
    beside: tuple[str, ...]
    remedy: str
    parse: Callable[[str, Any], Any] | None = None


class Journal:
    """Writes lines, or goes on where the same settings stopped. Use it with `with`.

    Parameters
    ----------
    folder
        Where; made if it is not there.
    layout
        What it holds.
    settings
        All that the lines depend on; no times.
    keys
        For each line, in order, entries by which it is known again: their names, with the value in the line.
    groups
        The lines that are written together, by number from 0 on: the units of resume. See `groups_of`.
    force
        Start anew over whatever is there of this kind.

    Attributes
    ----------
    folder
        Where it lies.
    done
        How many lines are there already.

    Raises
    ------
    InputError
        The folder holds other settings, or something else, or cannot be written, or another process writes it.

    """

    def __init__(
        self,
        folder: Path,
        layout: JournalFiles,
        settings: Mapping[str, object],
        keys: Sequence[Mapping[str, object]],
        *,
        groups: Sequence[range],
        force: bool = False,
    ) -> None:
        self.folder, self._layout, self._keys, self._groups = folder, layout, keys, groups
        self._part, self._final = folder / f"{layout.lines}.part", folder / layout.lines
        self._file: Any = None
        self.done = 0
        self._stack = ExitStack()
        try:
            with writing(folder):
                self._prepare(settings, force)
        except BaseException:
            self._stack.close()
            raise

    @property
    def complete(self) -> bool:
        """Whether every line is there."""
        return self.done == len(self._keys)

    @property
    def left(self) -> list[range]:
        """The groups that are still to be written."""
        return [group for group in self._groups if group.start >= self.done]

    def write(self, lines: Sequence[Line]) -> None:
        """Add the next group of lines; they are on the disk when this returns."""
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        left = memoryview(text.encode("utf-8", errors="surrogatepass"))
        with writing(self._part):
            if self._file is None:  # unbuffered: after a full disk nothing is written behind our back
                self._file = self._stack.enter_context(open(self._part, "ab", buffering=0, opener=no_follow))
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        self.done += len(lines)

    def publish(self) -> None:
        """Let the lines appear under their own name, and close."""
        assert self.complete, "lines appear when all of them are there"
        with writing(self._final):
            if not self._final.exists():
                self._part.touch()
                self._part.replace(self._final)
        self.close()

    def close(self) -> None:
        """Close the files; what was written stays."""
        self._file = None
        self._stack.close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    def _prepare(self, settings: Mapping[str, object], force: bool) -> None:
        layout, there = self._layout, self.folder / self._layout.settings
        ours = (f"{layout.settings}.part", LOCK)  # of a run that was killed before its first line
        foreign = self.folder.is_dir() and not all(path.name.endswith(ours) for path in self.folder.iterdir())
        if self.folder.exists() and not there.is_file() and (foreign or not self.folder.is_dir()):
            raise InputError(
                f"holds something else than {layout.kind}", source=self.folder, remedy="name another folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(locked(self.folder))
        refuse_link(self._part)
        known = read_json(there, layout.remedy) if there.is_file() and not force else None
        # What failed before its first line stands in nobody's way, whatever its settings were.
        if force or (known is not None and not (self._final.exists() or _whole_lines(self._part))):
            known = None
            for name in (layout.settings, layout.lines, *layout.beside, self._part.name):
                (self.folder / name).unlink(missing_ok=True)
        if known is None:
            write_json(there, settings)
        elif difference := first_difference(known, json.loads(json.dumps(settings))):
            name, was, now = difference
            raise InputError(
                f"is {layout.kind} with another {name}: {brief(was)}, not {brief(now)}",
                source=self.folder,
                remedy="name another folder, or start anew with --force",
            )
        self.done = self._recover()

    def _recover(self) -> int:
        """Count the lines that are there; cut what a kill left behind the last whole group."""
        total = len(self._keys)
        path = self._final if self._final.is_file() else self._part
        lines = _whole_lines(path)
        whole = [group.stop for group in self._groups if group.stop <= len(lines)]
        wanted = total if path == self._final else max(whole, default=0)
        if len(lines) > total or len(lines) < wanted:
            raise InputError(f"holds {len(lines)} lines of {total}", source=path, remedy=self._layout.remedy)
        if self._layout.parse is not None and path.exists():
            read_lines(path, self._layout.parse, "is damaged", self._layout.remedy, count=wanted)
        for number, (line, keys) in enumerate(zip(lines, self._keys, strict=False), start=1):
            for name, value in keys.items():
                if _entry(line, name) != value:
                    raise InputError(
                        f"is not of {name} {value}",
                        source=path,
                        place=f"line {number}",
                        remedy=f"damaged: {self._layout.remedy}",
                    )
        if path == self._part and path.exists():
            with open(path, "r+b", opener=no_follow) as file:
                file.truncate(sum(len(line) for line in lines[:wanted]))
        return wanted


def groups_of(count: int, size: int) -> list[range]:
    """Cut lines into groups of one size; the last may be shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def read_lines(
    path: Path, parse: Callable[[str, _T | None], _T], finding: str, remedy: str, *, count: int | None = None
) -> list[_T]:
    """Read what `parse` makes of each line, or of the first `count`; it also gets what it made of the first.

    Raises
    ------
    InputError
        A line is damaged: parsing it fails as reading a JSON value of the wrong shape does.

    """
    found: list[_T] = []
    for number, text in enumerate(_read(path).splitlines()[:count], start=1):
        try:
            found.append(parse(text.decode("utf-8", errors="surrogatepass"), found[0] if found else None))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise InputError(finding, source=path, place=f"line {number}", remedy=remedy) from None
    return found


def _read(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _whole_lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    lines = _read(path).splitlines(keepends=True)
    while lines and (not lines[-1].endswith(b"\n") or _value(lines[-1]) is None):
        lines.pop()  # a kill in the middle of a write
    return lines


def _entry(line: bytes, name: str) -> object:
    value = _value(line)
    return None if value is None else value.get(name)


def _value(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
