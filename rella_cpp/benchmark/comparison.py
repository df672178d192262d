"""One model as it is and quantized: how fast each file reads a prompt, and what it loses."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.engine import Engine
from rella_cpp.engine.segments import Prompt, Span
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.engine.trial.trial import Trial
from rella_cpp.errors import EngineError
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress
from rella_gguf import read_header, shard_paths
from rella_gguf.files import writing
from rella_gguf.layers import cut, kept_tensors
from rella_gguf.quantization import Plan, bytes_as, check_space, write_quantized

_TOKENS, _PLACES = 256, 64
_AS_IS = "the file as it is"
_TEXT = """The user has watched and rated these films. 1. Heat (1995), Crime, Thriller: 5 stars. 2. Notting Hill
(1999), Comedy, Romance: 2 stars. 3. Blade Runner (1982), Science Fiction: 5 stars. 4. Casablanca (1942), Drama,
Romance, War: 4 stars. 5. The Lion King (1994), Animation, Children's, Musical: 3 stars. 6. Alien (1979),
Horror, Science Fiction: 5 stars. 7. Arrival (2016), Science Fiction, Drama: 4 stars. The user likes quiet films
with a slow beginning, good music and an end that nobody sees coming, does not care for long chases, and seldom
laughs at jokes about weddings. Last week a friend told of a film in which the crew of a ship finds a signal on
a small moon, and the question was whether it is as good as the book it was made from, which both of them had
read as children, one in the summer and one in a single night. The same friend gave five stars to a film about a
lighthouse. Would the user enjoy the film Aliens (1986), Science Fiction, Action? Answer Yes or No. Answer:"""


class Comparison:
    """The files to compare, None for the one as it is, and what is measured on them.

    Parameters
    ----------
    folder
        Where to keep them.
    settings
        How to run them; the context is cut to the prompt.
    progress
        Told of every step.
    trial
        Tries each file before it is loaded here; None: they are trusted.

    """

    def __init__(self, folder: Path, settings: EngineSettings, progress: Progress, trial: Trial | None) -> None:
        self._folder, self._settings, self._progress = folder, settings, progress
        self._trial = trial
        self._tried: dict[Path, EngineSettings] = {}
        self._done = self._steps = 0
        self._files: dict[str | None, Path] = {}
        self._prompt: npt.NDArray[np.int32] = np.zeros(0, np.int32)

    @classmethod
    @contextmanager
    def temporary(
        cls, folder: Path | None, settings: EngineSettings, progress: Progress, *, trial: bool
    ) -> Iterator[Self]:
        """Give a comparison whose files lie in a folder within `folder` (None: the system's) until the block ends."""
        with writing(folder or Path(tempfile.gettempdir())):
            temporary = tempfile.TemporaryDirectory(prefix="rella-", dir=folder)
        with temporary as name, Cache(None) as cache:
            yield cls(Path(name), settings, progress, Trial(cache, no_progress) if trial else None)

    @property
    def tokens(self) -> int:
        """Length of the prompt."""
        return len(self._prompt)

    def expect(self, steps: int) -> None:
        """Say how many steps there will be."""
        self._steps = steps

    def prepare(self, path: Path, plans: dict[str, Plan], layers: int | None) -> None:
        """Cut the model to so many layers (None: not at all) and quantize it."""
        parts = [read_header(part) for part in shard_paths(path)]
        kept = [tensor for _, tensor in kept_tensors(parts, layers or 1 << 30)]
        needed = sum(bytes_as(tensor, planned.types[tensor.name]) for planned in plans.values() for tensor in kept)
        needed += sum(tensor.nbytes for tensor in kept) if layers else 0
        check_space(
            shutil.disk_usage(self._folder).free, needed, self._folder, "free space, or name another folder in TMPDIR"
        )
        base = cut(path, self._folder / "as-it-is.gguf", layers) if layers else path
        self._files[None] = base
        for name in plans:
            self._step(f"quantising to {name}")
            self._files[name] = self._folder / f"{name}.gguf"
            write_quantized(base, self._files[name], name)
        trained = parts[0].integer(f"{parts[0].architecture}.context_length") or _TOKENS
        with self._open(base, min(_TOKENS, trained)) as engine:
            tokens = engine.encode([Span(" ".join(_TEXT.split()))]).tokens[: min(_TOKENS, trained)]
        self._prompt = np.asarray(tokens, dtype=np.int32)

    def losses(self, reference: str | None) -> dict[str | None, float]:
        """Measure how far each file's next-token probabilities are from those of `reference`."""
        expected = self._probabilities(reference)
        losses: dict[str | None, float] = {reference: 0.0}
        for name in self._files:
            if name != reference:
                losses[name] = float(np.abs(self._probabilities(name) - expected).sum(axis=1).mean() / 2)
        return losses

    def seconds(self, names: Sequence[str | None], repeats: int) -> dict[str | None, float]:
        """Time the prompt on each of the files `names`, in turns."""
        times: dict[str | None, list[float]] = {name: [] for name in names}
        for _ in range(repeats):
            for name in names:
                self._step(f"timing {name or _AS_IS}")
                with self._open(self._files[name], self.tokens) as engine:
                    _read(engine, Prompt((self._prompt[:32],)))  # the weights come from the disk
                    start = time.perf_counter()
                    _read(engine, Prompt((self._prompt,)))
                    times[name].append(time.perf_counter() - start)
        return {name: statistics.median(values) for name, values in times.items()}

    def _probabilities(self, name: str | None) -> npt.NDArray[np.float64]:
        self._step(f"measuring what {name or _AS_IS} loses")
        with self._open(self._files[name], self.tokens) as engine:
            logits = _read(engine, Prompt((self._prompt,), outputs=min(_PLACES, self.tokens)))
        if not np.isfinite(logits).all():
            raise EngineError(f"{name or _AS_IS} gives no finite numbers: the weights may be damaged")
        powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def _open(self, file: Path, ctx: int) -> Engine:
        """Load a file, with the settings that a trial found; one at a time is in memory."""
        if file not in self._tried:
            wanted = replace(self._settings, ctx=ctx)
            self._tried[file] = wanted if self._trial is None else self._trial.settings(file, wanted)
        return Engine.from_gguf(file, replace(self._tried[file], ctx=ctx))

    def _step(self, note: str) -> None:
        self._progress("advising", self._done, self._steps, note)
        self._done += 1


def _read(engine: Engine, prompt: Prompt) -> npt.NDArray[np.float32]:
    return next(engine.logits([prompt]))
