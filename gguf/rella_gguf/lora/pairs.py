"""The pairs of matrices in a LoRA adapter: what it adds to a weight matrix is scale · outer · inner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rella_gguf.checks import check_adapter
from rella_gguf.errors import GGUFError
from rella_gguf.header import Header, TensorInfo
from rella_gguf.weights import Rows, can_decode, decode, row_bytes

_SIDES = (".lora_a", ".lora_b")
_NORM = "_norm.weight"
_AGAIN = "convert it again"
_ACTIVATED = "adapter.alora.invocation_tokens"


@dataclass(frozen=True, slots=True)
class Pair:
    """One adapter's two matrices for one weight matrix.

    `outer` has a row for each row of the weight matrix, `inner` is as wide as its rows. `flipped`: inner is stored
    with its sides changed over, as for token_embd. `scale` is the user's, times alpha / rank.
    """

    outer: TensorInfo
    inner: TensorInfo
    flipped: bool
    scale: float

    @classmethod
    def of(cls, name: str, a: TensorInfo, b: TensorInfo, alpha: float, scale: float) -> "Pair":
        """Put the pair of a tensor together, as llama.cpp does: the rank is lora_b's, an alpha of 0 is none.

        Raises
        ------
        GGUFError
            The rank is 0.

        """
        if b.shape[0] == 0:
            raise GGUFError(f"{b.name} has the rank 0", remedy=_AGAIN)
        factor = scale * alpha / b.shape[0] if alpha else scale
        return cls(a, b, True, factor) if name == "token_embd.weight" else cls(b, a, False, factor)


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A LoRA adapter that fits a base: its header, the user's scale, its pairs by the tensor that they change."""

    header: Header
    scale: float
    pairs: Mapping[str, Pair]

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path

    @property
    def norms(self) -> int:
        """How many norm vectors it holds; llama.cpp steps over them, and so do we."""
        return sum(tensor.name.endswith(_NORM) for tensor in self.header.tensors)

    @classmethod
    def open(cls, path: Path, scale: float, base: Header, tensors: Mapping[str, TensorInfo]) -> "LoraAdapter":
        """Check an adapter against the base and its tensors by name.

        Raises
        ------
        GGUFError
            It is no adapter for this base, or damaged.

        """
        header = check_adapter(path, base)
        if _ACTIVATED in header.metadata:
            raise GGUFError(
                "is an activated LoRA, which works only after certain tokens",
                source=path,
                remedy="it cannot be merged: apply it at run time",
            )
        sides = {tensor.name: tensor for tensor in header.tensors}
        names = list(dict.fromkeys(name[: -len(_SIDES[0])] for name in sides if name.endswith(_SIDES)))
        for name in sides:
            if not name.endswith((*_SIDES, _NORM)):
                raise GGUFError(f"holds {name}, which is no part of a LoRA adapter", source=header.path, remedy=_AGAIN)
        alpha = header.metadata["adapter.lora.alpha"]
        if not isinstance(alpha, float):
            raise TypeError(f"check_adapter let the alpha {alpha!r} pass")
        pairs = {}
        for name in names:
            a, b = (sides.get(name + side) for side in _SIDES)
            if a is None or b is None:
                raise GGUFError(f"has one matrix of the pair for {name}", source=path, remedy=_AGAIN)
            try:
                pairs[name] = _checked(Pair.of(name, a, b, alpha, scale), tensors[name])
            except GGUFError as error:
                raise error.located(path) from None
        return cls(header, scale, pairs)


def _checked(pair: Pair, weight: TensorInfo) -> Pair:
    """Check what `check_adapter` leaves to us: the rank, token_embd's shapes, experts, types."""
    outer, inner = pair.outer, pair.inner
    rank = outer.shape[0]
    wide = inner.shape if not pair.flipped else (inner.shape[1], inner.shape[0], *inner.shape[2:])
    if wide != (weight.shape[0], rank, *weight.shape[2:]) or outer.shape[1:] != weight.shape[1:]:
        raise GGUFError(
            f"{outer.name} and {inner.name} have the shapes {outer.shape} and {inner.shape}, "
            f"the model's {weight.name} {weight.shape}",
            remedy="give the base model that the adapter was trained on",
        )
    for side in (outer, inner):
        if not can_decode(side.type_name) or not row_bytes(side.type_name, side.shape[0]):
            raise GGUFError(f"{side.name} has the type {side.type_name}, which cannot be read here", remedy=_AGAIN)
    return pair


@dataclass(frozen=True, slots=True)
class Factors:
    """Numbers of a pair for some rows of a weight matrix: outer (rows, rank), inner (rank, width)."""

    outer: Rows
    inner: Rows
    scale: float


def added(factors: Sequence[Factors]) -> Rows:
    """Return what several pairs together add to rows: shape (rows, width)."""
    total: Rows = np.matmul(factors[0].outer, factors[0].inner)
    total *= np.float32(factors[0].scale)
    for more in factors[1:]:
        change = np.matmul(more.outer, more.inner)
        change *= np.float32(more.scale)
        total += change
    return total


def inner_of(pair: Pair, data: bytes) -> Rows:
    """Return the inner matrix (rank, width) of which `data` are the bytes."""
    values = decode(data, pair.inner)
    return np.ascontiguousarray(values.T) if pair.flipped else values
