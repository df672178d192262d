"""transformers on the CPU, with the same weights, dequantised from the GGUF."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compared.task import Limits, Text, Vector, click_probability, shared_length
from rella_cpp.prompts.question import Question

Dtype = Literal["float32", "bfloat16"]


def load(path: Path, limits: Limits, dtype: Dtype) -> Any:
    """Load the model with transformers, its weights dequantised; several peers may share it."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    import torch
    import transformers

    torch.set_num_threads(limits.threads)
    options: dict[str, Any] = {"gguf_file": path.name, "dtype": getattr(torch, dtype)}
    if hasattr(transformers, "GgufConfig"):  # else, as before 5.20 or so, every GGUF is dequantised
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    return transformers.AutoModelForCausalLM.from_pretrained(path.parent, **options).eval()


class Transformers:
    """One prompt at a time; with `reuse`, it goes on from what the last one had in common (`past_key_values`)."""

    def __init__(self, model: Any, dtype: Dtype, *, reuse: bool = False, prompts: int | None = None) -> None:
        self.name = f"transformers {dtype}{', prefix kept' if reuse else ''}"
        self.how = f"model(ids, logits_to_keep=1) on the CPU, {'past_key_values cropped' if reuse else 'each whole'}"
        self.prompts = prompts
        self._model, self.reuses = model, reuse
        self.fresh()

    def fresh(self) -> None:
        """Drop what is in memory."""
        self._past: Any = None
        self._read: tuple[int, ...] = ()

    def read(self, prompts: Sequence[Question]) -> Iterator[float | None]:
        """Read prompts one after another."""
        import torch

        for question in prompts:
            with torch.inference_mode():
                row = self._logits(question.tokens)
                yes, no = (float(row[token]) for token in question.answers.tokens)
            yield click_probability(yes, no)

    def close(self) -> None:
        """Let go of the model."""
        self.fresh()
        self._model = None

    def _logits(self, tokens: tuple[int, ...]) -> Any:
        import torch

        if not self.reuses:
            return self._model(torch.tensor([tokens]), use_cache=False, logits_to_keep=1).logits[0, -1]
        kept = min(shared_length(self._read, tokens), len(tokens) - 1)
        if self._past is not None:
            self._past.crop(kept - len(self._read))  # below zero: so many tokens are taken off its end
        read = self._model(torch.tensor([tokens[kept:]]), past_key_values=self._past, use_cache=True, logits_to_keep=1)
        self._past, self._read = read.past_key_values, tokens
        return read.logits[0, -1]


class SentenceTransformers:
    """The loop of sentence-transformers: sorted by length, padded batches of 32, mean over the attention mask."""

    how = "texts sorted by length, padded batches of 32, mean of the last layer over the attention mask"
    batch = 32
    reuses = False

    def __init__(self, model: Any, dtype: Dtype, prompts: int | None = None) -> None:
        self.name = f"sentence-transformers' loop, {dtype}"
        self.prompts = prompts
        self._model = model.model  # without the output matrix, as they load it

    def fresh(self) -> None:
        """Do nothing: nothing is kept."""

    def read(self, prompts: Sequence[Text]) -> Iterator[Vector]:
        """Embed."""
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].tokens))
        vectors: dict[int, Vector] = {}
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            vectors.update(zip(rows, self._batch([prompts[row].tokens for row in rows]), strict=True))
        yield from (vectors[row] for row in range(len(prompts)))

    def close(self) -> None:
        """Let go of the model."""
        self._model = None

    def _batch(self, tokens: Sequence[tuple[int, ...]]) -> list[Vector]:
        import torch

        width = max(map(len, tokens))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in tokens])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in tokens])
        with torch.inference_mode():
            hidden = self._model(ids, attention_mask=mask, use_cache=False).last_hidden_state.float()
            means = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return list(np.asarray(means.numpy(), dtype=np.float32))
