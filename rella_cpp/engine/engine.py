"""A loaded model: tokenise, score, embed, adapt, generate."""

import math
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.engine import native
from rella_cpp.engine.decoder import BATCH, SegmentDecoder, States, check_segments
from rella_cpp.engine.segments import Encoded, Prompt, Span
from rella_cpp.engine.settings import DEFAULT_CONTEXT, EngineSettings, usable_cores
from rella_cpp.engine.vocabulary import Vocabulary
from rella_cpp.errors import ContextError, EngineError, GGUFError, InputError
from rella_gguf import Header, check_adapter, check_model

_NOT_FINITE = "the model's hidden states are no finite numbers: its weights may be damaged"


class Adapter(NamedTuple):
    """A LoRA adapter (GGUF) and its scale, a factor on top of the adapter's own alpha / rank.

    With the `fingerprint` of the file, another file that takes its place is another adapter.
    """

    path: Path
    scale: float = 1.0
    fingerprint: str = ""


class Engine:
    """One model in memory with one context. Usable from several threads: calls wait for each other.

    Use `from_gguf`. Close it, or use it as a context manager.

    Attributes
    ----------
    header
        The GGUF's metadata.
    settings
        As given.
    vocabulary
        The model's tokens.
    n_ctx, n_embd
        Context in tokens; width of the hidden states.

    """

    def __init__(self, header: Header, settings: EngineSettings, model: Any, context: Any, n_ctx: int) -> None:
        lib = native.load()
        self.header, self.settings = header, settings
        self.vocabulary = Vocabulary(lib, lib.llama_model_get_vocab(model))
        # llama.cpp rounds the context up to a multiple of 256; what was asked for is what counts.
        self.n_ctx, self.n_embd = n_ctx, int(lib.llama_model_n_embd(model))
        self._lib, self._model, self._context = lib, model, context
        self._decoder = SegmentDecoder(lib, context, self.vocabulary.size, self.n_embd)
        self._lock = threading.RLock()
        self._loaded: dict[tuple[Path, str], Any] = {}
        self._active: tuple[Adapter, ...] = ()
        self._free = weakref.finalize(self, _free, lib, model, context, self.vocabulary)

    @classmethod
    def from_gguf(cls, path: str | Path, settings: EngineSettings | None = None) -> Self:
        """Load a model (memory-mapped) and make its context.

        Raises
        ------
        GGUFError
            The file is missing, truncated, no GGUF or no model, or llama.cpp does not know it.
        InputError
            The context asked for is longer than the model was trained on.
        EngineError
            llama.cpp cannot make such a context (not enough memory, say), or llama-cpp-python is unusable.

        """
        settings = settings or EngineSettings()
        header = check_model(path)
        lib = native.load()
        native.recent_errors.clear()
        model = lib.llama_model_load_from_file(os.fsencode(path), _model_params(lib, settings))
        if native.interrupted() and model:
            lib.llama_model_free(model)
        native.raise_interruption()
        if not model and "bad_cast" in _reason():
            raise EngineError(
                "llama.cpp cannot tokenise beside a library that was imported before it (usearch does that): load a "
                "model first"
            )
        if not model:
            raise GGUFError(
                f"llama.cpp cannot load it ({_reason()})",
                source=path,
                remedy="it may be damaged, or of an architecture newer than the installed llama-cpp-python",
            )
        if lib.llama_model_has_encoder(model) or not lib.llama_model_has_decoder(model):
            lib.llama_model_free(model)
            raise GGUFError(
                f"is no decoder-only language model ({header.architecture})",
                source=path,
                remedy="give a chat model",
            )
        trained = int(lib.llama_model_n_ctx_train(model))
        if settings.ctx is not None and settings.ctx > trained:
            lib.llama_model_free(model)
            raise InputError(
                f"ctx is {settings.ctx}",
                source=path,
                remedy=f"the model was trained on {trained} tokens: give at most that",
            )
        n_ctx = settings.ctx or min(trained, DEFAULT_CONTEXT)
        context = lib.llama_init_from_model(model, _context_params(lib, settings, n_ctx))
        if not context:
            lib.llama_model_free(model)
            raise EngineError(
                f"no context of {n_ctx} tokens could be made ({_reason()}): a smaller --ctx or another --kv-type may do"
            )
        return cls(header, settings, model, context, n_ctx)

    @property
    def decoded(self) -> int:
        """Positions computed so far; what was kept in memory and used again does not count."""
        return self._decoder.decoded

    def encode(self, spans: Sequence[Span]) -> Encoded:
        """Tokenise a prompt made of spans; see `Vocabulary.encode`."""
        with self._use():
            return self.vocabulary.encode(spans)

    def logits(self, prompts: Iterable[Prompt], adapters: Sequence[Adapter] = ()) -> Iterator[npt.NDArray[np.float32]]:
        """Read prompts one after another; yield for each the logits at its last positions.

        Exact: what comes out for a prompt does not depend, to the bit, on the prompts before it, nor on the adapters
        that were applied to those.

        Parameters
        ----------
        prompts
            What to read.
        adapters
            Applied meanwhile; files are read once.

        Yields
        ------
        float32 of shape (outputs, n_vocab), in the order of the prompts.

        Raises
        ------
        ContextError
            A prompt is longer than the context.
        InputError
            An adapter cannot be used; see `load_adapters`.
        ValueError
            A prompt holds token ids or embeddings that are not this model's.

        """
        for prompt in prompts:
            with self._reading(prompt, adapters):
                rows = self._decoder.logits(prompt)
            yield rows

    def states(self, prompts: Iterable[Prompt], adapters: Sequence[Adapter] = ()) -> Iterator[States]:
        """Read prompts one after another; yield the hidden states of the last segment, and the logits that follow.

        See `logits`. The logits may differ from those in the last bits: all rows of the last segment are computed.

        Raises
        ------
        ContextError, InputError, ValueError
            See `logits`.
        EngineError
            The model gives no finite numbers.

        """
        for prompt in prompts:
            with self._reading(prompt, adapters):
                states = self._decoder.states(prompt)
            if not np.isfinite(states.hidden).all():
                raise EngineError(_NOT_FINITE)
            yield states

    def hidden_means(self, prompts: Iterable[Prompt], *, last: bool = False) -> Iterator[npt.NDArray[np.float32]]:
        """Embed prompts: the mean of the last layer's hidden states over all positions, BOS included (ReLLa §3.2).

        By the base model: adapters are set aside meanwhile. Exact: a vector does not depend, to the bit, on the prompts
        before it; leading segments that are in memory are not decoded again.

        Parameters
        ----------
        prompts
            What to read.
        last
            Average over the last segment's positions alone.

        Yields
        ------
        float32 of shape (n_embd,), in the order of the prompts.

        Raises
        ------
        ContextError
            A prompt is longer than the context.
        ValueError
            A prompt holds token ids or embeddings that are not this model's.
        EngineError
            The model gives no finite numbers.

        """
        for prompt in prompts:
            with self._reading(prompt, ()):
                sums = self._decoder.hidden_sums(prompt)
            counted, length = (sums[-1:], len(prompt.segments[-1])) if last else (sums, len(prompt))
            total = np.sum(counted, axis=0)
            if not np.isfinite(total).all():
                raise EngineError(_NOT_FINITE)
            yield (total / length).astype(np.float32)

    def load_adapters(self, adapters: Sequence[Adapter]) -> None:
        """Check LoRA adapters and load them beside the model, so that they can be applied.

        Raises
        ------
        GGUFError
            A file is no adapter, or made for another model.
        InputError
            A scale is no finite number, or a file is named twice.

        """
        for number, (path, scale, _) in enumerate(adapters):
            if not math.isfinite(scale):
                raise InputError(f"the scale is {scale}", source=path, remedy="give a finite number, such as 1")
            if any(path == other for other, _, _ in adapters[:number]):
                raise InputError("is named twice as an adapter", source=path, remedy="name it once, with one scale")
        with self._use():
            for path, _, fingerprint in adapters:
                if (path, fingerprint) not in self._loaded:
                    self._loaded[path, fingerprint] = self._load_adapter(path)

    def generate(self, prompt: Prompt, max_tokens: int, adapters: Sequence[Adapter] = ()) -> str:
        """Continue a prompt greedily, until the model ends its answer or `max_tokens` or the context are used up."""
        tokens: list[int] = []
        with self._reading(prompt, adapters):
            while len(tokens) < max_tokens and len(prompt) <= self.n_ctx:
                token = int(self._decoder.logits(prompt)[-1].argmax())
                if self.vocabulary.ends_generation(token):
                    break
                tokens.append(token)
                prompt = Prompt((*prompt.segments, np.asarray([token], dtype=np.int32)))
            return self.vocabulary.decode(tokens)

    def close(self) -> None:
        """Free the model. Calls after that raise EngineError; closing twice does nothing."""
        with self._lock:
            self._free()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    @contextmanager
    def _use(self) -> Iterator[None]:
        """Keep other threads out; refuse when closed."""
        with self._lock:
            if not self._free.alive:
                raise EngineError("the model is closed")
            yield

    @contextmanager
    def _reading(self, prompt: Prompt, adapters: Sequence[Adapter]) -> Iterator[None]:
        """Check a prompt, keep other threads out, and let the adapters take part."""
        check_segments(prompt.segments, self.vocabulary.size, self.n_embd)
        self._check_length(len(prompt))
        with self._use():
            self.load_adapters(adapters)
            self._activate(tuple(adapters))
            yield

    def _check_length(self, length: int) -> None:
        if not 0 < length <= self.n_ctx:
            raise ContextError(
                f"a text has {length} tokens, the context reads 1 to {self.n_ctx}",
                remedy="shorten it, or raise --ctx",
            )

    def _load_adapter(self, path: Path) -> Any:
        check_adapter(path, self.header)
        native.recent_errors.clear()
        handle = self._lib.llama_adapter_lora_init(self._model, os.fsencode(path))
        if not handle:
            raise GGUFError(f"llama.cpp cannot load the adapter ({_reason()})", source=path, remedy="convert it again")
        return handle

    def _activate(self, adapters: tuple[Adapter, ...]) -> None:
        """Let these adapters take part in what is decoded next."""
        if adapters == self._active:
            return
        lib, count = self._lib, len(adapters)
        handles = (lib.llama_adapter_lora_p_ctypes * count)(
            *(self._loaded[path, fingerprint] for path, _, fingerprint in adapters)
        )
        scales = (lib.ctypes.c_float * count)(*(scale for _, scale, _ in adapters))
        if lib.llama_set_adapters_lora(self._context, handles, count, scales) != 0:
            raise EngineError(f"llama.cpp cannot apply the adapters ({_reason()})")
        self._active = adapters
        self._decoder.forget()


