"""Which quantization of a model is fast on this machine, and what it loses: measured, not quoted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rella_cpp.benchmark.comparison import Comparison
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.errors import InputError
from rella_cpp.storage.progress import Progress, no_progress
from rella_gguf import check_model, inspect, read_header, shard_paths
from rella_gguf.file_types import file_type
from rella_gguf.layers import ALIKE, kept_tensors
from rella_gguf.quantization import Plan, is_quantized, main_type, plan

ADVISED_TYPES = ("F16", "BF16", "Q8_0", "Q6_K", "Q4_K_M", "Q4_0")
"""Those tried where none are named, besides the file as it is."""

MODEST_LOSS = 0.1
"""The most that a recommended quantization may lose, measured on the whole model."""

_WORTH = 1.1  # a type is recommended only if it is at least this many times as fast as the file as it is
_AS_FAST = 0.95  # two measurements of one file differ by as much: what comes so near to the fastest is as fast
_WEIGHTS = 200_000_000  # in layers; a larger model is cut to about so many
_REFERENCE = "F16"


@dataclass(frozen=True, slots=True)
class Advice:
    """What one quantization is worth on this machine.

    Attributes
    ----------
    type
        The quantization; of the file as it is, the type that most of its bytes have.
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
        """Whether it loses little: layers round independently, so the loss grows with the root of their number.

        The file as it is always counts: what it lost cannot be had back.
        """
        return self.as_is or self.loss <= MODEST_LOSS * math.sqrt(self.layers / self.of_layers)


@dataclass(frozen=True, slots=True)
class AdviceSettings:
    """What is tried, and how it is measured.

    Attributes
    ----------
    types
        Quantizations to try. One that changes no tensor is left out: it is the file as it is.
    layers
        How many layers to measure; None: as many as are done in a minute or so.
    repeats
        How often each is timed.

    Raises
    ------
    InputError
        A type is unknown or needs an importance matrix, or layers or repeats are less than 1.

    """

    types: Sequence[str] = ADVISED_TYPES
    layers: int | None = None
    repeats: int = 3

    def __post_init__(self) -> None:
        """Check every value."""
        _ = self.names
        for name, number in (("layers", 1 if self.layers is None else self.layers), ("repeats", self.repeats)):
            if number < 1:
                raise InputError(f"{name} is {number}", remedy="give at least 1")

    @property
    def names(self) -> list[str]:
        """The types as llama.cpp writes them, each once."""
        return list(dict.fromkeys(file_type(name).name for name in self.types))


def advise(
    path: str | Path,
    settings: AdviceSettings | None = None,
    *,
    engine: EngineSettings | None = None,
    folder: Path | None = None,
    progress: Progress = no_progress,
    trial: bool = True,
) -> list[Advice]:
    """Quantize a model in several ways, time each on a prompt of 256 tokens, measure what each loses.

    Return the advice on the file as it is, then on the types in the order given. A model of more than some 200 million
    weights in its layers is cut to its first ones.
    Files are timed in turns, so that other work of the machine slows all of them alike; medians count.

    Parameters
    ----------
    path
        The model; of a split one the first part.
    settings
        What to try and how; None: the defaults.
    engine
        How to run the model; its context is cut to the prompt.
    folder, progress
        Where to keep the files meanwhile, None: the system's folder for such; told what is being done.
    trial
        Try each file in a process of its own before it is measured; see `Rella.from_gguf`.

    Raises
    ------
    GGUFError
        The file is no whole model, or llama.cpp cannot quantize or load it.
    InputError
        The folder has no room.
    EngineError
        llama.cpp failed.

    """
    path, settings = Path(path), settings or AdviceSettings()
    header, found = check_model(path), inspect(path)
    own = main_type(found.quantisation)
    of_layers = header.integer(f"{header.architecture}.block_count") or 1
    layers = _layers(path, of_layers, settings.layers)
    plans = _plans(path, settings.names, {name: kind for name, _, kind in found.tensors})
    sizes = {None: found.file_bytes} | {name: planned.bytes for name, planned in plans.items()}
    reference = _REFERENCE if is_quantized(own) else None
    if reference is not None and reference not in plans:
        plans[reference] = plan(path, reference)
    with Comparison.temporary(folder, engine or EngineSettings(), progress, trial=trial) as comparison:
        comparison.expect(2 * len(plans) + 1 + settings.repeats * len(sizes))
        comparison.prepare(path, plans, layers if layers < of_layers else None)
        losses = comparison.losses(reference)
        seconds = comparison.seconds(list(sizes), settings.repeats)
    rates = {name: comparison.tokens / taken * layers / of_layers for name, taken in seconds.items()}
    measured = {"layers": layers, "of_layers": of_layers}
    return [
        Advice(name or own, name is None, size, rates[name], seconds[None] / seconds[name], losses[name], **measured)
        for name, size in sizes.items()
    ]


def recommended(advice: Sequence[Advice]) -> Advice:
    """Choose the fastest quantization with a modest loss; of several as fast, the one that loses least.

    Where none is clearly faster, choose the file as it is.
    """
    modest = [row for row in advice if row.modest]
    most = max(row.relative for row in modest)
    if most < _WORTH:
        return next(row for row in modest if row.as_is)
    return min((row for row in modest if row.relative >= _AS_FAST * most), key=lambda row: row.loss)


def _plans(path: Path, names: Sequence[str], present: Mapping[str, str]) -> dict[str, Plan]:
    """Plan the quantizations that would change a tensor's type at all."""
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
