"""Artifacts on disk: sealed JSON, folders that appear whole by a rename."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rella_cpp.errors import InputError
from rella_gguf.files import is_empty, locked, new_file, refuse_existing, refuse_link, writing
from rella_gguf.regular import read_regular, refuse_special
from rella_gguf.strict_json import loads

_NUMBERS = re.compile(r"\[\n[\s\d.,eE+-]*\]")
"""A list of numbers, which stands on one line."""
_SEAL = "sha256"


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    refuse_special(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """Return the SHA-256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def write_json(path: Path, value: Mapping[str, object], *, sealed: bool = True) -> None:
    """Write a JSON object, to be read by people too; the file appears, or is replaced, by a rename.

    Sealed, it ends with the SHA-256 of the rest, by which `read_json` finds damage.

    Raises
    ------
    InputError
        It cannot be written.

    """
    value = json.loads(json.dumps(value))
    text = json.dumps({**value, _SEAL: digest(value)} if sealed else value, ensure_ascii=False, indent=1)
    text = _NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n"
    with new_file(path) as file:
        file.write(text.encode("utf-8", errors="surrogatepass"))


def read_json(
    path: Path, remedy: str, *, sealed: bool = True, check: Callable[[Mapping[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Read a JSON object of ours, without its seal.

    Parameters
    ----------
    remedy
        What to do about one that cannot be read.
    sealed
        Compare it with the seal that it ends with.
    check
        Refuses another format than the caller's; called before the seal is compared, which there may be another.

    Raises
    ------
    InputError
        It cannot be read, is no JSON object of finite numbers, or was changed since it was sealed.

    """
    try:
        value = loads(read_regular(path, remedy).decode("utf-8", errors="surrogatepass"))
    except OSError as error:
        raise InputError(error.strerror or str(error), source=path, remedy=remedy) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is damaged ({error})", source=path, remedy=remedy) from None
    if not isinstance(value, dict):
        raise InputError("is damaged (it is no JSON object)", source=path, remedy=remedy)
    if check is not None:
        check(value)
    if sealed and value.pop(_SEAL, None) != digest(value):
        raise InputError("is damaged (its contents and its checksum differ)", source=path, remedy=remedy)
    return value


def named(out: str | Path) -> Path:
    """Return a folder's path with a name in it: `.` would be lost when another folder replaces it."""
    out = Path(out)
    return out.absolute() if out.name in ("", "..") else out


@contextmanager
def new_folder(out: Path, mark: str, kind: str, *, force: bool, manifest: str = "manifest.json") -> Iterator[Path]:
    """Give a folder to write into; it becomes `out`, in place of what is there, when the block ends well.

    It vanishes when the block does not; what a killed run left is thrown away. Meanwhile no other process gets one
    for `out`.

    Parameters
    ----------
    mark, kind, manifest
        See `refuse_foreign`.
    force
        Overwrite a folder of this kind.

    Raises
    ------
    InputError
        It cannot be written, another process writes it, or something stands there that is not overwritten.

    """
    out = out.absolute()  # "." has no name
    part, old = (out.with_name(f".{out.name}.rella-{end}") for end in ("part", "old"))
    with writing(out):
        if not out.parent.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
        with locked(out):
            for each in (part, old):
                refuse_link(each)
            _put_back(old, out)
            refuse_taken(out, mark, kind, force=force, manifest=manifest)
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                yield part
                if out.is_dir():
                    out.rename(old)  # not deleted before the new one stands in its place
                part.rename(out)
            finally:
                _put_back(old, out)
                shutil.rmtree(part, ignore_errors=True)


def _put_back(old: Path, out: Path) -> None:
    """Put a folder back that was moved aside for a new one that did not come; delete it where one did."""
    if old.is_dir() and not os.path.lexists(out):
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def refuse_taken(out: Path, mark: str, kind: str, *, force: bool, manifest: str = "manifest.json") -> None:
    """Refuse an output that is there already; with `force` only one that is no folder of this kind.

    Raises
    ------
    InputError
        There is something that is not overwritten.

    """
    if not force:
        refuse_existing(out)
    refuse_foreign(out, mark, kind, manifest)


def refuse_foreign(out: Path, mark: str, kind: str, manifest: str = "manifest.json") -> None:
    """Refuse to write, or even overwrite, where something else stands than a folder of ours of this kind.

    Parameters
    ----------
    mark
        A key that the folder's manifest has.
    kind
        What such a folder is called.
    manifest
        The name of that file.

    Raises
    ------
    InputError
        There is something else.

    """
    if not os.path.lexists(out) or is_empty(out):
        return
    facts: object = None
    if out.is_dir() and not out.is_symlink():
        with suppress(OSError, InputError, ValueError, RecursionError):
            facts = loads(read_regular(out / manifest))
    if not isinstance(facts, dict) or mark not in facts:
        raise InputError(f"is there already, and no {kind}: it is not overwritten", source=out, remedy="name another")


def brief(value: object) -> str:
    """Write a setting for a message: fingerprints cut to 12 digits, adapters by name and scale."""
    if value is None:
        return "none"
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return value[:12]
    if isinstance(value, Mapping) and {"name", "scale", "fingerprint"} <= value.keys():
        return f"{value['name']} × {value['scale']:g} ({brief(value['fingerprint'])})"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {brief(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(brief, value))
    return str(value)


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
