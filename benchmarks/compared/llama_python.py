"""llama-cpp-python as people use it: its class `Llama`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compared.task import Limits, Text, Vector, among
from rella_cpp.engine import native
from rella_cpp.prompts.question import Question

Reuse = Literal["nothing", "the last prompt", "LlamaRAMCache"]

_NAMES: dict[Reuse, tuple[str, str]] = {
    "nothing": ("create_completion", "reset before each prompt"),
    "the last prompt": ("create_completion, prefix match", "which goes on from what the last prompt had in common"),
    "LlamaRAMCache": ("create_completion, LlamaRAMCache", "with set_cache(LlamaRAMCache())"),
}


class Completion:
    """`create_completion(max_tokens=1, logprobs=…)`, the answers looked up among the likeliest tokens' texts.

    Parameters
    ----------
    path, limits
        The model, and how to run it.
    reuse
        What it may reuse of earlier prompts. On its own, `Llama` goes on from what the last one had in common.
    top
        How many tokens to list. Yes or No may not be among them.
    prompts
        How many questions to ask.

    """

    def __init__(self, path: Path, limits: Limits, reuse: Reuse, top: int = 100, prompts: int | None = None) -> None:
        name, how = _NAMES[reuse]
        self.name, self.prompts = name, prompts
        self.how = f"Llama(logits_all=True).create_completion(max_tokens=1, logprobs={top}), {how}"
        self._reuse, self._top, self.reuses = reuse, top, reuse != "nothing"
        self._llama = _llama(path, limits, logits_all=True)

    def fresh(self) -> None:
        """Drop what is in memory."""
        from llama_cpp import LlamaRAMCache

        self._llama.reset()
        if self._reuse == "LlamaRAMCache":
            # It counts the bytes of llama.cpp's state alone: with logits_all, each entry also copies all the logits.
            self._llama.set_cache(LlamaRAMCache())

    def read(self, prompts: Sequence[Question]) -> Iterator[float | None]:
        """Complete prompts one after another by one token."""
        for question in prompts:
            if self._reuse == "nothing":
                self._llama.reset()
            made = self._llama.create_completion(
                list(question.tokens), max_tokens=1, temperature=0.0, logprobs=self._top
            )
            listed = made["choices"][0]["logprobs"]["top_logprobs"]
            # Nothing is listed where the likeliest token ends the answer.
            yield among(listed[0], *map(self._text, question.answers.tokens)) if listed else None

    def close(self) -> None:
        """Free the model."""
        self._llama.close()

    def _text(self, token: int) -> str:
        return str(self._llama.detokenize([token]).decode("utf-8", errors="ignore"))


class Embed:
    """`Llama.embed`, one text after another, mean-pooled by llama.cpp."""

    name = "Llama.embed"
    how = "Llama(embedding=True, pooling_type=MEAN).embed(text), one after another"
    reuses = False

    def __init__(self, path: Path, limits: Limits, prompts: int | None = None) -> None:
        self.prompts = prompts
        self._llama = _llama(path, limits, embedding=True, pooling_type=native.load().LLAMA_POOLING_TYPE_MEAN)

    def fresh(self) -> None:
        """Do nothing: every text is read from its beginning."""

    def read(self, prompts: Sequence[Text]) -> Iterator[Vector]:
        """Embed."""
        yield from (np.asarray(self._llama.embed(text.text), dtype=np.float32) for text in prompts)

    def close(self) -> None:
        """Free the model."""
        self._llama.close()


def _llama(path: Path, limits: Limits, **options: Any) -> Any:
    return native.load().Llama(
        str(path),
        n_ctx=limits.ctx,
        n_threads=limits.threads,
        n_threads_batch=limits.threads,
        n_gpu_layers=limits.gpu_layers,
        verbose=False,
        **options,
    )
