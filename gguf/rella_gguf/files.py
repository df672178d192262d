"""Files of finished work: written by one process at a time, whole by a rename, never over others unasked."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rella_gguf.errors import InputError

LOCK = ".rella-lock"
"""How the names of lock files end."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of a file system without locks."""


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


def disk_full() -> OSError:
    """Make the error that the system gives for a full disk: the cause of ours where we find it out ourselves."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def locked(path: Path, kind: str = "folder") -> Iterator[None]:
    """Keep other processes from writing a file or a folder; the lock goes with the process, however that ends.

    It is on a file beside the path, `.NAME.rella-lock`, that is removed with it; one that a killed process left locks
    nothing. Where no file can be made beside a folder, it is in the folder. On a network file system the lock is as
    good as that system's `flock`.

    Raises
    ------
    InputError
        Another process writes it, or the lock cannot be made.

    """
    from filelock import FileLock, Timeout  # 40 ms, which a command that writes nothing need not wait for

    file = _lock_of(path)
    refuse_link(file)
    lock = FileLock(file, thread_local=False)
    with writing(file if file.exists() else path):
        os.stat(f"{file.parent}/.")  # filelock would make it
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if not file.exists():  # some file systems have folders in which nothing can be made
                raise InputError("cannot be written", source=path, remedy="name another place") from None
            raise InputError(
                "is being written by another process", source=path, remedy=f"wait for it, or name another {kind}"
            ) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:  # otherwise it may be another's, in use
                file.unlink(missing_ok=True)
            raise
    try:
        yield
    finally:
        with suppress(OSError):  # while it is held: filelock takes no file for a lock that has no name any more
            file.unlink()
        lock.release()


def _lock_of(path: Path) -> Path:
    """Return the file that is locked; one for all names of a folder."""
    if not path.is_dir():
        return path.absolute().with_name(f".{path.name}{LOCK}")
    path = path.resolve()
    return path.with_name(f".{path.name}{LOCK}") if os.access(path.parent, os.W_OK) else path / LOCK


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
        _refuse_special(part)
        with locked(path, "file"):
            try:
                with open(part, "w+b", opener=no_follow) as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise


def no_follow(name: str, flags: int) -> int:
    """Open a file for `open`, as its `opener`; a symbolic link is refused, where the system can."""
    return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def refuse_link(part: Path) -> None:
    """Refuse to write where a symbolic link stands: what it leads to is not ours.

    Raises
    ------
    InputError
        There is one.

    """
    if part.is_symlink():
        raise InputError("is a symbolic link, and is to be written", source=part, remedy="remove it")


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


def _refuse_special(part: Path) -> None:
    """Refuse to write under a name where a link, a folder or a pipe stands."""
    refuse_link(part)
    if part.exists() and not part.is_file():
        raise InputError("is there, and no regular file", source=part, remedy="remove it")


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
    _refuse_special(part_of(out))
    if not force:
        refuse_existing(out)


def is_same(path: Path, other: Path) -> bool:
    """Tell whether both are one existing file."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False


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
