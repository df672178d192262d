"""LoRA adapters at run time: a GGUF, or a PEFT folder converted on the fly; and the record of what one was tuned on."""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rella_cpp.cache import Cache
from rella_cpp.engine import Adapter, Engine
from rella_cpp.errors import InputError
from rella_gguf.header import Header, read_header
from rella_gguf.lora.adapters import named_adapters

logger = logging.getLogger("rella_cpp")

Adapters = str | Path | Sequence[str | Path | tuple[str | Path, float] | Adapter]
"""Adapters to apply: GGUF files or PEFT folders, each alone or with its scale."""

_CONFIG, _WEIGHTS, _RECORD = "adapter_config.json", "adapter_model.safetensors", "rella.json"
_LONGEST_NAME = 100
_SHAPE = ("block_count", "attention.head_count", "attention.head_count_kv")
_IDENTITY = ("name", "fingerprint")
_CONVERTER = 1
"""Part of a converted adapter's name: another number where conversion changes."""


def load_adapters(
    given: Adapters, engine: Engine, cache: Cache, made_for: Mapping[str, Any], *, allow_mismatch: bool = False
) -> tuple[Adapter, ...]:
    """Find adapters, check what they were tuned on, load them beside the model.

    Parameters
    ----------
    given
        What to apply.
    cache
        Where PEFT folders are converted to.
    made_for
        The judge's settings (`Rella.settings`).
    allow_mismatch
        Take adapters tuned on something else, too.

    Raises
    ------
    InputError
        One cannot be used with this model, is named twice, or was tuned on another base, wording or chat format.

    """
    if not isinstance(given, str | Path | Mapping) and isinstance(given, Iterable):
        given = [each[:2] if isinstance(each, Adapter) else each for each in given]
    named = named_adapters(given)
    found: list[Adapter] = []
    for path, scale in named:
        with _reading(path):
            file = _file(path, engine.header, cache)
            adapter = Adapter(file, scale, cache.fingerprint(file, split=False))
        if any(adapter.fingerprint == other.fingerprint for other in found):
            raise InputError("is named twice as an adapter", source=path, remedy="name it once, with one scale")
        found.append(adapter)
    engine.load_adapters(found)
    for (path, _), adapter in zip(named, found, strict=True):
        record = _record(adapter.path, path)
        if record is None:
            logger.warning("the adapter %s does not say what it was tuned on", path)
        elif not allow_mismatch:
            _check(record, path, engine.header, made_for)
    return tuple(found)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say which adapter could not be read."""
    try:
        yield
    except FileNotFoundError:
        raise InputError("no such file", source=path, remedy="check the path") from None
    except OSError as error:
        raise InputError(error.strerror or str(error), source=path, remedy="give a readable adapter") from None


def _file(path: Path, base: Header, cache: Cache) -> Path:
    """Return an adapter's GGUF; a PEFT folder is converted once, into the cache."""
    if not path.is_dir():
        return path
    from rella_gguf import convert_adapter

    facts = [base.architecture, *(base.integer(f"{base.architecture}.{key}") for key in _SHAPE)]
    digest = hashlib.sha256(f"{_CONVERTER} {base.path.resolve()} {base.size} {facts}".encode())
    for name in (_CONFIG, _WEIGHTS, _RECORD):
        if (path / name).is_file():
            with (path / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    # What results show of an adapter is its file's name; one like a part of a split model's is none.
    name = re.sub(r"-of-(\d{5})$", r"-of \1", path.resolve().name)[:_LONGEST_NAME] or "adapter"
    out = cache.folder_for("adapters") / digest.hexdigest()[:16] / f"{name}.gguf"
    if not out.is_file():
        with TemporaryDirectory(dir=cache.folder_for("adapters")) as folder:  # another process may do the same now
            done = convert_adapter(path, Path(folder) / out.name, base=base.path)
            out.parent.mkdir(mode=0o700, exist_ok=True)
            (Path(folder) / out.name).replace(out)
        for note in done.notes:
            logger.warning("%s: %s", path, note)
    return out


def _record(file: Path, given: Path) -> Mapping[str, Any] | None:
    """Read what an adapter was tuned on: the manifest of its rows, and its base; None where it does not say."""
    from rella_gguf import tuning_record

    record = tuning_record(read_header(file))
    if record is not None and not _is_record(record):
        raise InputError(
            "has a record that is no manifest of rows",
            source=given,
            remedy="put the manifest that rella export wrote beside the rows there as rella.json, or nothing",
        )
    return record


def _is_record(record: Mapping[str, Any]) -> bool:
    domain, base = record.get("domain"), record.get("base") or {}
    if not isinstance(domain, dict) or not isinstance(base, dict):
        return False
    texts = (*map(domain.get, _IDENTITY), *map(base.get, _IDENTITY), record.get("chat_format"))
    return all(text is None or (isinstance(text, str) and len(text) <= _LONGEST_NAME) for text in texts)


def _check(record: Mapping[str, Any], source: Path, base: Header, made_for: Mapping[str, Any]) -> None:
    """Refuse a base, a wording or a chat format that the adapter was not tuned on."""
    from rella_gguf.inspection import QUANTIZED_FROM

    wording, domain = record["domain"], made_for["domain"]
    tuned = record.get("base") or {}
    bases = {None, made_for["model"]["fingerprint"], base.text(QUANTIZED_FROM)}
    differences = (
        (
            wording.get("fingerprint") != domain["fingerprint"],
            f"the domain {wording.get('name')} in another wording than {domain['name']} has now",
        ),
        (
            tuned.get("fingerprint") not in bases,
            f"the model {tuned.get('name')} ({str(tuned.get('fingerprint'))[:12]}), not this one",
        ),
        (
            record.get("chat_format") not in (None, made_for["chat_format"]),
            f"the chat format {record.get('chat_format')}, not {made_for['chat_format']}",
        ),
    )
    for differs, what in differences:
        if differs:
            raise InputError(
                f"was tuned on {what}",
                source=source,
                remedy="give what it was tuned on, or take it as it is with --allow-mismatch",
            )
