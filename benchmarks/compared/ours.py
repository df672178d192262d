"""rella-cpp itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from compared.task import Text, Vector
from rella_cpp import EngineSettings, Rella
from rella_cpp.benchmark.measure import ForgetfulCache
from rella_cpp.benchmark.workload import USER, Mix
from rella_cpp.domains.records import Item
from rella_cpp.prompts.question import Question


class _Ours:
    """A loaded model."""

    prompts: int | None = None
    reuses = True

    def __init__(self, path: Path, settings: EngineSettings, *, exact: bool) -> None:
        self.name = "rella-cpp, exact" if exact else "rella-cpp"
        self._rella = Rella.from_gguf(path, settings=replace(settings, exact=exact), cache=ForgetfulCache(None))
        self._one = np.asarray([self._rella.engine.vocabulary.tokenize("a")[0]], dtype=np.int32)

    def fresh(self) -> None:
        """Drop what is in memory."""
        self._rella.engine.raw(self._one)

    def close(self) -> None:
        """Free the model."""
        self._rella.close()


class Rank(_Ours):
    """`Rella.rank`. It writes and tokenises the prompts, too, which no peer is charged with."""

    how = "Rella.rank on all at once, writing and tokenising the prompts included"

    def __init__(self, path: Path, settings: EngineSettings, mix: Mix, *, exact: bool) -> None:
        super().__init__(path, settings, exact=exact)
        self._mix = mix

    def read(self, prompts: Sequence[Question]) -> Iterator[float | None]:
        """Rank as many of the mix's targets."""
        mix = self._mix
        targets = mix.targets[: len(prompts)]
        scores = self._rella.rank(mix.history, targets, user=USER, k=mix.behaviors, retrieval="recent")
        yield from (score.probability for score in scores)


class Embed(_Ours):
    """`Rella.embed`, with a cache that knows none of the items."""

    how = "Rella.embed on all at once, writing and tokenising the texts included"

    def __init__(self, path: Path, settings: EngineSettings, items: Sequence[Item], *, exact: bool) -> None:
        super().__init__(path, settings, exact=exact)
        self._items = items

    def read(self, prompts: Sequence[Text]) -> Iterator[Vector]:
        """Embed as many of the items."""
        yield from self._rella.embed(self._items[: len(prompts)])
