"""Adapters as a user names them for a merge: GGUF files, and folders that PEFT saved, which are converted first."""

import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rella_gguf.errors import InputError
from rella_gguf.lora.conversion import convert_adapter


@contextmanager
def gguf_adapters(
    adapters: Iterable[tuple[str | Path, float]], base: str | Path, out: str | Path | None = None
) -> Iterator[tuple[tuple[Path, float], ...]]:
    """Give adapters as GGUF files with their scales; folders are converted to files that vanish with the block.

    Raises
    ------
    GGUFError
        A folder holds no PEFT adapter for the base.
    InputError
        A scale is no finite number, an adapter is named twice, or the output is one of a folder's files.

    """
    named = [(Path(path), float(scale)) for path, scale in adapters]
    check_named(named)
    with tempfile.TemporaryDirectory(prefix="rella-") as scratch:
        found = []
        for number, (path, scale) in enumerate(named):
            if path.is_dir():
                if out is not None:
                    refuse_input(Path(out), list(path.iterdir()))
                place = Path(scratch, str(number))
                place.mkdir()
                path = Path(convert_adapter(path, place / f"{path.resolve().name}.gguf", base=base).out)
            found.append((path, scale))
        yield tuple(found)


def check_named(adapters: Sequence[tuple[Path, float]]) -> None:
    """Check the scales, and that no adapter is named twice, through links and other spellings too.

    Raises
    ------
    InputError
        A scale is no finite number, or an adapter is named twice.

    """
    for number, (path, scale) in enumerate(adapters):
        if not math.isfinite(scale):
            raise InputError(f"the scale is {scale}", source=path, remedy="give a finite number")
        if any(_same(path, other) for other, _ in adapters[:number]):
            raise InputError("is named twice", source=path, remedy="name it once, with the scale that you want")


def refuse_input(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that is an input, through links and other spellings too; so is the file it is written as first.

    Raises
    ------
    InputError
        It is.

    """
    for path in inputs:
        for taken in (out, out.with_name(f"{out.name}.part")):
            if _same(path, taken):
                raise InputError("is also read", source=taken, remedy="name another output")


def _same(path: Path, other: Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False
