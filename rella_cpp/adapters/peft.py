"""What PEFT saved, as a GGUF: folders are converted once, into the cache."""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, TypeVar

from rella_cpp.errors import InputError, RellaError
from rella_cpp.storage.artifacts import read_json, sha256, write_json
from rella_cpp.storage.cache import Cache
from rella_gguf import Header

if TYPE_CHECKING:
    from rella_gguf import Conversion, SoftConversion

logger = logging.getLogger("rella_cpp")

Kind = Literal["lora", "soft"]
_T = TypeVar("_T")

_FILES = ("adapter_config.json", "adapter_model.safetensors", "rella.json")
_LONGEST_NAME = 100
_SUM = ".json"
"""How the name of the file ends that has a converted one's SHA-256."""
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
    path = cache.origins.get(path, path)
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
    place = f"{digest.hexdigest()[:16]}/{name}.gguf"
    for attempt in (1, 2, 3):
        root = cache.folder_for("adapters")
        try:
            if not is_whole(root / place, cache):
                _convert(lambda out: convert(path, out, base=base.path), path, root / place, cache)
            cache.origins[root / place] = path
            return root / place
        except (InputError, OSError) as error:
            where = error.source if isinstance(error, InputError) else error.filename
            if attempt == 3 or not str(where).startswith(str(root)):
                raise
            if attempt == 2:  # it is the cache that fails, not what is converted, and it was not cleared just now
                cache.give_up(error)
    raise AssertionError("the last attempt ends it")


def _convert(convert: Callable[[Path], "Conversion | SoftConversion"], given: Path, out: Path, cache: Cache) -> None:
    """Convert into the cache, and write down what came of it."""
    with TemporaryDirectory(dir=out.parent.parent, ignore_cleanup_errors=True) as folder:  # others may do the same now
        part = Path(folder) / out.name
        done = convert(part)
        write_json(part.with_suffix(_SUM), {"sha256": sha256(part)}, sealed=False)
        out.parent.mkdir(mode=0o700, exist_ok=True)
        for each in (out, out.with_suffix(_SUM)):
            (Path(folder) / each.name).replace(each)
    for note in done.notes:
        logger.warning("%s: %s", given, note)


def is_whole(file: Path, cache: Cache) -> bool:
    """Tell whether a converted file is there as it was written; caches are cleared, and disks fill up."""
    try:
        told = read_json(file.with_suffix(_SUM), "", sealed=False)
        return told.get("sha256") == cache.fingerprint(file, split=False)
    except (InputError, OSError):
        return False


def loaded(load: Callable[[list[Path]], _T], cache: Cache) -> _T:
    """Load what may be converted files; once more where one went away or changed meanwhile.

    Parameters
    ----------
    load
        Does it; it adds the converted files that it uses to the list.
    cache
        Where they are.

    """
    used: list[Path] = []
    try:
        return load(used)
    except (RellaError, OSError):
        if all(is_whole(file, cache) for file in used):
            raise
        return load([])


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which adapter or soft prompt could not be read."""
    try:
        yield
    except FileNotFoundError:
        raise InputError("no such file", source=path, remedy="check the path") from None
    except OSError as error:
        raise InputError(error.strerror or str(error), source=path, remedy="give a readable one") from None
