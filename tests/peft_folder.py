"""Writes tiny PEFT folders: adapter_config.json and adapter_model.safetensors, as save_pretrained does."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tiny_model import Shape, spm_vocab

Array = npt.NDArray[np.float32]
Tensors = dict[str, Array]


def sizes(shape: Shape, vocab: int) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of each kind of module."""
    return {
        "q_proj": (shape.embd, shape.embd),
        "k_proj": (shape.kv, shape.embd),
        "v_proj": (shape.kv, shape.embd),
        "o_proj": (shape.embd, shape.embd),
        "gate_proj": (shape.ff, shape.embd),
        "up_proj": (shape.ff, shape.embd),
        "down_proj": (shape.embd, shape.ff),
        "lm_head": (vocab, shape.embd),
        "embed_tokens": (vocab, shape.embd),
    }


def modules(shape: Shape, targets: Sequence[str]) -> list[str]:
    """The modules of a Llama that these targets name."""
    outer = {"lm_head": "lm_head", "embed_tokens": "model.embed_tokens"}
    found = [outer[target] for target in targets if target in outer]
    for layer in range(shape.layers):
        for target in targets:
            if target not in outer:
                place = "mlp" if target in ("gate_proj", "up_proj", "down_proj") else "self_attn"
                found.append(f"model.layers.{layer}.{place}.{target}")
    return found


def peft_tensors(
    *,
    shape: Shape | None = None,
    rank: int = 2,
    targets: Sequence[str] = ("q_proj", "v_proj"),
    seed: int = 1,
    ranks: Mapping[str, int] | None = None,
) -> Tensors:
    """Random matrices by PEFT's names; `ranks` has the rank of the targets that have another one."""
    shape, random = shape or Shape(), np.random.default_rng(seed)
    every = sizes(shape, len(spm_vocab().tokens))
    tensors: Tensors = {}
    for module in modules(shape, targets):
        kind = module.rpartition(".")[2]
        outputs, inputs = every[kind]
        r = (ranks or {}).get(kind, rank)
        a, b, end = (r, inputs), (outputs, r), "lora_{}.weight"
        if kind == "embed_tokens":
            a, b, end = (r, outputs), (inputs, r), "lora_embedding_{}"
        for side, size in (("A", a), ("B", b)):
            name = f"base_model.model.{module}.{end.format(side)}"
            tensors[name] = (random.standard_normal(size) * 0.3).astype(np.float32)
    return tensors


def write_safetensors(path: Path, tensors: Mapping[str, Array], dtype: str = "F32") -> Path:
    """Write a safetensors file by its specification; `dtype` F32, F16 or BF16 (cut off, not rounded)."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, value in tensors.items():
        value = np.asarray(value, np.float32)
        if dtype == "BF16":
            raw = (value.view(np.uint32) >> 16).astype("<u2").tobytes()
        else:
            raw = value.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": value.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def write_peft(
    folder: Path,
    *,
    shape: Shape | None = None,
    rank: int = 2,
    alpha: float = 4,
    targets: Sequence[str] = ("q_proj", "v_proj"),
    seed: int = 1,
    dtype: str = "F32",
    ranks: Mapping[str, int] | None = None,
    tensors: Mapping[str, Array] | None = None,
    **config: object,
) -> Path:
    """Write a PEFT folder; further keywords go into its config, None takes a key out. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, object] = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": list(targets),
        "base_model_name_or_path": "tiny/base",
        "bias": "none",
        "rank_pattern": dict(ranks or {}),
        **config,
    }
    kept = {key: value for key, value in values.items() if value is not None}
    (folder / "adapter_config.json").write_text(json.dumps(kept))
    if tensors is None:
        tensors = peft_tensors(shape=shape, rank=rank, targets=targets, seed=seed, ranks=ranks)
    write_safetensors(folder / "adapter_model.safetensors", tensors, dtype)
    return folder


def write_soft(
    folder: Path,
    *,
    tokens: int = 5,
    width: int = 16,
    kind: str = "PROMPT_TUNING",
    seed: int = 1,
    dtype: str = "F32",
    tensors: Mapping[str, Array] | None = None,
    **config: object,
) -> Path:
    """Write the PEFT folder of a soft prompt; further keywords go into its config, None takes a key out."""
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, object] = {
        "peft_type": kind,
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": tokens,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "num_layers": 2,
        "num_attention_heads": 4,
        "modules_to_save": None,
        "base_model_name_or_path": "tiny/base",
        "inference_mode": True,
        **config,
    }
    kept = {key: value for key, value in values.items() if value is not None}
    (folder / "adapter_config.json").write_text(json.dumps(kept))
    if tensors is None:
        tensors = {"prompt_embeddings": soft_embeddings(tokens, width, seed)}
    write_safetensors(folder / "adapter_model.safetensors", tensors, dtype)
    return folder


def soft_embeddings(tokens: int = 5, width: int = 16, seed: int = 1) -> Array:
    """Random rows of input embeddings."""
    return (np.random.default_rng(seed).standard_normal((tokens, width)) * 0.25).astype(np.float32)
