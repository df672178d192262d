"""What is in a GGUF file: the facts behind `rella gguf inspect`."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rella_gguf.checks import check_complete, shard_paths
from rella_gguf.errors import GGUFError
from rella_gguf.header import ArrayInfo, Header, read_header
from rella_gguf.lineage import MERGED, quantized_from

RECORD_KEY, RECORD_HASH_KEY = "rella.record", "rella.record.sha256"
SOFT_TOKENS, SOFT_AT, SOFT_BASE_SHA256 = "rella.soft.tokens", "rella.soft.at", "rella.soft.base.sha256"
"""How many tokens a soft prompt stands for; where it stands; the fingerprint of the model that it was trained for."""


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """All tensors of one quantization type: how many, their weights and bytes."""

    type: str
    tensors: int
    parameters: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """The tokenizer that the file carries; `vocabulary` counts its tokens."""

    model: str
    pre: str
    vocabulary: int
    add_bos: bool | None
    bos: int | None
    eos: int | None


@dataclass(frozen=True, slots=True)
class Lora:
    """What a LoRA adapter adapts: how many matrices, of which kinds (`attn_q`), with which ranks.

    `base` is the model that it says it was tuned on, `record` how it was tuned, as its trainer wrote it.
    """

    pairs: int
    targets: tuple[str, ...]
    ranks: tuple[int, ...]
    base: str
    record: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Soft:
    """What a soft prompt says of itself: the tokens that it stands for, their width, and where it stands.

    `base` and `base_sha256` are the model that it was trained for, `record` how, as its trainer wrote it.
    """

    tokens: int | None
    width: int | None
    at: str
    base: str
    base_sha256: str
    record: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """Facts of a GGUF file (of all its parts, where it is split). Sizes are in bytes, lengths in tokens.

    `quantized_from` are the fingerprints of the files that it was quantized from, the latest first.
    """

    path: str
    kind: str
    name: str
    architecture: str
    parameters: int
    context_length: int | None
    embedding_length: int | None
    layers: int | None
    heads: int | None
    heads_kv: int | None
    file_bytes: int
    files: int
    quantisation: tuple[TensorGroup, ...]
    tensors: tuple[tuple[str, tuple[int, ...], str], ...]
    tokenizer: Tokenizer | None
    chat_template: str | None
    adapter: dict[str, str]
    lora: Lora | None
    soft: Soft | None
    quantized_from: tuple[str, ...]
    merged: str


def inspect(path: str | Path) -> Inspection:
    """Read what a GGUF file holds, without loading it.

    Raises
    ------
    GGUFError
        The file is no readable GGUF, or truncated.

    """
    parts = [read_header(shard) for shard in shard_paths(path)]
    header = parts[0]
    tensors = [tensor for part in parts for tensor in part.tensors]
    counts, weights, sizes = Counter[str](), Counter[str](), Counter[str]()
    for part in parts:
        check_complete(part)
    for tensor in tensors:
        counts[tensor.type_name] += 1
        weights[tensor.type_name] += tensor.elements
        sizes[tensor.type_name] += tensor.nbytes
    arch = header.architecture
    return Inspection(
        path=str(path),
        kind=header.kind,
        name=header.text("general.name"),
        architecture=arch,
        parameters=sum(weights.values()),
        context_length=header.integer(f"{arch}.context_length"),
        embedding_length=header.integer(f"{arch}.embedding_length"),
        layers=header.integer(f"{arch}.block_count"),
        heads=header.integer(f"{arch}.attention.head_count"),
        heads_kv=header.integer(f"{arch}.attention.head_count_kv"),
        file_bytes=sum(part.size for part in parts),
        files=len(parts),
        quantisation=tuple(TensorGroup(name, counts[name], weights[name], size) for name, size in sizes.most_common()),
        tensors=tuple((tensor.name, tensor.shape, tensor.type_name) for tensor in tensors),
        tokenizer=_tokenizer(header),
        chat_template=header.text("tokenizer.chat_template") or None,
        adapter={key: str(value) for key, value in header.metadata.items() if key.startswith("adapter.")},
        lora=_lora(header) if header.kind == "adapter" else None,
        soft=_soft(header) if header.kind == "soft_prompt" else None,
        quantized_from=quantized_from(header),
        merged=header.text(MERGED),
    )


def tuning_record(header: Header) -> dict[str, object] | None:
    """Return how an adapter or a soft prompt was tuned, as its trainer wrote it; None where it does not say.

    Raises
    ------
    GGUFError
        The record is damaged, or was changed.

    """
    if RECORD_KEY not in header.metadata:
        return None
    text = header.text(RECORD_KEY)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or sha256(text.encode()).hexdigest() != header.text(RECORD_HASH_KEY):
        raise GGUFError(f"its {RECORD_KEY} is damaged, or was changed", source=header.path, remedy="convert it again")
    return record


def _lora(header: Header) -> Lora:
    names = [tensor.name.removesuffix(".weight.lora_b") for tensor in header.tensors if tensor.name.endswith(".lora_b")]
    ranks = {tensor.shape[0] for tensor in header.tensors if tensor.name.endswith(".lora_b") and tensor.shape}
    return Lora(
        pairs=len(names),
        targets=tuple(sorted({name.rpartition(".")[2] for name in names})),
        ranks=tuple(sorted(ranks)),
        base=header.text("general.base_model.0.name"),
        record=tuning_record(header),
    )


def _soft(header: Header) -> Soft:
    return Soft(
        tokens=header.integer(SOFT_TOKENS),
        width=next((tensor.shape[0] for tensor in header.tensors if tensor.shape), None),
        at=header.text(SOFT_AT),
        base=header.text("general.base_model.0.name"),
        base_sha256=header.text(SOFT_BASE_SHA256),
        record=tuning_record(header),
    )


def _tokenizer(header: Header) -> Tokenizer | None:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, ArrayInfo):
        return None
    add_bos = header.metadata.get("tokenizer.ggml.add_bos_token")
    return Tokenizer(
        model=header.text("tokenizer.ggml.model"),
        pre=header.text("tokenizer.ggml.pre"),
        vocabulary=tokens.length,
        add_bos=add_bos if isinstance(add_bos, bool) else None,
        bos=header.integer("tokenizer.ggml.bos_token_id"),
        eos=header.integer("tokenizer.ggml.eos_token_id"),
    )
