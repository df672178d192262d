"""The doors to llama.cpp: the libggml that llama-cpp-python ships, by ctypes, and its quantizer.

llama_cpp itself is imported only in the quantizer's own process.
"""

import ctypes
import importlib.util
import os
import signal
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_gguf.errors import RellaError
from rella_gguf.header import ALIGNMENT_KEY, read_header
from rella_gguf.lineage import QUANTIZED_FROM_KEYS, quantized_from

_SLAB = 1 << 28  # bytes of rows that the quantizer keeps in memory at once; its own bound is 8 GiB
_SUFFIXES = {"lib{}.so", "lib{}.dylib", "{}.dll", "lib{}.dll"}


def shipped_library(name: str) -> Path:
    """Find a library of llama.cpp, such as `ggml-base`, where llama_cpp loads it from.

    Raises
    ------
    RellaError
        It is not there.

    """
    found = importlib.util.find_spec("llama_cpp")
    origin = found.origin if found else None
    folder = os.environ.get("LLAMA_CPP_LIB_PATH") or (Path(origin).parent / "lib" if origin else "")
    for suffix in sorted(_SUFFIXES):
        path = Path(folder, suffix.format(name))
        if path.is_file():
            return path
    raise RellaError(f"llama-cpp-python has no library {name}: reinstall it")


@cache
def ggml() -> ctypes.CDLL:
    """Load libggml-base once; a call releases the interpreter, so that threads quantize side by side.

    Raises
    ------
    RellaError
        It is not there, or cannot be loaded.

    """
    path = shipped_library("ggml-base")
    try:
        library = ctypes.CDLL(str(path))
        chunk, valid, needs = (
            library.ggml_quantize_chunk,
            library.ggml_validate_row_data,
            library.ggml_quantize_requires_imatrix,
        )
    except (OSError, AttributeError) as error:
        raise RellaError(f"llama-cpp-python's {path.name} cannot be used ({error}): reinstall it") from None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    chunk.argtypes, chunk.restype = (ctypes.c_int, pointer, pointer, number, number, number, pointer), ctypes.c_size_t
    valid.argtypes, valid.restype = (ctypes.c_int, pointer, ctypes.c_size_t), ctypes.c_bool
    needs.argtypes, needs.restype = (ctypes.c_int,), ctypes.c_bool
    return library


def requires_imatrix(kind: int) -> bool:
    """Tell whether libggml quantizes to the ggml type `kind` only with an importance matrix."""
    return bool(ggml().ggml_quantize_requires_imatrix(kind))


def quantise_rows(rows: npt.NDArray[np.float32], kind: int, row_bytes: int) -> npt.NDArray[np.uint8]:
    """Quantize rows of finite weights to the ggml type `kind`, without an importance matrix.

    Parameters
    ----------
    rows
        Shape (rows, width), the width a multiple of the type's block.
    kind
        A ggml type number that `ggml_quantize_chunk` knows; libggml stops the process on others.
    row_bytes
        Size of one quantized row.

    Raises
    ------
    ValueError
        The weights do not fit the type: a block's scale is not finite.

    """
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    out = np.empty((len(rows), row_bytes), np.uint8)
    written = ggml().ggml_quantize_chunk(kind, rows.ctypes.data, out.ctypes.data, 0, len(rows), rows.shape[1], None)
    if written != out.nbytes or not ggml().ggml_validate_row_data(kind, out.ctypes.data, out.nbytes):
        raise ValueError("the weights do not fit the type")
    return out


def quantise_file(source: str, out: str, number: int, threads: int, dry: bool, fingerprint: str) -> bool:
    """Let llama.cpp write `source` as `out` with the llama_ftype `number`; its log goes to file descriptor 1.

    The source's `fingerprint` goes into the metadata, before those that the source has there. Returns whether llama.cpp
    says that it is done.
    """
    import llama_cpp as lib

    from rella_gguf.quantizer import ALIGNMENT

    def log(_level: int, text: bytes, _data: object) -> None:
        os.write(1, text)

    callback = lib.llama_log_callback(log)
    lib.llama_log_set(callback, ctypes.c_void_p(0))
    lib.llama_backend_init()
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.dry_run = number, threads, dry
    params.allow_requantize = True
    if hasattr(params, "max_buf_size"):
        params.max_buf_size = _SLAB
    header = read_header(source)
    chain = (fingerprint, *quantized_from(header)) if fingerprint else ()
    changed: dict[str, str | int] = dict(zip(QUANTIZED_FROM_KEYS, chain, strict=False))
    if ALIGNMENT_KEY in header.metadata:
        changed[ALIGNMENT_KEY] = ALIGNMENT  # it would promise the source's
    overrides = _overrides(lib, changed)
    params.kv_overrides = ctypes.cast(overrides, dict(params._fields_)["kv_overrides"])
    return bool(lib.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(params)) == 0)


def _overrides(lib: Any, values: dict[str, str | int]) -> Any:
    """Make the array of metadata values that llama.cpp reads; an entry without a key ends it."""
    array = (lib.llama_model_kv_override * (len(values) + 1))()
    for entry, (key, value) in zip(array, values.items(), strict=False):
        entry.key = key.encode()
        if isinstance(value, str):
            entry.tag, entry.value.val_str = lib.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()
        else:
            entry.tag, entry.value.val_i64 = lib.LLAMA_KV_OVERRIDE_TYPE_INT, value
    return array


def main() -> None:
    """Quantize a file as the command line says: SOURCE OUT FTYPE THREADS DRY FINGERPRINT (see `quantizer`)."""
    from rella_gguf.quantizer import REFUSED

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once, also in the middle of a call
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever started us has gone: end with the next line
    source, out, number, threads, dry, fingerprint = sys.argv[1:]
    done = quantise_file(source, out, int(number), int(threads), dry == "1", fingerprint)
    sys.exit(0 if done else REFUSED)
