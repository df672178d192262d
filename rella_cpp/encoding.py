"""Items → vectors: mean-pooled last-layer hidden states of the language model itself (ReLLa §3.2)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rella_cpp.cache import Cache, Progress, no_progress
from rella_cpp.domains import Domain
from rella_cpp.errors import ContextError
from rella_cpp.prompts import item_text
from rella_cpp.records import Item

_GROUP = 16  # vectors written to the cache together: what a kill can lose


class HiddenStates(Protocol):
    """A model that embeds texts; the engine is one."""

    def hidden_means(self, texts: Iterable[str]) -> Iterator[npt.NDArray[np.float32]]:
        """Yield for each text its vector, float32 of shape (n_embd,)."""


class ItemEncoder:
    """Embeds items, each distinct text once, and remembers the vectors.

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

    """

    def __init__(self, model: HiddenStates, domain: Domain, cache: Cache, key: str, width: int) -> None:
        self._model, self._domain, self._cache, self._key, self._width = model, domain, cache, key, width

    def encode(self, items: Sequence[Item], progress: Progress = no_progress) -> npt.NDArray[np.float32]:
        """Return the items' vectors, float32 of shape (n, n_embd), in the order of the items."""
        texts = [item_text(self._domain, item) for item in items]
        known = self._cache.vectors(self._key, list(dict.fromkeys(texts)), self._width)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        group: dict[str, npt.NDArray[np.float32]] = {}
        vectors = self._model.hidden_means(missing)
        for done, text in enumerate(missing, start=1):
            try:
                known[text] = group[text] = next(vectors)
            except ContextError as error:
                raise error.located(place=f"the item {text[:40]!r}…") from None
            if len(group) == _GROUP or done == len(missing):
                self._cache.add_vectors(self._key, group)
                group = {}
            progress("embedding items", done, len(missing))
        return np.stack([known[text] for text in texts]) if texts else np.zeros((0, self._width), np.float32)