def _free(lib: Any, model: Any, context: Any, vocabulary: Vocabulary) -> None:
    vocabulary.close()
    lib.llama_free(context)
    lib.llama_model_free(model)


def _reason() -> str:
    return native.recent_errors[0] if native.recent_errors else "no reason given"


def _model_params(lib: Any, settings: EngineSettings) -> Any:
    params = lib.llama_model_default_params()
    params.n_gpu_layers = settings.gpu_layers
    if hasattr(lib, "LLAMA_LOAD_MODE_MMAP"):
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
    else:  # llama-cpp-python 0.3.30
        params.use_mmap = True
    return params


def _context_params(lib: Any, settings: EngineSettings, n_ctx: int) -> Any:
    from gguf.constants import GGMLQuantizationType

    params = lib.llama_context_default_params()
    params.n_ctx = n_ctx
    params.n_batch = params.n_ubatch = min(BATCH, n_ctx)
    params.n_seq_max = 1
    params.n_outputs_max_per_seq = 0  # hidden states of every token are wanted
    params.n_threads = params.n_threads_batch = settings.threads or usable_cores()
    params.pooling_type = lib.LLAMA_POOLING_TYPE_NONE
    params.flash_attn_type = {
        "auto": lib.LLAMA_FLASH_ATTN_TYPE_AUTO,
        "on": lib.LLAMA_FLASH_ATTN_TYPE_ENABLED,
        "off": lib.LLAMA_FLASH_ATTN_TYPE_DISABLED,
    }[settings.flash_attn]
    params.type_k = params.type_v = GGMLQuantizationType[settings.kv_type.upper()].value
    return params
