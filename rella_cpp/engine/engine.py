"""A loaded model: tokenize, score, embed, adapt, generate."""

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.engine import native
from rella_cpp.engine.context import LlamaContext
from rella_cpp.engine.decoder import Decoder, check_segments
from rella_cpp.engine.generation import generate
from rella_cpp.engine.loading import Loaded, load
from rella_cpp.engine.lora import Adapter, LoadedAdapters
from rella_cpp.engine.plan import TRUNK, Piece, Wanted, plan
from rella_cpp.engine.segments import Encoded, Prompt, Span
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.engine.vocabulary import Vocabulary
from rella_cpp.errors import ContextError, EngineError

_WINDOW = 256
"""Prompts planned together at most: the tree of a million would take long to make, and the depth of a recursion."""

_HIDDEN = 256
"""Positions in a call that gives hidden states: with each, llama.cpp computes and keeps its logits, too."""

Logits = npt.NDArray[np.float32]


class States(NamedTuple):
    """What comes out of a prompt's last segment.

    `hidden` are the last layer's hidden states at its positions, float32 of shape (positions, n_embd); `logits` those
    at the last one, float32 of shape (n_vocab,).
    """

    hidden: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]


class Continuation(NamedTuple):
    """What a model wrote, and whether it ended by itself rather than at the most tokens or the context's end."""

    text: str
    ended: bool


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
    prompt_tokens
        Positions of all prompts read so far; see `decoded_tokens`.

    """

    def __init__(self, loaded: Loaded, settings: EngineSettings) -> None:
        lib, model, context = native.load(), loaded.model, loaded.context
        self.header, self.settings = loaded.header, settings
        self.vocabulary = Vocabulary(lib, lib.llama_model_get_vocab(model))
        # llama.cpp rounds the context up to a multiple of 256; what was asked for is what counts.
        self.n_ctx, self.n_embd = loaded.n_ctx, int(lib.llama_model_n_embd(model))
        self._limits = limits = loaded.limits
        self._hidden = replace(limits, batch=min(limits.batch, _HIDDEN), pack=min(limits.pack, _HIDDEN))
        self._context = LlamaContext(lib, context, self.vocabulary.size, self.n_embd)
        self._decoder = Decoder(self._context, rewinds=loaded.limits.rewinds)
        self._lock = threading.RLock()
        self._adapters = LoadedAdapters(lib, model, context, loaded.header)
        self.prompt_tokens, self._busy = 0, False
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
        return cls(load(path, settings), settings)

    @property
    def decoded_tokens(self) -> int:
        """Positions computed so far; what was kept in memory and used again does not count."""
        return self._decoder.decoded_tokens

    def remember(self) -> None:
        """Keep what prompts of earlier calls began with: several users in turn then cost only what is new.

        At most as many positions as the context has, which takes as much memory again.
        """
        self._decoder.saved = self._limits.cells

    def encode(self, spans: Sequence[Span]) -> Encoded:
        """Tokenize a prompt made of spans; see `Vocabulary.encode`."""
        with self._use():
            return self.vocabulary.encode(spans)

    def logits(self, prompts: Iterable[Prompt], adapters: Sequence[Adapter] = ()) -> Iterator[Logits]:
        """Read prompts; yield for each the logits at its last positions.

        What prompts share is decoded once, and short ones together; of the settings, `exact` says whether that may
        change last bits. Nothing depends, to the bit, on prompts of earlier calls, nor on their adapters.

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
        for window in _windows(prompts):
            rows: dict[int, Logits] = {}
            self.read_logits(window, rows.__setitem__, adapters)
            yield from (rows.pop(number) for number in range(len(window)))

    def read_logits(
        self,
        prompts: Sequence[Prompt],
        read: Callable[[int, Logits], None],
        adapters: Sequence[Adapter] = (),
        *,
        keep: bool = False,
    ) -> None:
        """Read prompts as `logits` does, and call `read` with each one's number and logits as soon as they are there.

        Parameters
        ----------
        read
            Must not let the engine read.
        keep
            Cut what all prompts begin with where the next call may take it up: two calls instead of one for a lone
            prompt, and none for its beginning the next time.

        """
        buffers: dict[int, Logits] = {}

        def take(wanted: Wanted, place: int) -> None:
            number, slot, _, length = wanted
            rows = buffers.setdefault(
                number, np.empty((prompts[first + number].outputs, self.vocabulary.size), np.float32)
            )
            for row in range(length):
                rows[slot + row] = self._context.logits(place + row)
            if slot + length == len(rows):
                read(first + number, buffers.pop(number))

        for first in range(0, len(prompts), _WINDOW):
            window = prompts[first : first + _WINDOW]
            with self._reading(window, adapters):
                self._decoder.run(plan(window, self._limits, keep=keep), take)

    def states(self, prompts: Iterable[Prompt], adapters: Sequence[Adapter] = ()) -> Iterator[States]:
        """Read prompts; yield the hidden states of the last segment, and the logits that follow.

        See `logits`. The logits may differ from those in the last bits: all rows of the last segment are computed.

        Raises
        ------
        ContextError, InputError, ValueError
            See `logits`.
        EngineError
            The model gives no finite numbers.

        """
        for window in _windows(prompts):
            states: dict[int, States] = {}
            self.read_states(window, states.__setitem__, adapters)
            yield from (states.pop(number) for number in range(len(window)))

    def read_states(
        self,
        prompts: Sequence[Prompt],
        read: Callable[[int, States], None],
        adapters: Sequence[Adapter] = (),
        *,
        keep: bool = False,
    ) -> None:
        """Read prompts as `states` does, and call `read` with each one's number and states; see `read_logits`."""
        buffers: dict[int, npt.NDArray[np.float32]] = {}
        lengths = [len(prompt.segments[-1]) for prompt in prompts]

        def take(wanted: Wanted, place: int) -> None:
            number, slot, _, length = wanted
            rows = buffers.setdefault(number, np.empty((lengths[first + number], self.n_embd), np.float32))
            rows[slot : slot + length] = self._finite(self._context.hidden(place, length))
            if slot + length == len(rows):
                read(first + number, States(buffers.pop(number), self._context.logits(place + length - 1)))

        for first in range(0, len(prompts), _WINDOW):
            window = prompts[first : first + _WINDOW]
            with self._reading(window, adapters):
                calls = plan(window, self._hidden, lengths[first : first + _WINDOW], keep=keep)
                self._decoder.run(calls, take, hidden=True)

    def hidden_means(self, prompts: Iterable[Prompt], *, last: bool = False) -> Iterator[npt.NDArray[np.float32]]:
        """Embed prompts: the mean of the last layer's hidden states over all positions, BOS included (ReLLa §3.2).

        By the base model: adapters are set aside meanwhile. See `logits` for what is shared.

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
        for window in _windows(prompts):
            counts = [len(prompt.segments[-1]) if last else len(prompt) for prompt in window]
            sums = np.zeros((len(window), self.n_embd))

            def take(wanted: Wanted, place: int, sums: npt.NDArray[np.float64] = sums) -> None:
                rows = self._finite(self._context.hidden(place, wanted.length))
                sums[wanted.prompt] += rows.sum(axis=0, dtype=np.float64)

            with self._reading(window, ()):
                self._decoder.run(plan(window, self._hidden, counts), take, hidden=True)
            yield from (sums / np.array(counts)[:, None]).astype(np.float32)

    def load_adapters(self, adapters: Sequence[Adapter]) -> None:
        """Check LoRA adapters and load them beside the model, so that they can be applied.

        Raises
        ------
        GGUFError
            A file is no adapter, or made for another model.
        InputError
            A scale is no finite number, or a file is named twice.

        """
        with self._use():
            self._adapters.load(adapters)

    def generate(
        self, prompts: Sequence[Prompt], max_tokens: int, adapters: Sequence[Adapter] = (), *, end: str = ""
    ) -> list[str]:
        """Return the texts of `continuations`."""
        return [found.text for found in self.continuations(prompts, max_tokens, adapters, end=end)]

    def continuations(
        self, prompts: Sequence[Prompt], max_tokens: int, adapters: Sequence[Adapter] = (), *, end: str = ""
    ) -> list[Continuation]:
        """Continue prompts greedily, each until the model ends its answer, or `max_tokens` or the context are used up.

        Unless the settings say `exact`, as many at a time as the context holds.

        Parameters
        ----------
        end
            What the chat frame writes behind an answer: with it, too, the answer is complete.

        Raises
        ------
        ContextError, InputError, ValueError
            See `logits`.

        """
        with self._reading(prompts, adapters):
            closing = self.vocabulary.control(end)

            def ends(token: int) -> bool:
                return token == closing or self.vocabulary.ends_generation(token)

            answers = generate(self._decoder, prompts, max_tokens, self._limits, ends)
            found = []
            for prompt, answer in zip(prompts, answers, strict=True):
                text = self.vocabulary.decode(answer)
                used_up = len(answer) >= max_tokens or len(prompt) + len(answer) > self._limits.cells
                before, closed, _ = text.partition(end) if end else (text, "", "")
                found.append(Continuation(before, bool(closed) or not used_up))
            return found

    def raw(self, tokens: npt.NDArray[np.int32], *, hidden: bool = False) -> None:
        """Only decode a prompt, for comparison: no plan, nothing kept, nothing read.

        Asked for are the logits at its end, or with `hidden` the hidden states of all its positions.
        """
        with self._reading([Prompt((tokens,))], ()):
            self._decoder.forget()
            for start in range(0, len(tokens), self._limits.batch):
                piece = tokens[start : start + self._limits.batch]
                last = start + len(piece) == len(tokens)
                rows = Wanted(0, 0, 0, len(piece)) if hidden else Wanted(0, 0, len(piece) - 1, 1)
                self._context.decode([Piece(piece, start, TRUNK, (rows,) if hidden or last else ())], hidden=hidden)

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
    def _reading(self, prompts: Sequence[Prompt], adapters: Sequence[Adapter]) -> Iterator[None]:
        """Check prompts, keep other threads out, and let the adapters take part."""
        for prompt in prompts:
            check_segments(prompt.segments, self.vocabulary.size, self.n_embd)
            if len(prompt) > self.n_ctx:
                raise ContextError(
                    f"a text has {len(prompt)} tokens, the context reads 1 to {self.n_ctx}",
                    remedy="shorten it, or raise --ctx",
                )
        with self._use():
            if self._busy:
                raise EngineError("the model is reading: call it again when that has ended, not from within")
            self._busy = True
            try:
                if self._adapters.apply(tuple(adapters)):
                    self._decoder.forget()
                self.prompt_tokens += sum(map(len, prompts))
                yield
            finally:
                self._busy = False

    def _finite(self, hidden: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if not np.isfinite(hidden).all():
            raise EngineError("the model's hidden states are no finite numbers: its weights may be damaged")
        return hidden


def _free(lib: Any, model: Any, context: Any, vocabulary: Vocabulary) -> None:
    vocabulary.close()
    lib.llama_free(context)
    lib.llama_model_free(model)


def _windows(prompts: Iterable[Prompt]) -> Iterator[list[Prompt]]:
    iterator = iter(prompts)
    while window := list(islice(iterator, _WINDOW)):
        yield window
