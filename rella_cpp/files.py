"""Files of finished work: they appear whole by a rename, are hashed, and are never overwritten unasked."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rella_cpp.errors import InputError


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """Return the SHA-256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write a JSON value, to be read by people too; the file appears, or is replaced, by a rename.

    Raises
    ------
    InputError
        It cannot be written.

    """
    part = path.with_name(f"{path.name}.part")
    with writing(path):
        with part.open("w", encoding="utf-8") as file:
            file.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


def read_json(path: Path, remedy: str) -> dict[str, object]:
    """Read a JSON object of ours.

    Raises
    ------
    InputError
        It cannot be read, or is no JSON object.

    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(error.strerror or str(error), source=path, remedy=remedy) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is damaged ({error})", source=path, remedy=remedy) from None
    if not isinstance(value, dict):
        raise InputError("is damaged (it is no JSON object)", source=path, remedy=remedy)
    return value


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
        raise InputError(
            f"cannot be written ({error.strerror or error})",
            source=path,
            remedy="free space or name another place, then run it again; what was finished is kept",
        ) from None


@contextmanager
def new_folder(out: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a folder to write into; it becomes `out` when the block ends well, and vanishes when it does not.

    Raises
    ------
    InputError
        `out` is there already and `force` is False, or it cannot be written.

    """
    if not force:
        refuse_existing(out)
    part = out.with_name(f"{out.name}.part")
    with writing(out):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            yield part
            if out.is_dir():
                shutil.rmtree(out)
            elif out.exists():
                out.unlink()
            part.rename(out)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def refuse_existing(out: Path) -> None:
    """Refuse to overwrite.

    Raises
    ------
    InputError
        There is something already.

    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError("is there already", source=out, remedy="name another, or overwrite it with --force")


def first_difference(
    there: Mapping[str, object], wanted: Mapping[str, object], prefix: str = ""
) -> tuple[str, object, object] | None:
    """Name the first setting that differs: its dotted name, what is there, what is wanted; None where all agree."""
    for key in dict.fromkeys([*wanted, *there]):
        a, b = there.get(key), wanted.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if deeper := first_difference(a, b, f"{prefix}{key}."):
                return deeper
        elif a != b:
            return f"{prefix}{key}", a, b
    return None
