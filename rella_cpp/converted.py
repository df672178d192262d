"""What PEFT saved, as a GGUF: folders are converted once, into the cache."""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from rella_cpp.cache import Cache
from rella_cpp.errors import InputError
from rella_gguf import Header

logger = logging.getLogger("rella_cpp")

Kind = Literal["lora", "soft"]

_FILES = ("adapter_config.json", "adapter_model.safetensors", "rella.json")
_LONGEST_NAME = 100
_SHAPE = ("block_count", "attention.head_count", "attention.head_count_kv")
_CONVERTERS = {"lora": "1", "soft": "soft 1"}
"""Part of a converted file's name: another one where conversion changes."""


def gguf_of(path: Path, base: Header, cache: Cache, kind: Kind) -> Path:
    """Return the GGUF of an adapter or a soft prompt; a PEFT folder is converted once, into the cache.

    Parameters
    ----------
    path
        The GGUF, which is returned as it is, or a PEFT folder.
    base
        The model that it is for.
    kind
        What the folder is to hold.

    Raises
    ------
    InputError
        The folder does not hold that, or it does not fit the base.

    """
    if not path.is_dir():
        return path
    import rella_gguf

    convert = rella_gguf.convert_adapter if kind == "lora" else rella_gguf.convert_soft_prompt
    facts = [base.architecture, *(base.integer(f"{base.architecture}.{key}") for key in _SHAPE)]
    digest = hashlib.sha256(f"{_CONVERTERS[kind]} {base.path.resolve()} {base.size} {facts}".encode())
    for name in _FILES:
        if (path / name).is_file():
            with (path / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    # What results show of an adapter is its file's name; one like a part of a split model's is none.
    name = re.sub(r"-of-(\d{5})$", r"-of \1", path.resolve().name)[:_LONGEST_NAME] or kind
    out = cache.folder_for("adapters") / digest.hexdigest()[:16] / f"{name}.gguf"
    if not out.is_file():
        with TemporaryDirectory(dir=cache.folder_for("adapters")) as folder:  # another process may do the same now
            done = convert(path, Path(folder) / out.name, base=base.path)
            out.parent.mkdir(mode=0o700, exist_ok=True)
            (Path(folder) / out.name).replace(out)
        for note in done.notes:
            logger.warning("%s: %s", path, note)
    return out


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which adapter or soft prompt could not be read."""
    try:
        yield
    except FileNotFoundError:
        raise InputError("no such file", source=path, remedy="check the path") from None
    except OSError as error:
        raise InputError(error.strerror or str(error), source=path, remedy="give a readable one") from None
