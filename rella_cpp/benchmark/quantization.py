"""Which quantisation of a model is fast on this machine, and what it loses: measured, not quoted."""

import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.engine import Engine
from rella_cpp.engine.segments import Prompt, Span
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.engine.trial.trial import Trial
from rella_cpp.errors import EngineError, InputError
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress
from rella_gguf import check_model, inspect, read_header, shard_paths
from rella_gguf.cutting import ALIKE, cut, kept_tensors
from rella_gguf.file_types import file_type
from rella_gguf.files import writing
from rella_gguf.quantizing import Plan, bytes_as, check_space, is_quantized, main_type, plan, write_quantized

ADVISED_TYPES = ("F16", "BF16", "Q8_0", "Q6_K", "Q4_K_M", "Q4_0")
"""Those tried where none are named, besides the file as it is."""

MODEST_LOSS = 0.1
"""The most that a recommended quantisation may lose, measured on the whole model."""

_WORTH = 1.1  # so much faster than the file as it is must one be to be recommended
_AS_FAST = 0.95  # measured twice, one and the same differs by that much
_WEIGHTS = 200_000_000  # in layers; a larger model is cut to about so many
_TOKENS, _PLACES = 256, 64
_REFERENCE = "F16"
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


@dataclass(frozen=True, slots=True)
class Advice:
    """What one quantisation is worth on this machine.

    Attributes
    ----------
    type
        The quantisation; of the file as it is, the type that most of its bytes have.
    as_is
        Whether this is the file as it is.
    bytes
        Size of the whole model's file.
    tokens_per_second
        How fast the whole model reads a prompt of 256 tokens.
    relative
        That speed divided by that of the file as it is.
    loss
        How much of the next token's probability goes to other tokens than with the file's own weights computed in
        F16: the total variation distance, from 0 (none) to 1 (all), mean over 64 places of a text. A cut model's.
    layers, of_layers
        How many layers were measured, of how many. Where these differ, the speed is an estimate, and the whole model
        loses more.

    """

    type: str
    as_is: bool
    bytes: int
    tokens_per_second: float
    relative: float
    loss: float
    layers: int
    of_layers: int

    @property
    def modest(self) -> bool:
        """Whether it loses little: what layers round adds up as independent errors do, with the root of their number.

        The file as it is loses nothing that one could still have.
        """
        return self.as_is or self.loss <= MODEST_LOSS * math.sqrt(self.layers / self.of_layers)


def advise(
    path: str | Path,
    *,
    types: Sequence[str] = ADVISED_TYPES,
    layers: int | None = None,
    repeats: int = 3,
    settings: EngineSettings | None = None,
    folder: Path | None = None,
    progress: Progress = no_progress,
    trial: bool = True,
) -> list[Advice]:
    """Quantise a model in several ways, time each on a prompt of 256 tokens, measure what each loses.

    A model of more than some 200 million weights in its layers is cut to its first ones. Repetitions go round, so that
    whatever else the machine does falls on all; medians count.

    Parameters
    ----------
    path
        The model; of a split one the first part.
    types
        Quantisations to try. One that would leave every tensor as it is is left out: that is the file as it is.
    layers
        How many layers to measure; None: as many as are done in a minute or so.
    repeats
        How often each is timed.
    settings
        How to run the model; its context is cut to the prompt.
    folder
        Where to keep the files meanwhile; None: the system's folder for such.
    progress
        Told what is being done.
    trial
        Try each file in a process of its own before it is measured; see `Rella.from_gguf`.

    Returns
    -------
    The file as it is, then the types in the order given.

    Raises
    ------
    GGUFError
        The file is no whole model, or llama.cpp cannot quantise or load it.
    InputError
        A type is unknown or needs an importance matrix; layers or repeats are less than 1; the folder has no room.
    EngineError
        llama.cpp failed.

    """
    path = Path(path)
    names = list(dict.fromkeys(file_type(name).name for name in types))
    for name, number in (("layers", 1 if layers is None else layers), ("repeats", repeats)):
        if number < 1:
            raise InputError(f"{name} is {number}", remedy="give at least 1")
    header, found = check_model(path), inspect(path)
    own = main_type(found.quantisation)
    of_layers = header.integer(f"{header.architecture}.block_count") or 1
    layers = _layers(path, of_layers, layers)
    plans = _plans(path, names, {name: kind for name, _, kind in found.tensors})
    sizes = {None: found.file_bytes} | {name: planned.bytes for name, planned in plans.items()}
    reference = _REFERENCE if is_quantized(own) else None
    if reference is not None and reference not in plans:
        plans[reference] = plan(path, reference)
    with writing(folder or Path(tempfile.gettempdir())):
        temporary = tempfile.TemporaryDirectory(prefix="rella-", dir=folder)
    with temporary as name, Cache(None) as cache:
        tried = Trial(cache, no_progress) if trial else None
        bench = _Bench(Path(name), settings or EngineSettings(), progress, tried)
        bench.expect(2 * len(plans) + 1 + repeats * len(sizes))
        bench.prepare(path, plans, layers if layers < of_layers else None)
        losses = bench.losses(reference)
        seconds = bench.seconds(list(sizes), repeats)
    return [
        Advice(
            type=name or own,
            as_is=name is None,
            bytes=size,
            tokens_per_second=bench.tokens / seconds[name] * layers / of_layers,
            relative=seconds[None] / seconds[name],
            loss=losses[name],
            layers=layers,
            of_layers=of_layers,
        )
        for name, size in sizes.items()
    ]


def recommended(advice: Sequence[Advice]) -> Advice:
    """Choose the fastest quantisation of a modest loss, of several as fast the one that loses least.

    It is the file as it is where none is clearly faster.
    """
    modest = [row for row in advice if row.modest]
    most = max(row.relative for row in modest)
    if most < _WORTH:
        return next(row for row in modest if row.as_is)
    return min((row for row in modest if row.relative >= _AS_FAST * most), key=lambda row: row.loss)


class _Bench:
    """The files to compare, None for the one as it is, and what is measured on them."""

    def __init__(self, folder: Path, settings: EngineSettings, progress: Progress, trial: Trial | None) -> None:
        self._folder, self._settings, self._progress = folder, settings, progress
        self._trial = trial
        self._tried: dict[Path, EngineSettings] = {}
        self._done = self._steps = 0
        self._files: dict[str | None, Path] = {}
        self._prompt: npt.NDArray[np.int32] = np.zeros(0, np.int32)

    @property
    def tokens(self) -> int:
        """Length of the prompt."""
        return len(self._prompt)

    def expect(self, steps: int) -> None:
        """Say how many steps there will be."""
        self._steps = steps

    def prepare(self, path: Path, plans: dict[str, Plan], layers: int | None) -> None:
        """Cut the model to so many layers (None: not at all) and quantise it."""
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


def _plans(path: Path, names: Sequence[str], present: Mapping[str, str]) -> dict[str, Plan]:
    """Plan the quantisations that would change a tensor's type at all."""
    plans = {name: plan(path, name) for name in names}
    return {name: planned for name, planned in plans.items() if planned.types != present}


def _layers(path: Path, there: int, wanted: int | None) -> int:
    """Choose how many layers to measure; layers that are not alike are all measured."""
    parts = [read_header(part) for part in shard_paths(path)]
    if parts[0].architecture not in ALIKE:
        return there
    if wanted is None:
        without, one = (sum(tensor.elements for _, tensor in kept_tensors(parts, n)) for n in (0, 1))
        wanted = there if (one - without) * there <= _WEIGHTS else max(2, _WEIGHTS // (one - without))
    return min(wanted, there)
