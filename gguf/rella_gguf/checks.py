"""Refuse a file that cannot serve, with the reason, before llama.cpp sees it."""

import math
import re
from pathlib import Path

from rella_gguf.arrays import kind
from rella_gguf.errors import GGUFError, InputError
from rella_gguf.header import Header, read_header

_MAX_LAYERS = 512  # LLAMA_MAX_LAYERS; llama.cpp stops the process on more
_NO_WEIGHTS = (9, 15, *range(24, 29))  # Q8_1 and Q8_K, which are for what weights meet; I8, I16, I32, I64, F64
_I32, _TABLE = 26, "tid2eid"  # DeepSeek's table of experts by token
_ADDED = (0, 1, 30)  # F32, F16, BF16: what norms and biases may be
_MAPPED = 32  # TENSOR_ALIGNMENT: llama.cpp stops the process on a mapped file whose tensors do not begin so
_PART_NUMBER, _UINT16 = "split.no", 2  # a GGUF value type
_WRONG_BASE = "give the base model that the adapter was trained on"
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


def shard_paths(path: str | Path) -> tuple[Path, ...]:
    """All files of the model that `path` begins: itself, or every `NAME-0000N-of-0000M.gguf` of a split one.

    Raises
    ------
    GGUFError
        `path` is a later shard of a split model.

    """
    path = Path(path)
    match = _SHARD.match(path.name)
    if match is None:
        return (path,)
    stem, count = match["stem"], int(match["count"])
    if count == 0:
        return (path,)
    if int(match["number"]) != 1:
        raise GGUFError(
            f"is part {int(match['number'])} of a split model",
            source=path,
            remedy=f"give its first part, {stem}-00001-of-{count:05d}.gguf",
        )
    return tuple(path.with_name(f"{stem}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1))


def refuse_shard(out: Path) -> None:
    """Refuse an output with the name of a part of a split model.

    Raises
    ------
    InputError
        It has such a name.

    """
    if _SHARD.match(out.name):
        raise InputError(
            "has the name of a part of a split model", source=out, remedy="one file is written: name it otherwise"
        )


def check_model(path: str | Path) -> Header:
    """Check that `path` is a whole GGUF model and return its header (a split model's: of its first part).

    Raises
    ------
    GGUFError
        It is missing, no GGUF, truncated, an adapter, a vocabulary, or of another kind.

    """
    header, *rest = [read_header(shard) for shard in shard_paths(path)]
    if header.kind != "model":
        finding = f"is a GGUF of the kind {header.kind}, not a model"
        remedy = {
            "adapter": "give the base model in its place; an adapter goes with --lora",
            "vocabulary": "it holds a tokenizer and no weights; give the full model",
        }.get(header.kind, "give a language model")
        if header.kind == "soft_prompt":
            finding, remedy = "is a soft prompt, not a model", "give the base model in its place; it goes with --soft"
        raise GGUFError(finding, source=header.path, remedy=remedy)
    for part in rest:
        _check_part_number(part)
    for part in (header, *rest):
        check_complete(part)
        _check_types(part)
    for key, most in (("context_length", 2**31 - 1), ("block_count", _MAX_LAYERS)):
        value = header.integer(f"{header.architecture}.{key}")
        if value is not None and not 1 <= value <= most:
            raise GGUFError(
                f"has the {key} {value}", source=header.path, remedy=f"1 to {most} can be: the file is damaged"
            )
    return header


def _check_part_number(part: Header) -> None:
    """Refuse a part whose number is of another type than uint16: llama.cpp reads it without a look."""
    if _PART_NUMBER in part.metadata and kind(part, _PART_NUMBER) != _UINT16:
        raise GGUFError(
            f"has the {_PART_NUMBER} in another type than uint16", source=part.path, remedy="split it again"
        )


def _check_types(header: Header) -> None:
    """Refuse weights of a type that llama.cpp cannot compute with: it would stop the process."""
    for tensor in header.tensors:
        added = tensor.name.endswith((".bias", "norm.weight")) and tensor.type not in _ADDED
        multiplied = tensor.name.endswith(".weight") or ".lora_" in tensor.name
        looked_up = tensor.type == _I32 and _TABLE in tensor.name
        if added or (multiplied and tensor.type in _NO_WEIGHTS and not looked_up):
            raise GGUFError(
                f"tensor {tensor.name} has the type {tensor.type_name}, which is none for weights",
                source=header.path,
                remedy="the file is damaged, or no file for llama.cpp",
            )


def mappable(model: Header) -> bool:
    """Tell whether llama.cpp can use a model's tensors where they stand in its files, or has to read them elsewhere."""
    parts = [model, *(read_header(path) for path in shard_paths(model.path)[1:])]
    return not any((part.data_start + tensor.offset) % _MAPPED for part in parts for tensor in part.tensors)


def check_adapter(path: str | Path, base: Header) -> Header:
    """Check that `path` is a whole GGUF LoRA adapter whose tensors fit the model `base`; return its header.

    Raises
    ------
    GGUFError
        It is no adapter, or made for another architecture or for tensors of another size.

    """
    header = read_header(path)
    if header.kind != "adapter" or header.text("adapter.type") != "lora":
        found = {"model": "a full model", "adapter": "an adapter of another type", "soft_prompt": "a soft prompt"}
        kind = found.get(header.kind, f"a GGUF of the kind {header.kind}")
        remedy = "give it with --soft" if header.kind == "soft_prompt" else "give a GGUF adapter"
        raise GGUFError(f"is {kind}, not a LoRA adapter", source=path, remedy=remedy)
    check_complete(header)
    _check_types(header)
    if header.architecture != base.architecture:
        raise GGUFError(
            f"was made for the architecture {header.architecture}, the model is {base.architecture}",
            source=path,
            remedy=_WRONG_BASE,
        )
    alpha = header.metadata.get("adapter.lora.alpha")
    if not isinstance(alpha, float) or not math.isfinite(alpha):
        raise GGUFError(f"has the alpha {alpha!r}", source=path, remedy="adapter.lora.alpha is a finite float32")
    _check_pairs(header, base)
    return header


def _check_pairs(header: Header, base: Header) -> None:
    """Check that each pair of matrices fits a weight matrix of the base, and that there is one.

    lora_a is (inputs, rank) and lora_b (rank, outputs) in GGML order; those of token_embd are (rank, tokens) and
    (rank, width).
    """
    shapes = tensor_shapes(base)
    sides = {tensor.name: tensor.shape for tensor in header.tensors}
    names = [tensor.name.rpartition(".lora_")[0] for tensor in header.tensors if tensor.name.endswith(".lora_a")]
    if not names:
        raise GGUFError(
            "adapts nothing", source=header.path, remedy="it holds no pair lora_a, lora_b: convert it again"
        )
    for name in names:
        a, b = sides[f"{name}.lora_a"], sides.get(f"{name}.lora_b", ())
        # llama.cpp cannot adapt one use of a shared matrix: it refuses output, and stops the process at token_embd.
        if name in ("output.weight", "token_embd.weight") and "output.weight" not in shapes:
            raise GGUFError(
                f"adapts {name}, and the model has one matrix for embeddings and output (tied)",
                source=header.path,
                remedy="use a GGUF of the model that holds output.weight by itself, or another adapter",
            )
        if len(shapes.get(name, ())) < 2:
            raise GGUFError(
                f"adapts {name}, which is no weight matrix of the model", source=header.path, remedy=_WRONG_BASE
            )
        embedding = name == "token_embd.weight"
        if len(a) != len(b) or len(a) < 2 or b[0] != a[0 if embedding else 1]:
            raise GGUFError(
                f"{name} has the shapes {a} and {b}, which are no pair", source=header.path, remedy="convert it again"
            )
        width, height = shapes[name][:2]
        ends = (("a", a[1], height), ("b", b[1], width)) if embedding else (("a", a[0], width), ("b", b[1], height))
        for side, found, expected in ends:
            if found != expected:
                raise GGUFError(
                    f"{name}.lora_{side} is made for a width of {found}, the model's {name} has {expected}",
                    source=header.path,
                    remedy=_WRONG_BASE,
                )


def check_complete(header: Header) -> None:
    """Check that the file holds all the bytes that its tensor table promises.

    Raises
    ------
    GGUFError
        The file is shorter than that.

    """
    try:
        needed = max((header.data_start + tensor.offset + tensor.nbytes for tensor in header.tensors), default=0)
    except GGUFError as error:
        raise error.located(header.path) from None
    if header.size < needed:
        raise GGUFError(
            f"has {header.size:,} bytes where its tensors need {needed:,}",
            source=header.path,
            remedy="the file is truncated: download it again",
        )


def tensor_shapes(model: Header) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's tensors in GGML order, by name (of all its parts, where it is split)."""
    parts = [model, *(read_header(path) for path in shard_paths(model.path)[1:])]
    return {tensor.name: tensor.shape for part in parts for tensor in part.tensors}
