"""Adapters as a user names them for a merge: GGUF files, and folders that PEFT saved, which are converted first."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rella_gguf.errors import InputError
from rella_gguf.files import check_output, is_same

_FORM = 'give paths, or pairs of a path and a scale: ["a.gguf", ("b.gguf", 0.5)]'
_PAIR = 2


@contextmanager
def gguf_adapters(
    adapters: Iterable[str | Path | tuple[str | Path, float]], base: str | Path, out: str | Path | None = None
) -> Iterator[tuple[tuple[Path, float], ...]]:
    """Give adapters as GGUF files with their scales; folders are converted to files that vanish with the block.

    Raises
    ------
    GGUFError
        A folder holds no PEFT adapter for the base.
    InputError
        A scale is no finite number, an adapter is named twice, or the output is one of a folder's files.

    """
    from rella_gguf.lora.conversion import convert_adapter  # not for GGUF adapters, nor for none

    named = named_adapters(adapters)
    with tempfile.TemporaryDirectory(prefix="rella-") as scratch:
        found = []
        for number, (path, scale) in enumerate(named):
            if path.is_dir():
                if out is not None:
                    check_output(Path(out), path.iterdir(), force=True)
                place = Path(scratch, str(number))
                place.mkdir()
                path = Path(convert_adapter(path, place / f"{path.resolve().name}.gguf", base=base).out)
            found.append((path, scale))
        yield tuple(found)


def named_adapters(given: object) -> list[tuple[Path, float]]:
    """Take adapters as a user names them: one path, or a list of paths and of pairs (path, scale).

    Raises
    ------
    InputError
        Something else is among them, a scale is no finite number, or an adapter is named twice, through links and other
        spellings too.

    """
    listed = [given] if isinstance(given, str | Path) else given
    if isinstance(listed, Mapping) or not isinstance(listed, Iterable):
        raise InputError(f"{given!r} is no list of adapters", remedy=_FORM)
    named: list[tuple[Path, float]] = []
    for each in listed:
        path, scale = each if isinstance(each, tuple) and len(each) == _PAIR else (each, 1.0)
        if not isinstance(path, str | Path) or not str(path).strip() or path == Path():
            raise InputError(f"{each!r} is no adapter", remedy=_FORM)
        try:
            with np.errstate(over="ignore"):
                usable = not isinstance(scale, bool | str) and bool(np.isfinite(np.float32(scale)))
        except (TypeError, ValueError, OverflowError):
            usable = False
        if not usable:
            raise InputError(f"the scale is {str(scale)[:40]}", source=path, remedy="give a finite number, such as 1")
        if any(is_same(Path(path), other) or Path(path) == other for other, _ in named):
            raise InputError("is named twice as an adapter", source=path, remedy="name it once, with one scale")
        named.append((Path(path), float(scale)))
    return named
