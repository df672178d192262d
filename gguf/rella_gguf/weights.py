"""Weights as numbers and as the bytes of a ggml type, row by row."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_gguf.header import TensorInfo
from rella_gguf.native import quantise_rows

Rows = npt.NDArray[np.float32]

# Those that `ggml_quantize_chunk` writes and that one can read back; it stops the process on any other.
_QUANTISED = (
    *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "MXFP4", "TQ1_0", "TQ2_0"),
    *("IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_S", "IQ1_M"),
)
_FLOATS = ("F32", "F16", "BF16")
NEEDS_IMATRIX = frozenset({"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_S", "IQ1_M"})
"""Types that llama.cpp's llama-quantize writes only with an importance matrix."""

_FALLBACKS = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}  # as llama-quantize does where rows are no multiple of 256


def ggml_type(name: str) -> Any:
    """Return the `gguf` package's member for the ggml type so named."""
    from gguf.constants import GGMLQuantizationType

    return GGMLQuantizationType[name]


def row_bytes(name: str, width: int) -> int:
    """Return the bytes of a row of `width` weights, or 0 where the type's blocks do not divide it."""
    from gguf.constants import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[ggml_type(name)]
    return 0 if width % int(block) else width // int(block) * int(size)


@cache
def can_decode(name: str) -> bool:
    """Tell whether weights of the ggml type so named can be read."""
    from gguf.constants import GGML_QUANT_SIZES
    from gguf.quants import dequantize

    try:
        size = int(GGML_QUANT_SIZES[ggml_type(name)][1])
        with np.errstate(all="ignore"):
            return bool(dequantize(np.zeros((1, size), np.uint8), ggml_type(name)).dtype == np.float32)
    except (NotImplementedError, KeyError):  # what the gguf package says of types that it cannot read
        return False


def can_encode(name: str) -> bool:
    """Tell whether weights can be written as the ggml type so named, without an importance matrix."""
    return name in _FLOATS or (name in _QUANTISED and name not in NEEDS_IMATRIX)


def type_for(name: str, width: int) -> str:
    """Return the type that rows of `width` weights get where `name` is wanted: llama-quantize's choice."""
    for candidate in (name, _FALLBACKS.get(name, name)):
        if row_bytes(candidate, width):
            return candidate
    return "F16"


def decode(data: bytes | npt.NDArray[np.uint8], tensor: TensorInfo) -> Rows:
    """Return rows of a tensor's weights, of which `data` are the bytes; read-only where the type is F32."""
    from gguf.quants import dequantize

    width = tensor.shape[0]
    rows = np.frombuffer(data, np.uint8).reshape(-1, row_bytes(tensor.type_name, width))
    values: Rows = dequantize(rows, ggml_type(tensor.type_name))
    return values


def encode(rows: Rows, tensor: TensorInfo) -> npt.NDArray[np.uint8]:
    """Return the bytes of rows as the tensor's type, one row each; never a view of `rows`.

    Raises
    ------
    ValueError
        The weights are too large for the type.

    """
    from gguf.quants import quantize

    if tensor.type_name in _FLOATS:
        return np.array(quantize(rows, ggml_type(tensor.type_name))).view(np.uint8).reshape(len(rows), -1)
    return quantise_rows(rows, tensor.type, row_bytes(tensor.type_name, tensor.shape[0]))
