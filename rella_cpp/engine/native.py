"""The door to llama-cpp-python: load it, check it, listen to its log, say what it was built with."""

import ctypes
import logging
import os
import threading
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

from rella_cpp.errors import EngineError

logger = logging.getLogger("rella_cpp.llama_cpp")
logger.addHandler(logging.NullHandler())  # silent unless somebody listens
recent_errors: deque[str] = deque(maxlen=8)
_interrupted = threading.Event()

_CALLS = (
    "llama_adapter_lora_init",
    "llama_backend_init",
    "llama_batch",
    "llama_context_default_params",
    "llama_decode",
    "llama_free",
    "llama_get_embeddings",
    "llama_get_logits_ith",
    "llama_get_memory",
    "llama_init_from_model",
    "llama_log_set",
    "llama_memory_clear",
    "llama_memory_seq_cp",
    "llama_memory_seq_keep",
    "llama_memory_seq_rm",
    "llama_model_default_params",
    "llama_model_free",
    "llama_model_get_vocab",
    "llama_model_is_hybrid",
    "llama_model_is_recurrent",
    "llama_model_load_from_file",
    "llama_model_n_ctx_train",
    "llama_model_n_embd",
    "llama_print_system_info",
    "llama_set_adapters_lora",
    "llama_set_embeddings",
    "llama_supports_gpu_offload",
    "llama_token_to_piece",
    "llama_tokenize",
    "llama_vocab_bos",
    "llama_vocab_eos",
    "llama_vocab_get_add_bos",
    "llama_vocab_get_attr",
    "llama_vocab_get_text",
    "llama_vocab_is_control",
    "llama_vocab_is_eog",
    "llama_vocab_n_tokens",
    "llama_vocab_type",
)
# ggml.h's own numbers; the table in llama_cpp/_logger.py is of an older one.
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """What the installed llama-cpp-python is: version, backends with the flags they have, offload to a GPU."""

    version: str
    backends: dict[str, tuple[str, ...]]
    offload: bool


@cache
def load() -> Any:
    """Import llama_cpp once, send its log to `logging` (logger `rella_cpp.llama_cpp`), start its backend.

    Raises
    ------
    EngineError
        It cannot be imported, or lacks a call that we use.

    """
    # OpenMP's idle threads spin by default: beside another busy process that took three to twenty times as long.
    # Letting them sleep costs a few percent (15 on texts of twenty tokens). It is read when the library is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(f"llama-cpp-python cannot be loaded ({error}): reinstall it") from None
    missing = [name for name in _CALLS if not hasattr(llama_cpp, name)]
    if missing:
        raise EngineError(
            f"llama-cpp-python {llama_cpp.__version__} lacks {', '.join(missing)}: install the version that "
            "`pip install rella-cpp` asks for"
        )
    llama_cpp.llama_log_set(_log_callback(llama_cpp), ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    return llama_cpp


@cache
def _log_callback(lib: Any) -> Any:
    """Make the C callback; the cache keeps it alive for as long as llama.cpp may call it."""
    level = logging.INFO

    def log(number: int, text: bytes, _data: object) -> None:
        nonlocal level
        try:
            level = _LEVELS.get(number, level)  # 5 goes on with the line before
            line = text.decode("utf-8", errors="replace").strip()
            if not line or line == ".":
                return
            if level >= logging.ERROR:
                recent_errors.append(line)
            logger.log(level, "%s", line)
        except KeyboardInterrupt:  # ctypes would swallow it; it is raised when llama.cpp returns
            _interrupted.set()

    return lib.llama_log_callback(log)


def reason() -> str:
    """Say why llama.cpp failed, as far as its log tells."""
    return recent_errors[0] if recent_errors else "no reason given"


def interrupted() -> bool:
    """Tell whether an interruption came while llama.cpp was writing its log."""
    return _interrupted.is_set()


def raise_interruption() -> None:
    """Raise an interruption that came while llama.cpp was writing its log."""
    if _interrupted.is_set():
        _interrupted.clear()
        raise KeyboardInterrupt


def build_info() -> BuildInfo:
    """Say what the installed llama-cpp-python was built with."""
    lib = load()
    info = lib.llama_print_system_info().decode("utf-8", errors="replace")
    backends: dict[str, list[str]] = {}
    flags: list[str] = []
    for part in filter(None, (part.strip() for part in info.split("|"))):
        name, colon, setting = part.partition(" : ")  # "CPU : SSE3 = 1": a backend's name comes before its first flag
        if colon:
            flags = backends.setdefault(name, [])
        flag, _, value = (setting if colon else part).partition(" = ")
        flags.extend([flag] if value.strip() == "1" else [])
    return BuildInfo(
        version=str(lib.__version__),
        backends={name: tuple(flags) for name, flags in backends.items()},
        offload=bool(lib.llama_supports_gpu_offload()),
    )
