"""Write a shortened model: the first layers of another one, everything else kept.

What such a model says means little, but its layers cost what the whole model's cost, so that a large one can be
timed in seconds.
"""

import re
import struct
from collections.abc import Iterable
from pathlib import Path

from rella_gguf.checks import check_model, shard_paths
from rella_gguf.errors import GGUFError, InputError
from rella_gguf.files import new_file, refuse_existing
from rella_gguf.header import ArrayInfo, Header, TensorInfo, read_header
from rella_gguf.reader import CHUNK, Reader
from rella_gguf.rewrite import SPLIT_KEYS, Rewrite, entry_start

ALIKE = (
    "command-r falcon gemma gemma2 gemma3 granite internlm2 llama mistral3 olmo olmo2 phi2 phi3 qwen2 qwen2moe qwen3 "
    "qwen3moe smollm3 stablelm starcoder2"
).split()
"""Architectures whose layers are alike and know nothing of their number, so that the first ones stand for all."""

_LAYER = re.compile(r"^blk\.(\d+)\.")
_UINT32 = 4  # GGUF value type
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes by GGUF value type


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
    arch = header.architecture
    rewrite = Rewrite.of(
        header,
        [tensor for _, tensor in kept],
        without=(*SPLIT_KEYS, f"{arch}.nextn_predict_layers"),  # those layers come last, and are cut off
    )
    with new_file(out) as file:
        file.write(rewrite.header({}, _shortened_entries(header, layers)))
        for part, tensor in kept:
            with Reader(part.path) as reader:
                for at in range(0, tensor.nbytes, CHUNK):
                    file.write(reader.read(part.data_start + tensor.offset + at, min(CHUNK, tensor.nbytes - at)))
            file.write(rewrite.padding(tensor))
    return out


def kept_tensors(parts: Iterable[Header], layers: int) -> list[tuple[Header, TensorInfo]]:
    """List the tensors that a model cut to its first `layers` layers keeps, each with the part that holds it."""
    return [(part, tensor) for part in parts for tensor in part.tensors if _layer(tensor) < layers]


def _layer(tensor: TensorInfo) -> int:
    """Return the layer that a tensor belongs to, -1 where none."""
    match = _LAYER.match(tensor.name)
    return int(match[1]) if match else -1


def _shortened_entries(header: Header, layers: int) -> dict[str, bytes]:
    """Return the metadata entries that count layers, or have a value for each, as the cut model has them."""
    arch = header.architecture
    count = f"{arch}.block_count"
    all_layers = header.integer(count) or layers
    entries = {count: entry_start(count, _UINT32) + struct.pack("<I", min(layers, all_layers))}
    with Reader(header.path) as reader:
        for key, (start, end) in header.ranges.items():
            value = header.metadata[key]
            if key.startswith(f"{arch}.") and isinstance(value, ArrayInfo) and value.length == all_layers:
                entries[key] = _shortened(reader.read(start, end - start), value, layers)
    return entries


def _shortened(entry: bytes, value: ArrayInfo, layers: int) -> bytes:
    """Keep the first values of an entry that has one a layer; one of texts stays as it is."""
    size = _SIZES.get(value.type)
    if size is None:
        return entry
    length = min(layers, value.length)
    start = len(entry) - value.length * size
    return entry[: start - 8] + struct.pack("<Q", length) + entry[start : start + length * size]
