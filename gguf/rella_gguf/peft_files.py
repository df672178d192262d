"""The files of a PEFT folder, whatever kind of adapter it holds; read with numpy alone."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_gguf.checks import refuse_shard, shard_paths
from rella_gguf.errors import InputError
from rella_gguf.files import check_output
from rella_gguf.regular import read_regular, refuse_special
from rella_gguf.strict_json import loads

CONFIG, WEIGHTS, RECORD = "adapter_config.json", "adapter_model.safetensors", "rella.json"
SAVED = "give the folder that PEFT's save_pretrained wrote"
SOFT_TYPES = ("PROMPT_TUNING", "P_TUNING")
"""The PEFT types that are soft prompts: rows of input embeddings. PEFT saves both as the embeddings it ends up with."""

Matrix = npt.NDArray[np.float32]

_REPOSITORY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def check_folder(folder: Path) -> None:
    """Refuse what is no folder.

    Raises
    ------
    InputError
        It is none.

    """
    if not folder.is_dir():
        finding = "is no folder" if folder.exists() else "no such folder"
        raise InputError(finding, source=folder, remedy=SAVED)


def check_converted(out: Path, folder: Path, base: Path | None, *, force: bool) -> None:
    """Refuse an output over what a conversion reads, or over anything of PEFT's in its folder; see `check_output`.

    Raises
    ------
    InputError
        It is one of these, is there already, or has the name of a part of a split model.

    """
    theirs = [path for path in folder.glob("*") if path.suffix != ".gguf"] if folder.is_dir() else []
    check_output(out, [*theirs, *(() if base is None else shard_paths(base))], force=force)
    refuse_shard(out)


def read_record(folder: Path) -> dict[str, object] | None:
    """Read what the trainer wrote of how the adapter was tuned (rella.json), if anything.

    Raises
    ------
    InputError
        It cannot be read, or is no JSON object.

    """
    if not (folder / RECORD).exists():
        return None
    return read_object(folder / RECORD, "it is a JSON object that says how the adapter was tuned: mend or remove")


def read_tensors(path: Path) -> dict[str, Matrix]:
    """Read the tensors of a safetensors file as float32, exactly, sorted by name.

    Raises
    ------
    InputError
        It is missing, damaged or a pickle, or a tensor is of another type or not finite.

    """
    from safetensors import SafetensorError, deserialize

    if not path.exists():
        raise _missing(path)
    refuse_special(path, SAVED)
    try:
        entries: list[tuple[str, dict[str, Any]]] = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise InputError(error.strerror or str(error), source=path, remedy="give a readable file") from None
    except SafetensorError as error:
        raise InputError(
            f"is damaged or truncated ({error})", source=path, remedy="copy it again, or save the adapter again"
        ) from None
    return {name: _matrix(path, name, entry) for name, entry in sorted(entries, key=lambda entry: entry[0])}


def _missing(path: Path) -> InputError:
    if path.with_suffix(".bin").exists():
        return InputError(
            "is a pickle, which can run any code when it is read",
            source=path.with_suffix(".bin"),
            remedy="load it in peft where you trust it, and save_pretrained(…, safe_serialization=True)",
        )
    others = ", ".join(sorted(file.name for file in path.parent.glob("*.safetensors")))
    return InputError(
        f"no such file (there is {others})" if others else "no such file",
        source=path,
        remedy=SAVED,
    )


def _matrix(path: Path, name: str, entry: Mapping[str, Any]) -> Matrix:
    """Make float32 of a tensor, exactly: a bfloat16 is the upper half of a float32."""
    kind, data = entry["dtype"], entry["data"]
    if kind == "BF16":
        values: Matrix = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif kind in ("F32", "F16"):
        values = np.frombuffer(data, "<f4" if kind == "F32" else "<f2").astype(np.float32)
    else:
        raise InputError(
            f"has the type {kind}", source=path, place=name, remedy="save the adapter in float32, float16 or bfloat16"
        )
    if not np.isfinite(values).all():
        raise InputError(
            "holds numbers that are not finite",
            source=path,
            place=name,
            remedy="the training diverged, or it is damaged",
        )
    return values.reshape(entry["shape"])


def read_object(path: Path, remedy: str) -> dict[str, object]:
    """Read a JSON object of finite numbers.

    Raises
    ------
    InputError
        It cannot be read, or is none.

    """
    try:
        value = loads(read_regular(path, remedy))
    except FileNotFoundError:
        raise InputError("no such file", source=path, remedy=remedy) from None
    except OSError as error:
        raise InputError(error.strerror or str(error), source=path, remedy=remedy) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"is not JSON: {error.msg}", source=path, place=place, remedy=remedy) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", source=path, remedy=remedy) from None
    if not isinstance(value, dict):
        raise InputError("is no JSON object", source=path, remedy=remedy)
    return value


def require(path: Path, values: Mapping[str, object], *keys: str) -> None:
    """Refuse a config that lacks one of the keys.

    Raises
    ------
    InputError
        It does.

    """
    for key in keys:
        if values.get(key) is None:
            raise InputError(f"has no {key}", source=path, remedy="take the config that PEFT saved with the adapter")


def unknown_keys(values: Mapping[str, object], known: Collection[str]) -> tuple[str, ...]:
    """Return the keys of a config that are set and that this version does not know, sorted."""
    return tuple(sorted(key for key, value in values.items() if value and key not in known))


def unknown_note(keys: Sequence[str]) -> list[str]:
    """Say which keys were left aside, if any."""
    return [f"{CONFIG} sets {', '.join(keys)}, which this version does not know and leaves aside"] if keys else []


def name_of(base: str) -> str:
    """Return what a base is called: the repository, or a folder's own name without where it lies."""
    return base if _REPOSITORY.fullmatch(base) else re.split(r"[/\\]", base.rstrip("/\\"))[-1]
