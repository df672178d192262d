"""Write a shortened model: the first layers of another one, everything else kept.

What such a model says means little, but its layers cost what the whole model's cost, so that a large one can be
timed in seconds.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from rella_gguf.checks import check_model, shard_paths
from rella_gguf.errors import GGUFError, InputError
from rella_gguf.files import new_file, refuse_existing
from rella_gguf.header import MAGIC, ArrayInfo, Header, TensorInfo, read_header
from rella_gguf.rewriting import padded

ALIKE = (
    "command-r falcon gemma gemma2 gemma3 granite internlm2 llama mistral3 olmo olmo2 phi2 phi3 qwen2 qwen2moe qwen3 "
    "qwen3moe smollm3 stablelm starcoder2"
).split()
"""Architectures whose layers are alike and know nothing of their number, so that the first ones stand for all."""

_BLOCK = 1 << 24
_LAYER = re.compile(r"^blk\.(\d+)\.")
_UINT32 = 4  # GGUF value type
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes by GGUF value type
_SPLIT = ("split.no", "split.count", "split.tensors.count")


def cut(source: str | Path, out: str | Path, layers: int, *, force: bool = False) -> Path:
    """Write the first `layers` layers of a model (all, if it has no more) and all that is no layer's; return `out`.

    Weights are copied as they are, block by block: memory stays small.

    Raises
    ------
    GGUFError
        The source is no whole model, or its layers are not alike (see `ALIKE`).
    InputError
        `layers` is less than 1; `out` is there already or cannot be written.

    """
    out = Path(out)
    header = check_model(source)
    if layers < 1:
        raise InputError(f"layers is {layers}", remedy="give at least 1")
    if header.architecture not in ALIKE:
        raise GGUFError(
            f"a {header.architecture} model cannot be cut", source=source, remedy=f"it can be of {', '.join(ALIKE)}"
        )
    if not force:
        refuse_existing(out)
    parts = [read_header(path) for path in shard_paths(source)]
    kept = kept_tensors(parts, layers)
    with new_file(out) as file:
        _write_header(file, header, [tensor for _, tensor in kept], layers)
        for part, tensor in kept:
            _copy(part, tensor, file)
            file.write(bytes(padded(tensor.nbytes, header.alignment) - tensor.nbytes))
    return out


def kept_tensors(parts: Iterable[Header], layers: int) -> list[tuple[Header, TensorInfo]]:
    """List the tensors that a model cut to its first `layers` layers keeps, each with the part that holds it."""
    return [(part, tensor) for part in parts for tensor in part.tensors if _layer(tensor) < layers]


def _layer(tensor: TensorInfo) -> int:
    """Return the layer that a tensor belongs to, -1 where none."""
    match = _LAYER.match(tensor.name)
    return int(match[1]) if match else -1


def _write_header(file: BinaryIO, header: Header, tensors: list[TensorInfo], layers: int) -> None:
    entries = list(_entries(header, layers))
    file.write(MAGIC + struct.pack("<IQQ", header.version, len(tensors), len(entries)))
    file.writelines(entries)
    offset = 0
    for tensor in tensors:
        shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        file.write(_string(tensor.name) + shape + struct.pack("<IQ", tensor.type, offset))
        offset += padded(tensor.nbytes, header.alignment)
    file.write(bytes(-file.tell() % header.alignment))


def _entries(header: Header, layers: int) -> Iterator[bytes]:
    """Yield the metadata entries of the cut model: the source's own bytes, but for what counts layers."""
    arch, all_layers = header.architecture, header.integer(f"{header.architecture}.block_count") or layers
    dropped = {*_SPLIT, f"{arch}.nextn_predict_layers"}  # those come last, and are cut off
    with header.path.open("rb") as file:
        for key, (start, end) in header.ranges.items():
            value = header.metadata[key]
            if key in dropped:
                continue
            if key == f"{arch}.block_count":
                yield _string(key) + struct.pack("<II", _UINT32, min(layers, all_layers))
                continue
            file.seek(start)
            entry = file.read(end - start)
            if key.startswith(f"{arch}.") and isinstance(value, ArrayInfo) and value.length == all_layers:
                entry = _shortened(key, entry, value, layers)
            yield entry


def _shortened(key: str, entry: bytes, value: ArrayInfo, layers: int) -> bytes:
    """Keep the first values of an entry that has one a layer; one of texts stays as it is."""
    size = _SIZES.get(value.type)
    if size is None:
        return entry
    length = min(layers, value.length)
    start = len(entry) - value.length * size
    return entry[: start - 8] + struct.pack("<Q", length) + entry[start : start + length * size]


def _string(text: str) -> bytes:
    data = text.encode("utf-8", errors="replace")
    return struct.pack("<Q", len(data)) + data


def _copy(part: Header, tensor: TensorInfo, file: BinaryIO) -> None:
    left = tensor.nbytes
    with part.path.open("rb") as source:
        source.seek(part.data_start + tensor.offset)
        while left:
            data = source.read(min(left, _BLOCK))
            if not data:
                raise GGUFError("has become shorter", source=part.path, remedy="leave it alone meanwhile")
            file.write(data)
            left -= len(data)
