"""Vectors of items, by the base of the model that scores or from an index."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.finder import FoundNames
from rella_cpp.domains.inputs import take_items
from rella_cpp.domains.records import Item
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.identity import EngineIdentity, ModelIdentity
from rella_cpp.errors import InputError
from rella_cpp.prompts.lengths import LongItem
from rella_cpp.retrieval.encoder import ItemEncoder, Pool
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress

if TYPE_CHECKING:
    from rella_cpp.retrieval.index.item_index import ItemIndex

logger = logging.getLogger("rella_cpp")


class ItemVectors:
    """Embeds items with a loaded model, and looks up those that an index has.

    Parameters
    ----------
    engine
        The model; adapters are set aside.
    domain
        Gives an item's text.
    cache
        Where vectors and the model's fingerprint are kept.

    Attributes
    ----------
    identity
        Tells the model's vectors from those of others.
    index
        Where vectors for SUBR are taken from, if anywhere; see `use_index`.
    progress
        Called while work goes on.

    """

    def __init__(self, engine: Engine, domain: Domain, cache: Cache) -> None:
        self.domain = domain
        self.index: ItemIndex | None = None
        self.progress: Progress = no_progress
        self.identity = EngineIdentity(engine, cache)
        self._engine, self._cache = engine, cache
        self._encoders: dict[tuple[Pool, bool], ItemEncoder] = {}
        self._found: tuple[ItemIndex, FoundNames] | None = None

    @property
    def base(self) -> ModelIdentity:
        """Which model embeds: the one that scores, adapters set aside."""
        return self.identity.base

    @property
    def width(self) -> int:
        """Length of a vector, n_embd."""
        return self._engine.n_embd

    @property
    def engine_key(self) -> str:
        """What a vector's bits depend on besides the model's file and the text; see `EngineIdentity.key`."""
        return self.identity.key

    def use_index(self, index: "ItemIndex | str | Path", *, allow_mismatch: bool = False) -> None:
        """Take vectors for SUBR from an index, whichever model made it.

        Items that it lacks are embedded, where the base of the model that scores made it, or was quantized from the one
        that did.

        Raises
        ------
        InputError
            There is no such index, or it was built from another wording of items and `allow_mismatch` is False.

        """
        from rella_cpp.retrieval.index.item_index import ItemIndex

        index = index if isinstance(index, ItemIndex) else ItemIndex.open(index, cache=self._cache)
        if not allow_mismatch:
            index.manifest.check_domain(self.domain, index.folder)
        index.progress = self._report
        self.index = index

    def embed(
        self,
        items: Sequence[Item | Mapping[str, object]],
        *,
        pool: Pool = "prompt",
        progress: Progress | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return the items' vectors, float32 of shape (n, n_embd), in input order.

        Each is the mean of the last layer over the item's text (`rella_cpp.prompts.item.item_text`), by the base model
        without adapters; known ones come from the cache. Unless the engine is exact, texts are embedded together, and
        last bits depend on which.

        Parameters
        ----------
        pool
            Average over the whole text (`prompt`, the paper's) or the item's own words (`item`).
        progress
            In place of the attribute.

        """
        return self._encode(items, pool, progress or self.progress, together=True)

    def _encode(
        self, items: Sequence[Item | Mapping[str, object]], pool: Pool, progress: Progress, *, together: bool
    ) -> npt.NDArray[np.float32]:
        taken = take_items(items, self.domain) if items else ()
        return self._encoder(pool, together=together).encode(taken, progress)

    def tokens(self, pool: Pool = "prompt") -> tuple[int, int]:
        """Return the tokens of the texts embedded so far, and how many of them were computed rather than kept."""
        return self._encoder(pool, together=True).prompt_tokens, self._engine.decoded_tokens

    def __call__(self, items: Sequence[Item]) -> npt.NDArray[np.float32]:
        """Return vectors for SUBR, float32 of shape (n, dim): the index's, if there is one.

        Those embedded for it depend on their texts alone: earlier requests never change which behaviors are shown.
        """
        if self.index is None:
            return self._encode(items, "prompt", self.progress, together=False)
        from rella_gguf.lineage import origins, quantized_from

        rows = [self.index.row(item, self.domain) for item in items]
        vectors = self.index.vectors([0 if row is None else row for row in rows])
        if missing := [place for place, row in enumerate(rows) if row is None]:
            # A model that was quantized from the one that made the index embeds alike; one that was tuned does not.
            maker, header = self.index.manifest.fingerprint, self._engine.header
            if maker not in (self.base.fingerprint, *quantized_from(header)):
                if any(origin.fingerprint == maker for origin in origins(header)):
                    vectors[missing] = 0
                    self._tell_found(items, rows)
                    self._warn_of_unknown(items[missing[0]], len(missing))
                    return vectors
                raise InputError(
                    f"{self.domain.show_item(items[missing[0]])[:60]!r} is not in the index "
                    f"({len(missing)} of {len(items)} items are not), and another model made it",
                    source=self.index.folder,
                    remedy="add it with that model (rella index add), or leave the index out",
                )
            unknown, pool = [items[place] for place in missing], self.index.manifest.pool
            try:
                hidden = self._encode(unknown, pool, self.progress, together=False)  # type: ignore[arg-type]
            except LongItem as error:
                raise LongItem.of(missing[error.number], error.finding) from None
            vectors[missing] = self.index.project(hidden)
        self._tell_found(items, rows)
        return vectors

    def _tell_found(self, items: Sequence[Item], rows: Sequence[int | None]) -> None:
        """Say how many items without an id the index has by name."""
        assert self.index is not None
        if self._found is None or self._found[0] is not self.index:
            self._found = self.index, FoundNames(str(self.index.folder))
        named = [pair for pair in zip(items, rows, strict=True) if pair[0].fields.get("id") is None]
        self._found[1].tell([self.index.sought(item, row, self.domain) for item, row in named])

    def _warn_of_unknown(self, item: Item, count: int) -> None:
        logger.warning(
            "not in the index: %s (the first: %s); a tuned model embeds otherwise than the one that made it, so they "
            "are taken as near to nothing; rella index add --embed-model adds them",
            f"{count} item{'' if count == 1 else 's'}",
            self.domain.show_item(item)[:60],
        )

    def _report(self, task: str, done: int, total: int, note: str = "") -> None:
        self.progress(task, done, total, note)

    def _encoder(self, pool: Pool, *, together: bool) -> ItemEncoder:
        """Return an encoder; its cache key names whatever can change a vector's bits besides the text."""
        exact = self._engine.settings.exact
        together = together or exact  # then a batch changes nothing
        if (pool, together) not in self._encoders:
            key = f"{self.base.fingerprint} {self.identity.key}{' together' if together and not exact else ''}"
            self._encoders[pool, together] = ItemEncoder(
                self._engine, self.domain, self._cache, key, self._engine.n_embd, pool, together=together
            )
        return self._encoders[pool, together]
