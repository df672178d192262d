"""Convert a soft prompt that PEFT saved to a GGUF file: the same numbers, with what they were trained for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rella_gguf.checks import check_model, shard_paths
from rella_gguf.errors import InputError
from rella_gguf.header import Header
from rella_gguf.lineage import quantized_from
from rella_gguf.peft_files import (
    CONFIG,
    RECORD,
    SAVED,
    SOFT_TYPES,
    WEIGHTS,
    Matrix,
    check_converted,
    check_folder,
    name_of,
    read_object,
    read_record,
    read_tensors,
    require,
    unknown_keys,
    unknown_note,
)
from rella_gguf.reader import combined, file_sha256
from rella_gguf.soft.prompts import PLACES, SHA256, SoftPrompt, check_soft_prompt, write_soft_prompt

_SAVED_AS = "prompt_embeddings"
_PLAIN = f"train it as {' or '.join(SOFT_TYPES)}"
_AGAIN = "save the prompt again"
_KEYS_AND_VALUES = "is no prompt: it holds keys and values for each layer"
OTHER_TYPES: Mapping[str, tuple[str, str]] = {
    "LORA": ("is a LoRA adapter", "rella lora convert converts it"),
    "PREFIX_TUNING": (_KEYS_AND_VALUES, _PLAIN),
    "CARTRIDGE": (_KEYS_AND_VALUES, _PLAIN),
    "ADAPTION_PROMPT": ("is no prompt: it adds to the attention of single layers", _PLAIN),
    "MULTITASK_PROMPT_TUNING": ("is a prompt for several tasks, which differ by a factor", _PLAIN),
}
"""What a folder of another PEFT type holds, and the remedy."""
_KNOWN = frozenset(
    "peft_type num_virtual_tokens token_dim num_transformer_submodules num_attention_heads num_layers modules_to_save"
    " base_model_name_or_path revision auto_mapping task_type inference_mode peft_version prompt_tuning_init"
    " prompt_tuning_init_text tokenizer_name_or_path tokenizer_kwargs encoder_reparameterization_type"
    " encoder_hidden_size encoder_num_layers encoder_dropout".split()
)


@dataclass(frozen=True, slots=True)
class SoftConversion:
    """What was written.

    Attributes
    ----------
    out
        The soft prompt's file.
    base, architecture
        The model that it was trained for, by name; its architecture. None where that is not known.
    tokens, width
        How many tokens it stands for, and how long each one's embedding is.
    kind
        Its type in PEFT, `PROMPT_TUNING` or `P_TUNING`.
    at
        Where it stands, `start` or `marker`.
    record
        How it was trained, as its trainer wrote it; it is in the file.
    notes
        What is not known or does not agree, as sentences.

    """

    out: str
    base: str | None
    architecture: str | None
    tokens: int
    width: int
    kind: str
    at: str
    record: Mapping[str, object] | None
    notes: tuple[str, ...]


def convert_soft_prompt(
    folder: str | Path,
    out: str | Path,
    *,
    base: str | Path | None = None,
    at: str = "start",
    force: bool = False,
) -> SoftConversion:
    """Convert the soft prompt in a PEFT folder to a GGUF file; every number stays what it is.

    Parameters
    ----------
    folder
        Holds adapter_config.json and adapter_model.safetensors, of prompt tuning or p-tuning.
    out
        The file to write.
    base
        The GGUF of the model that it was trained for: its architecture and width are checked, and it is recorded by its
        SHA-256. Without it, the base that the folder's rella.json names is recorded.
    at
        Where it stands: `start`, before the first token (BOS included), as in PEFT; `marker`, where the domain's
        template says.
    force
        Overwrite `out`.

    Raises
    ------
    InputError
        The folder holds no soft prompt, it does not fit the base, or `out` is there already, is one of the inputs or
        cannot be written.

    """
    folder, out, base = Path(folder), Path(out), None if base is None else Path(base)
    if at not in PLACES:
        raise InputError(f"the place of a soft prompt is {at!r:.100}", remedy=f"it is {' or '.join(PLACES)}")
    check_converted(out, folder, base, force=force)
    check_folder(folder)
    config = read_object(folder / CONFIG, SAVED)
    tokens, width = _sizes(folder / CONFIG, config)
    embeddings = _embeddings(folder / WEIGHTS, tokens, width)
    record = read_record(folder)
    known, notes = _recorded(record, config), unknown_note(unknown_keys(config, _KNOWN))
    if base is None:
        notes += _unchecked(known)
    else:
        header = check_model(base)
        check_soft_prompt(SoftPrompt(out, embeddings, at, None, None, None, record), header, source=folder / WEIGHTS)
        told, known = known, _of_gguf(header)
        notes += _another(told, known, header, base)
    soft = SoftPrompt(out, embeddings, at, known.architecture, known.name, known.sha256, record)
    write_soft_prompt(soft, folder.resolve().name)
    kind = str(config["peft_type"])
    return SoftConversion(str(out), known.name, known.architecture, tokens, width, kind, at, record, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Base:
    """What is known of the model that a prompt was trained for."""

    architecture: str | None
    name: str | None
    sha256: str | None


def _unchecked(known: _Base) -> list[str]:
    """Say what is not known without a base."""
    notes = ["no base GGUF was given: its architecture and width are checked when the soft prompt is used"]
    if known.sha256 is None:
        notes.append("which file it was trained for is not known: another model of that width will not be noticed")
    return notes


def _another(told: _Base, known: _Base, header: Header, base: Path) -> list[str]:
    """Say that the trainer's record names another base than the one given."""
    if told.sha256 in (None, known.sha256, *quantized_from(header)):
        return []
    return [f"{RECORD} says that it was trained for another model than {base.name} ({told.sha256:.12})"]


