"""Blocks of rows on their way through a merge: read, added to, and put back as bytes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rella_gguf.errors import GGUFError
from rella_gguf.header import TensorInfo
from rella_gguf.lora.pairs import Factors, LoraAdapter, added, inner_of
from rella_gguf.reader import Reader
from rella_gguf.weights import Rows, decode, encode

_BLOCK = 1 << 20  # weights in memory at a time and thread: 4 MB as float32, five or six such arrays
_DAMAGED = "the file is damaged, or the adapter's training went astray"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that go to the file next; the squares of W, Δ and the rounding error in them, and error · Δ."""

    data: bytes
    sums: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a tensor: their bytes, and what is to be added to them."""

    data: bytes
    before: TensorInfo
    after: TensorInfo
    factors: list[Factors]

    def __call__(self) -> Piece:
        """Read the rows, add, write them as the new type; rows that stay as they were keep their bytes."""
        with np.errstate(all="ignore"):
            rows, change = decode(self.data, self.before), added(self.factors)
            weight, moved = _square(rows), _square(change)
            for value, culprit in ((weight, "its weights"), (moved, "what the adapters add")):
                if not math.isfinite(value):
                    raise GGUFError(
                        f"tensor {self.before.name}: {culprit}: not all are finite numbers", remedy=_DAMAGED
                    )
            still = ~change.any(axis=1)
            merged = rows + change
            try:
                stored = encode(merged, self.after)
                if self.after.type == self.before.type:
                    stored[still] = np.frombuffer(self.data, np.uint8).reshape(stored.shape)[still]
                merged -= decode(stored, self.after)
                error, along = _square(merged), float(np.dot(merged.reshape(-1), change.reshape(-1)))
            except ValueError:
                error = along = math.nan
        if not math.isfinite(error):
            raise GGUFError(
                f"tensor {self.before.name}: the merged weights are too large for {self.after.type_name}",
                remedy="choose another type with --type, such as F32",
            )
        return Piece(stored.tobytes(), (weight, moved, error, along))


def blocks_of(
    reader: Reader,
    start: int,
    tensor: TensorInfo,
    put_back: TensorInfo,
    loras: Sequence[tuple[LoraAdapter, Reader]],
) -> Iterator[Block]:
    """Cut a tensor into blocks of rows; matrices of several experts lie one after the other.

    A block has 2²⁰ weights at most: of rows of 4,096 weights it has 256. A matrix of 600 such rows is cut into blocks
    of 256, 256 and 88 rows; those of two experts with 300 rows each into 256, 44, 256 and 44.
    """
    width, rows = tensor.shape[:2]
    experts = math.prod(tensor.shape[2:])
    row = tensor.nbytes // (rows * experts)
    most = max(1, _BLOCK // width)
    for expert in range(experts):
        inners = [_inner(lora, source, tensor.name, expert) for lora, source in loras]
        for first in range(0, rows, most):
            count = min(most, rows - first)
            data = reader.read(start + (expert * rows + first) * row, count * row)
            at = expert * rows + first
            factors = [
                Factors(_outer(lora, source, tensor.name, at, count), inner, lora.pairs[tensor.name].scale)
                for (lora, source), inner in zip(loras, inners, strict=True)
            ]
            yield Block(data, tensor, put_back, factors)


def _inner(lora: LoraAdapter, source: Reader, name: str, expert: int) -> Rows:
    pair = lora.pairs[name]
    size = pair.inner.nbytes // math.prod(pair.inner.shape[2:])
    start = lora.header.data_start + pair.inner.offset
    return inner_of(pair, source.read(start + expert * size, size))


def _outer(lora: LoraAdapter, source: Reader, name: str, first: int, count: int) -> Rows:
    outer = lora.pairs[name].outer
    row = outer.nbytes // math.prod(outer.shape[1:])
    return decode(source.read(lora.header.data_start + outer.offset + first * row, count * row), outer)


def _square(values: Rows) -> float:
    flat = values.reshape(-1)
    return float(np.dot(flat, flat))
