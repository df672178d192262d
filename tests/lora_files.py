"""Writes GGUF files for merges: bases with tensors of any type, and adapters with any pairs."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from tiny_model import finish

from rella_gguf import Header, TensorInfo, read_header
from rella_gguf.weights import decode, encode, ggml_type

Array = npt.NDArray[np.float32]
Stored = tuple[str, Array]  # a ggml type and weights in numpy order


def write_tensors(path: Path, tensors: Mapping[str, Stored], *, texts: Mapping[str, str] | None = None) -> Path:
    """Write a model that holds these tensors and nothing to run it with. Returns `path`."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name("Tensors")
    for key, text in (texts or {}).items():
        writer.add_string(key, text)
    for name, (kind, weights) in tensors.items():
        rows = np.ascontiguousarray(weights).reshape(-1, weights.shape[-1])
        info = TensorInfo(name, (weights.shape[-1], len(rows)), int(ggml_type(kind)), 0)
        data = encode(rows, info)
        writer.add_tensor(name, data.reshape(*weights.shape[:-1], -1), raw_dtype=ggml_type(kind))
    finish(writer)
    return path


def write_pairs(
    path: Path,
    pairs: Mapping[str, tuple[Array, Array]],
    *,
    alpha: float = 4.0,
    record: str = "",
    more: Mapping[str, Array] | None = None,
) -> Path:
    """Write an adapter of the matrices A and B, in numpy order, by the tensor that they change. Returns `path`."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    if record:
        writer.add_string("rella.record", record)
        writer.add_string("rella.record.sha256", sha256(record.encode()).hexdigest())
    for name, (a, b) in pairs.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    for name, data in (more or {}).items():
        writer.add_tensor(name, data)
    finish(writer)
    return path


def tensor_bytes(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return the type, shape and bytes of every tensor of a file."""
    header, data = read_header(path), path.read_bytes()
    return {t.name: (t.type_name, t.shape, data[header.data_start + t.offset :][: t.nbytes]) for t in header.tensors}


def weights_of(path: Path, name: str) -> Array:
    """Return a tensor's weights, one row each."""
    header: Header = read_header(path)
    tensor = next(tensor for tensor in header.tensors if tensor.name == name)
    return np.array(decode(tensor_bytes(path)[name][2], tensor))


def normal(*shape: int, seed: int = 0, size: float = 1.0) -> Array:
    """Random weights."""
    return (np.random.default_rng(seed).standard_normal(shape) * size).astype(np.float32)
