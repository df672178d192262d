"""Files to be read: regular ones. Folders, pipes and devices are told before a byte of them is read."""

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from rella_gguf.errors import InputError

LARGEST = 1 << 30
"""Bytes of a file that is read whole."""
_BLOCK = 1 << 20
_GIVE = "give a file"
_KINDS = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)
_HANDED_DOWN = re.compile(r"/dev/(stdin|fd/\d+)|/proc/(self|\d+)/fd/\d+")
"""Files that a shell opened for the command: `<(…)` and /dev/stdin."""


def refuse_special(path: str | Path, remedy: str = _GIVE, kind: type[InputError] = InputError) -> None:
    """Refuse a folder, and what could be read for ever or never: a pipe, a socket, a device.

    What is not there passes: opening it says so.

    Raises
    ------
    InputError
        It is one of them; the error is of the `kind` given.

    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # ValueError: a NUL byte in the path
        return
    if not stat.S_ISREG(mode):
        found = next((told for is_such, told in _KINDS if is_such(mode)), "is no regular file")
        raise kind(found, source=path, remedy=remedy)


def open_regular(path: str | Path, remedy: str = _GIVE) -> BinaryIO:
    """Open a regular file for reading bytes.

    Raises
    ------
    InputError
        It is none.
    OSError
        It cannot be opened.

    """
    refuse_special(path, remedy)
    return open(path, "rb")


def read_regular(path: str | Path, remedy: str = _GIVE, *, handed_down: bool = False) -> bytes:
    """Read a regular file whole.

    Parameters
    ----------
    handed_down
        Read a pipe, too, that the shell opened for the command (`<(…)`, /dev/stdin); a pipe with a name of its own,
        which may never be written, is refused all the same.

    Raises
    ------
    InputError
        It is no such file, or larger than 1 GiB.
    OSError
        It cannot be read.

    """
    if handed_down and _HANDED_DOWN.fullmatch(str(path)) and _ends(path):
        with open(path, "rb") as file:
            return read_stream(file, path)
    with open_regular(path, remedy) as file:
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise _too_large(path)
        return file.read()


def read_stream(stream: BinaryIO, source: str | Path) -> bytes:
    """Read a stream of text to its end.

    Raises
    ------
    InputError
        It is longer than 1 GiB, or gives zero bytes for ever, as /dev/zero does.

    """
    data = bytearray()
    while block := stream.read(_BLOCK):
        data += block
        if len(data) > LARGEST:
            raise _too_large(source)
        if not any(block):
            raise InputError("gives zero bytes, no text", source=source, remedy="give a file of text")
    return bytes(data)


def _ends(path: str | Path) -> bool:
    """Tell whether what was handed down may end: a pipe, a terminal."""
    mode = os.stat(path).st_mode
    if not stat.S_ISCHR(mode):
        return not stat.S_ISBLK(mode) and not stat.S_ISDIR(mode)
    with open(path, "rb") as file:
        return file.isatty()


def _too_large(source: str | Path) -> InputError:
    return InputError("is larger than 1 GiB", source=source, remedy="give less at a time")
