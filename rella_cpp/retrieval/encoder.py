"""Items → vectors: mean-pooled last-layer hidden states of the language model itself (ReLLa §3.2)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Item
from rella_cpp.domains.values import quoted
from rella_cpp.engine.segments import Encoded, Prompt, Span
from rella_cpp.errors import ContextError, InputError
from rella_cpp.prompts.item import item_start, item_text
from rella_cpp.prompts.lengths import LongItem, longest_field
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress

_GROUP = 64  # texts embedded together, their vectors written to the cache at once: what a kill can lose

Pool = Literal["prompt", "item"]
"""Which positions are averaged: those of the whole item text (the paper's), or those of the item's own words."""


class HiddenStates(Protocol):
    """A model that embeds prompts; the engine is one."""

    def encode(self, spans: Sequence[Span]) -> Encoded:
        """Tokenize a text made of spans."""

    def hidden_means(self, prompts: Iterable[Prompt], *, last: bool = False) -> Iterator[npt.NDArray[np.float32]]:
        """Yield for each prompt its mean over all positions or the last segment's, float32 of shape (n_embd,)."""


class ItemEncoder:
    """Embeds items, each distinct text once, and remembers the vectors.

    The words with which all item texts begin are a segment of their own, so they are decoded once.

    Parameters
    ----------
    model
        What embeds.
    domain
        Gives an item's text.
    cache
        Where vectors are kept.
    key
        Names in the cache the model and whatever else changes its vectors.
    width
        Length of a vector.
    pool
        Which positions are averaged.
    together
        Embed many texts in one call, which is faster; a vector's last bits then depend on those beside it. Else a
        vector depends on its text alone.

    Attributes
    ----------
    prompt_tokens
        Tokens of the texts embedded so far, those from the cache left out.

    Raises
    ------
    InputError
        `pool` is none of the two.

    """

    def __init__(
        self,
        model: HiddenStates,
        domain: Domain,
        cache: Cache,
        key: str,
        width: int,
        pool: Pool = "prompt",
        *,
        together: bool = False,
    ) -> None:
        if pool not in get_args(Pool):
            raise InputError(f"pool is {pool!r}", remedy=f"one of {', '.join(get_args(Pool))}")
        self._model, self._domain, self._cache, self._width, self._pool = model, domain, cache, width, pool
        self._key, self._start = f"{key} pool={pool}", item_start(domain)
        self._together = together
        self.prompt_tokens = 0

    def encode(self, items: Sequence[Item], progress: Progress = no_progress) -> npt.NDArray[np.float32]:
        """Return the items' vectors, float32 of shape (n, n_embd), in the order of the items.

        Raises
        ------
        LongItem
            An item's text does not fit the context; those of the groups before it are in the cache.

        """
        texts = [item_text(self._domain, item) for item in items]
        distinct = list(dict.fromkeys(texts))
        known = self._cache.vectors(self._key, distinct, self._width)
        done, total = 0, sum(text not in known for text in distinct)
        # Of the groups of all texts, not of the missing ones: after a kill each is computed in the same batch.
        for start in range(0, len(distinct), _GROUP):
            group = [text for text in distinct[start : start + _GROUP] if text not in known]
            if group:
                try:
                    vectors = dict(zip(group, self._vectors(group), strict=True))
                except ContextError as error:
                    number = texts.index(max(group, key=lambda text: len(self._prompt(text))))
                    raise self._too_long(number, items[number], texts[number], error) from None
                self._cache.add_vectors(self._key, vectors)
                known |= vectors
                done += len(group)
                progress("embedding items", done, total)
        return np.stack([known[text] for text in texts]) if texts else np.zeros((0, self._width), np.float32)

    def _vectors(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        prompts, last = [self._prompt(text) for text in texts], self._pool == "item"
        calls = [prompts] if self._together else [[prompt] for prompt in prompts]
        vectors = [vector for call in calls for vector in self._model.hidden_means(call, last=last)]
        self.prompt_tokens += sum(map(len, prompts))
        return vectors

    def _too_long(self, number: int, item: Item, text: str, error: ContextError) -> LongItem:
        told = longest_field(self._domain, item, len(self._prompt(text)), self._model.encode)
        return LongItem.of(number, f"{told or f'the item {quoted(text)}'}: {error.finding}")

    def _prompt(self, text: str) -> Prompt:
        start = self._start if text.startswith(self._start) else ""
        encoded = self._model.encode([Span(start), Span(text[len(start) :])])
        return Prompt.cut(encoded.tokens, encoded.starts[1:])