def _of_gguf(header: Header) -> _Base:
    digests = [file_sha256(part) for part in shard_paths(header.path)]
    return _Base(header.architecture, header.text("general.name") or header.path.name, combined(digests))


def _recorded(record: Mapping[str, object] | None, config: Mapping[str, object]) -> _Base:
    """Take what the trainer's record says of the base, else its name in PEFT's config."""
    base = (record or {}).get("base")
    told = base if isinstance(base, dict) else {}
    name, digest, named = told.get("name"), told.get("fingerprint"), config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        name = name_of(named) if isinstance(named, str) and named else None
    return _Base(None, name, digest if isinstance(digest, str) and SHA256.fullmatch(digest) else None)


def _sizes(path: Path, config: Mapping[str, object]) -> tuple[int, int]:
    """Check the config; return how many tokens the prompt stands for, and the width of each."""
    require(path, config, "peft_type")
    kind = config["peft_type"]
    if kind not in SOFT_TYPES:
        finding, remedy = OTHER_TYPES.get(str(kind), ("is no soft prompt", f"{' and '.join(SOFT_TYPES)} are"))
        raise InputError(f"{finding} (the PEFT type {kind!s:.100})", source=path, remedy=remedy)
    require(path, config, "num_virtual_tokens", "token_dim")
    sizes: list[int] = []
    for key in ("num_virtual_tokens", "token_dim", "num_transformer_submodules"):
        value = config.get(key)
        if value is None:  # of the last: PEFT takes what the model has, and a causal one has one
            value = 1
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"is {value!r:.100}", source=path, place=key, remedy="it is a whole number above 0")
        sizes.append(value)
    tokens, width, submodules = sizes
    if submodules > 1:
        raise InputError(
            f"is {submodules}: a prompt for the encoder and one for the decoder",
            source=path,
            place="num_transformer_submodules",
            remedy="prompts for a causal language model can be converted",
        )
    return tokens, width


def _embeddings(path: Path, tokens: int, width: int) -> Matrix:
    tensors = read_tensors(path)
    found = tensors.pop(_SAVED_AS, None)
    if found is None:
        listed = ", ".join(list(tensors)[:3]) or "nothing"
        raise InputError(f"holds {listed:.300}, and no {_SAVED_AS}", source=path, remedy=_AGAIN)
    if tensors:
        raise InputError(
            f"is saved beside the prompt, and a soft prompt is {_SAVED_AS} alone",
            source=path,
            place=next(iter(tensors)),
            remedy="train without modules_to_save, and without new words in the vocabulary",
        )
    if found.shape != (tokens, width):
        raise InputError(
            f"{_SAVED_AS} is {' × '.join(map(str, found.shape)) or 'a number'}, where {CONFIG} says {tokens} × {width}",
            source=path,
            remedy="bring the config and the weights of one prompt together",
        )
    return found
