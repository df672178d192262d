"""LoRA adapters at run time: GGUFs, or PEFT folders converted on the fly."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from rella_cpp.adapters.peft import gguf_of, loaded, reading
from rella_cpp.adapters.provenance import check_record, is_record, read_record
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.identity import AppliedSoftPrompt
from rella_cpp.engine.lora import Adapter
from rella_cpp.engine.trial.trial import Kind
from rella_cpp.errors import InputError, RellaError
from rella_cpp.storage.artifacts import read_json
from rella_cpp.storage.cache import Cache
from rella_gguf import check_adapter, read_header
from rella_gguf.lineage import merged_records
from rella_gguf.lora.adapters import named_adapters

logger = logging.getLogger("rella_cpp")

Adapters = str | Path | Sequence[str | Path | tuple[str | Path, float] | Adapter]
"""Adapters to apply: GGUF files or PEFT folders, each alone or with its scale."""


def load_adapters(
    given: Adapters,
    engine: Engine,
    cache: Cache,
    made_for: Mapping[str, Any],
    *,
    allow_mismatch: bool = False,
    try_out: Callable[[Kind, Path, str, Path], None],
) -> tuple[Adapter, ...]:
    """Find adapters, check what they were tuned on, load them beside the model.

    Parameters
    ----------
    given
        What to apply.
    cache
        Where PEFT folders are converted to.
    made_for
        The scorer's settings (`Rella.settings`).
    allow_mismatch
        Take adapters tuned on something else, too.
    try_out
        Called with each file, its fingerprint and what was given before llama.cpp loads it here.

    Raises
    ------
    InputError
        One cannot be used with this model, is named twice, or was tuned on another base, wording or chat format.
    EngineError
        llama.cpp dies with one.

    """
    named = _named(given)
    found = loaded(lambda used: _load(named, engine, cache, try_out, used), cache)
    for (path, _), adapter in zip(named, found, strict=True):
        record = record_of(adapter)
        if record is None:
            logger.warning("the adapter %s does not say what it was tuned on", path)
        elif not allow_mismatch:
            check_record(record, path, engine.header, made_for)
    return found


def _load(
    named: Sequence[tuple[Path, float]],
    engine: Engine,
    cache: Cache,
    try_out: Callable[[Kind, Path, str, Path], None],
    used: list[Path],
) -> tuple[Adapter, ...]:
    """Convert, try and load adapters; see `load_adapters` and `loaded`."""
    found: list[Adapter] = []
    for path, scale in named:
        with reading(path):
            file = gguf_of(path, engine.header, cache, "lora")
            used += [file] if file in cache.origins else []
            adapter = Adapter(file, scale, cache.fingerprint(file, split=False))
        if any(adapter.fingerprint == other.fingerprint for other in found):
            raise InputError("is named twice as an adapter", source=path, remedy="name it once, with one scale")
        found.append(adapter)
    for (path, _), adapter in zip(named, found, strict=True):
        check_adapter(adapter.path, engine.header)
        try_out("adapter", adapter.path, adapter.fingerprint, path)
    engine.load_adapters(found)
    for (path, _), adapter in zip(named, found, strict=True):
        read_record(adapter.path, path)  # names what was given, where that has none that can be read
        record_of(adapter)
    return tuple(found)


def records_of(given: Adapters) -> list[Mapping[str, Any]]:
    """Return what adapters were tuned on, before they are loaded; of a PEFT folder `rella.json` says it.

    Adapters that cannot be read, or do not say it, are left out.
    """
    found = []
    for path, _ in _named(given):
        try:
            record = read_json(path / "rella.json", "", sealed=False) if path.is_dir() else read_record(path, path)
        except (RellaError, OSError):  # loading it says what is wrong
            continue
        if record is not None and is_record(record):
            found.append(record)
    return found


def merged_into(base: str | Path) -> list[Mapping[str, Any]]:
    """Return what adapters were tuned on that were merged into a model; none of one that cannot be read."""
    try:
        return [record for record in merged_records(read_header(base)) if is_record(record)]
    except (RellaError, OSError):  # loading it says what is wrong
        return []


def _named(given: Adapters) -> list[tuple[Path, float]]:
    """Take adapters as they are given, or as they are loaded."""
    if not isinstance(given, str | Path | Mapping) and isinstance(given, Iterable):
        given = [each[:2] if isinstance(each, Adapter) else each for each in given]
    return named_adapters(given)


@lru_cache(maxsize=1024)
def record_of(adapter: Adapter) -> Mapping[str, Any] | None:
    """Return what an adapter was tuned on. It is read once: a file in the cache may go while it is in use."""
    return read_record(adapter.path, adapter.path)


def check_tuned_behind(
    adapters: Sequence[Adapter], soft: AppliedSoftPrompt | None, *, allow_mismatch: bool = False
) -> None:
    """Compare the soft prompt in use with those that adapters were tuned behind; warn where none is in use.

    Raises
    ------
    InputError
        An adapter was tuned behind another one, and `allow_mismatch` is False.

    """
    for adapter in adapters:
        behind = (record_of(adapter) or {}).get("soft_prompt")
        if not isinstance(behind, Mapping):
            continue
        if soft is None:
            name = adapter.path.name
            logger.warning("the adapter %s was tuned behind a soft prompt, and none is in use: give it, too", name)
        elif soft.fingerprint != behind.get("fingerprint") and not allow_mismatch:
            told = str(behind.get("fingerprint"))[:12]
            raise InputError(
                f"was tuned behind another soft prompt ({told}) than {soft.name} ({soft.fingerprint[:12]})",
                source=adapter.path,
                remedy="give that one, or take it as it is with --allow-mismatch",
            )
