"""LoRA adapters at run time: a GGUF, or a PEFT folder converted on the fly; and the record of what one was tuned on."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rella_cpp.cache import Cache
from rella_cpp.engine import Adapter, Engine
from rella_cpp.errors import InputError
from rella_gguf import Header, convert_adapter, read_header, tuning_record
from rella_gguf.inspection import QUANTIZED_FROM

logger = logging.getLogger("rella_cpp")

Adapters = Sequence[str | Path | tuple[str | Path, float] | Adapter]
"""Adapters to apply: GGUF files or PEFT folders, each alone or with its scale."""

_CONFIG, _WEIGHTS, _RECORD = "adapter_config.json", "adapter_model.safetensors", "rella.json"
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
    if isinstance(given, str | Path):
        given = (given,)
    named = [Adapter(Path(each[0]), each[1]) if isinstance(each, tuple) else Adapter(Path(each)) for each in given]
    found = tuple(Adapter(_file(path, engine.header, cache), scale) for path, scale in named)
    engine.load_adapters(found)
    for (path, _), (file, _) in zip(named, found, strict=True):
        record = _record(file, path)
        if record is None:
            logger.warning("the adapter %s does not say what it was tuned on", path)
        elif not allow_mismatch:
            _check(record, path, engine.header, made_for)
    return found


def _file(path: Path, base: Header, cache: Cache) -> Path:
    """Return an adapter's GGUF; a PEFT folder is converted once, into the cache."""
    if not path.is_dir():
        return path
    digest = hashlib.sha256(f"{_CONVERTER} {base.path.resolve()} {base.size}".encode())
    for name in (_CONFIG, _WEIGHTS, _RECORD):
        if (path / name).is_file():
            with (path / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    # Beside each other in one folder a name: what results show of an adapter is the name of its file.
    out = cache.folder_for("adapters") / digest.hexdigest()[:16] / f"{path.resolve().name}.gguf"
    if not out.is_file():
        with TemporaryDirectory(dir=cache.folder_for("adapters")) as folder:  # another process may do the same now
            convert_adapter(path, Path(folder) / out.name, base=base.path)
            out.parent.mkdir(mode=0o700, exist_ok=True)
            (Path(folder) / out.name).replace(out)
    return out


def _record(file: Path, given: Path) -> Mapping[str, Any] | None:
    """Read what an adapter was tuned on: the manifest of its rows, and its base; None where it does not say."""
    record = tuning_record(read_header(file))
    if record is not None and not isinstance(record.get("domain"), dict):
        raise InputError(
            "has a record that is no manifest of rows",
            source=given,
            remedy="put the manifest that rella export wrote beside the rows there as rella.json, or nothing",
        )
    return record


def _check(record: Mapping[str, Any], source: Path, base: Header, made_for: Mapping[str, Any]) -> None:
    """Refuse a base, a wording or a chat format that the adapter was not tuned on."""
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
