"""Files of finished work: they appear whole by a rename, and are never overwritten unasked."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rella_gguf.errors import InputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which file could not be written: a full disk, a folder without permission.

    Raises
    ------
    InputError
        Writing failed.

    """
    try:
        yield
    except OSError as error:
        full = "free space, then run it again"
        remedy = {errno.ENOSPC: full, errno.EDQUOT: full, errno.ENOENT: "make its folder first"}
        raise InputError(
            f"cannot be written ({error.strerror or error})",
            source=path,
            remedy=remedy.get(error.errno or 0, "name another place"),
        ) from None


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write into; it becomes `path`, in place of what is there, when the block ends well.

    It vanishes when the block does not. What a killed process left of it is written over; another that is still at
    work is not disturbed.

    Raises
    ------
    InputError
        It cannot be written, another process writes it, or something else than a file stands there.

    """
    part = part_of(path)
    with writing(path):
        if path.exists() and not path.is_file():
            raise InputError("is there, and no regular file", source=path, remedy="name another")
        with part.open("ab") as file:
            _own(file, part, path)
            try:
                file.truncate(0)
                with part.open("r+b") as writable:  # what is opened to append cannot be written in the middle
                    yield writable
                    writable.flush()
                    os.fsync(writable.fileno())
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise


def part_of(path: Path) -> Path:
    """Return the name that a file is written under before it is whole.

    Raises
    ------
    InputError
        The path is no name for a file: it is a folder, or empty, or too long.

    """
    with writing(path):
        if not path.name or path.is_dir():
            raise InputError("is a folder", source=path, remedy="name a file")
        part = path.with_name(f"{path.name}.part")
        part.is_dir()  # a name too long raises
    return part


def check_output(out: Path, inputs: Iterable[Path] = (), *, force: bool) -> None:
    """Refuse an output that cannot be a file or is there already; one that is also read, even with `force`.

    Raises
    ------
    InputError
        It is one of these, through links and other spellings too.

    """
    for taken in (out, part_of(out)):
        for path in inputs:
            if is_same(path, taken):
                raise InputError("is one of the inputs", source=taken, remedy="name another output")
    if not force:
        refuse_existing(out)


def is_same(path: Path, other: Path) -> bool:
    """Tell whether both are one existing file."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False


def _own(file: BinaryIO, part: Path, path: Path) -> None:
    """Lock a file that is being written; the lock goes with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.fstat(file.fileno()).st_ino == part.stat().st_ino
    except OSError:
        mine = False
    if not mine:  # or renamed by its owner, between our opening and our locking it
        raise InputError("is being written by another process", source=path, remedy="wait for it, or name another")


def refuse_existing(out: Path) -> None:
    """Refuse to overwrite.

    Raises
    ------
    InputError
        There is something already.

    """
    if os.path.lexists(out) and not is_empty(out):
        raise InputError("is there already", source=out, remedy="name another, or overwrite it with --force")


def is_empty(out: Path) -> bool:
    """Tell whether a folder stands there with nothing in it."""
    return out.is_dir() and not out.is_symlink() and not any(out.iterdir())
