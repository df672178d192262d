"""Files of finished work: they appear whole by a rename, and are never overwritten unasked."""

import errno
import os
from collections.abc import Iterator
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

    It vanishes when the block does not.

    Raises
    ------
    InputError
        It cannot be written, or a folder stands there.

    """
    if path.is_dir() or not path.name:
        raise InputError("is a folder", source=path, remedy="name a file")
    part = path.with_name(f"{path.name}.part")
    with writing(path):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


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
