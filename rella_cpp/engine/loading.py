"""From a file to a model in memory and a context for it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rella_cpp.engine import native
from rella_cpp.engine.machine.cores import usable_cores
from rella_cpp.engine.machine.memory import check_room, no_context
from rella_cpp.engine.plan import MAX_SEQUENCES, Limits
from rella_cpp.engine.settings import DEFAULT_CONTEXT, EngineSettings
from rella_cpp.errors import EngineError, GGUFError, InputError
from rella_gguf import Header, check_judge, check_model, mappable
from rella_gguf.tensor_types import NUMBERS

_UBATCH = 512
"""Positions computed at once. More need more memory, and are no faster on a CPU."""

_SEQUENCES = 64
"""A call of 512 positions seldom holds more prompts; for each, llama.cpp keeps room for logits."""


class Loaded(NamedTuple):
    """A model and a context, as pointers, with what they are good for; `n_ctx` is the longest prompt."""

    header: Header
    model: Any
    context: Any
    n_ctx: int
    limits: Limits


def load(path: str | Path, settings: EngineSettings, *, beat: Callable[[], bool] | None = None) -> Loaded:
    """Load a model (memory-mapped) and make its context; see `Engine.from_gguf`.

    Parameters
    ----------
    beat
        Called now and then while weights are loaded; where it returns False, loading stops.

    """
    header = check_model(path)
    check_judge(header)
    lib = native.load()
    native.recent_errors.clear()
    params = _model_params(lib, header, settings)
    if beat is not None:
        params.progress_callback = lib.llama_progress_callback(lambda _share, _data: beat())
    model = lib.llama_model_load_from_file(os.fsencode(path), params)
    if native.interrupted() and model:
        lib.llama_model_free(model)
    native.raise_interruption()
    if not model:
        raise _unloadable(path)
    try:
        n_ctx = _check(lib, model, header, path, settings)
        limits = _limits(lib, model, settings, n_ctx)
        if settings.gpu_layers == 0 or not lib.llama_supports_gpu_offload():
            check_room(header, limits.cells, settings.kv_type)
        context = lib.llama_init_from_model(model, _context_params(lib, settings, limits))
        if not context:
            raise no_context(header, limits.cells, settings.kv_type, native.reason())
    except BaseException:
        lib.llama_model_free(model)
        raise
    return Loaded(header, model, context, n_ctx, limits)


def _unloadable(path: str | Path) -> EngineError | GGUFError:
    if "bad_cast" in native.reason():
        return EngineError(
            "llama.cpp cannot tokenise beside a library that was imported before it (usearch does that): load a model "
            "first"
        )
    return GGUFError(
        f"llama.cpp cannot load it ({native.reason()})",
        source=path,
        remedy="it may be damaged, or of an architecture newer than the installed llama-cpp-python",
    )


def _check(lib: Any, model: Any, header: Header, path: str | Path, settings: EngineSettings) -> int:
    """Refuse models that do not serve, and contexts that they were not trained for; return the context's length."""
    if lib.llama_model_has_encoder(model) or not lib.llama_model_has_decoder(model):
        raise GGUFError(
            f"is no decoder-only language model ({header.architecture})", source=path, remedy="give a chat model"
        )
    trained = int(lib.llama_model_n_ctx_train(model))
    if settings.ctx is not None and settings.ctx > trained:
        raise InputError(
            f"ctx is {settings.ctx}",
            source=path,
            remedy=f"the model was trained on {trained} tokens: give at most that",
        )
    return settings.ctx or min(trained, DEFAULT_CONTEXT)


def _limits(lib: Any, model: Any, settings: EngineSettings, n_ctx: int) -> Limits:
    """Say what pays: a CPU reads long prompts as fast alone, a GPU wants each call full."""
    rewinds = not (lib.llama_model_is_recurrent(model) or lib.llama_model_is_hybrid(model))
    batch = min(_UBATCH, n_ctx)
    if settings.exact or not rewinds:
        return Limits(n_ctx, batch, sequences=1, exact=settings.exact, rewinds=rewinds)
    if settings.gpu_layers != 0 and lib.llama_supports_gpu_offload():
        batch = min(4 * _UBATCH, n_ctx)
        return Limits(n_ctx, batch, min(MAX_SEQUENCES, batch), pack=batch, call=128)
    return Limits(n_ctx, batch, min(_SEQUENCES, batch))  # llama.cpp stops the process on more sequences than positions


def _model_params(lib: Any, header: Header, settings: EngineSettings) -> Any:
    params = lib.llama_model_default_params()
    params.n_gpu_layers = settings.gpu_layers
    params.use_extra_bufts = settings.extra_bufts
    if hasattr(lib, "LLAMA_LOAD_MODE_MMAP"):
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP if mappable(header) else lib.LLAMA_LOAD_MODE_NONE
    else:  # llama-cpp-python 0.3.30
        params.use_mmap = mappable(header)
    return params


def _context_params(lib: Any, settings: EngineSettings, limits: Limits) -> Any:
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_batch = limits.cells, limits.batch
    params.n_ubatch = min(_UBATCH, limits.batch)
    params.n_seq_max = limits.sequences
    params.kv_unified = True  # branches share the trunk's memory
    params.n_outputs_max_per_seq = 0  # hidden states of every token are wanted
    params.n_threads = params.n_threads_batch = settings.threads or usable_cores()
    params.pooling_type = lib.LLAMA_POOLING_TYPE_NONE
    params.flash_attn_type = {
        "auto": lib.LLAMA_FLASH_ATTN_TYPE_AUTO,
        "on": lib.LLAMA_FLASH_ATTN_TYPE_ENABLED,
        "off": lib.LLAMA_FLASH_ATTN_TYPE_DISABLED,
    }[settings.flash_attn]
    params.type_k = params.type_v = NUMBERS[settings.kv_type.upper()]
    return params
