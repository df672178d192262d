"""A plain loop over llama.cpp's own calls: one `llama_decode` after another, nothing reused."""

import ctypes
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compared.task import Limits, click_probability
from rella_cpp.engine import native
from rella_cpp.prompts.question import Question

_CALL = 512


class LowLevel:
    """Clears the memory, decodes the prompt in calls of at most 512 tokens, reads two logits."""

    name = "llama_decode loop"
    how = "llama_decode on each whole prompt, memory cleared before it"
    reuses = False

    def __init__(self, path: Path, limits: Limits, prompts: int | None = None) -> None:
        self.prompts = prompts
        self._lib: Any = native.load()
        params = self._lib.llama_model_default_params()
        params.n_gpu_layers = limits.gpu_layers
        self._model = self._lib.llama_model_load_from_file(os.fsencode(path), params)
        settings = self._lib.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = limits.ctx, _CALL, _CALL
        settings.n_threads = settings.n_threads_batch = limits.threads
        self._context = self._lib.llama_init_from_model(self._model, settings)
        self._size = self._lib.llama_vocab_n_tokens(self._lib.llama_model_get_vocab(self._model))

    def fresh(self) -> None:
        """Do nothing: every prompt is read from its beginning."""

    def read(self, prompts: Sequence[Question]) -> Iterator[float | None]:
        """Read prompts one after another."""
        lib, context = self._lib, self._context
        for question in prompts:
            tokens = np.asarray(question.tokens, dtype=np.int32)
            lib.llama_memory_clear(lib.llama_get_memory(context), False)
            for start in range(0, len(tokens), _CALL):
                piece = tokens[start : start + _CALL]
                pointer = piece.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
                if lib.llama_decode(context, lib.llama_batch_get_one(pointer, len(piece))) != 0:
                    raise RuntimeError("llama_decode failed")
            row = np.ctypeslib.as_array(lib.llama_get_logits_ith(context, -1), (self._size,))
            yield click_probability(*(float(row[token]) for token in question.answers.tokens))

    def close(self) -> None:
        """Free context and model."""
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)
