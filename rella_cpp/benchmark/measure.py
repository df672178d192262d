"""The benchmark: each kind of work and what llama.cpp itself does with its tokens, timed in turns."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rella_cpp.benchmark.machine import surroundings
from rella_cpp.benchmark.prompts import MixPrompts, Tokens
from rella_cpp.benchmark.results import APART, TOGETHER, Bench, Measure, RawRate
from rella_cpp.benchmark.workload import USER, Mix
from rella_cpp.engine.segments import Prompt
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.errors import InputError
from rella_cpp.recommender.rella import Rella
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress

_RANKED = 3  # of the prompts to rank, so many are read for their raw rate
_CALLS = (128, 512)  # titles for theirs are joined to calls of so many tokens; which is faster, the machine says
_JOINED, _TITLES = 4096, 64  # so many tokens of joined titles, and single ones
_ALONE = "titles, one a call"


class ForgetfulCache(Cache):
    """A cache that remembers no vectors, so that every round embeds anew."""

    def add_vectors(self, model: str, vectors: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Remember nothing."""


def bench(
    path: str | Path,
    settings: EngineSettings | None = None,
    *,
    mix: Mix | None = None,
    repeats: int = 5,
    progress: Progress = no_progress,
    trial: bool = True,
) -> Bench:
    """Measure how fast a model scores, ranks, embeds and generates, as shares of what llama.cpp itself does.

    Repetitions go round, so that whatever else the machine does falls on all; medians count. What one piece of work
    leaves in memory is dropped before the next.

    Parameters
    ----------
    path
        The model.
    settings
        How to run it.
    mix
        What to read; None: `Mix()`.
    repeats, progress
        How often each is timed; told what is being done.
    trial
        See `Rella.from_gguf`.

    Raises
    ------
    GGUFError
        The file is no whole model, or llama.cpp cannot load it.
    ContextError
        The context does not hold the mix's longest prompt.
    InputError
        `repeats` is less than 1.
    EngineError
        llama.cpp failed.

    """
    if repeats < 1:
        raise InputError(f"repeats is {repeats}", remedy="give at least 1")
    mix = mix or Mix()
    cache = ForgetfulCache(None)
    with Rella.from_gguf(path, settings=settings, cache=cache, trial=trial, progress=progress) as rella:
        prompts = MixPrompts.of(mix, rella, path)
        fingerprint = rella.model.fingerprint
        raw, work = _raw_tasks(rella, prompts), _work(rella, mix, prompts)
        times = _time(_in_turns(raw, work), rella, repeats, progress)
        rates = {task.name: _raw_rate(task, times[task.name]) for task in raw}
        new_tokens = times[APART].computed - sum(map(len, prompts.generated)) + len(prompts.generated)
        return Bench(
            surroundings=surroundings(rella.engine, path, fingerprint),
            mix=mix,
            prompt_tokens=prompts.lengths(),
            repeats=repeats,
            raw=tuple(rates.values()),
            measures=tuple(_measure(task, times[task.name], rates, new_tokens) for task in work),
        )


@dataclass(frozen=True, slots=True)
class _Task:
    """Something to time. `against` are the raw rates to compare with: the fastest of them counts."""

    name: str
    run: Callable[[], object]
    prompts: int
    tokens: int
    against: tuple[str, ...] = ()
    hidden: bool = False
    generates: bool = False


@dataclass(frozen=True, slots=True)
class _Time:
    seconds: float
    computed: int


def _raw_tasks(rella: Rella, prompts: MixPrompts) -> list[_Task]:
    """Decode the very tokens of the work below, with nothing between the calls."""

    def task(name: str, read: list[Tokens], *, hidden: bool = False) -> _Task:
        def run() -> None:
            for tokens in read:
                rella.engine.raw(tokens, hidden=hidden)

        return _Task(name, run, len(read), sum(map(len, read)), hidden=hidden)

    step = -(-len(prompts.ranked) // _RANKED)
    ranked = [np.asarray(question.tokens, dtype=np.int32) for question in prompts.ranked[::step]]
    return [
        *(task(f"prompts of {length}", read) for length, read in prompts.scored.items()),
        task("prompts to rank", ranked),
        *(
            task(f"titles, calls of {size}", prompts.joined(min(size, rella.engine.n_ctx), _JOINED), hidden=True)
            for size in _CALLS
        ),
        task(_ALONE, prompts.embedded[:_TITLES], hidden=True),
        task("prompts to go on from", prompts.generated),
    ]


def _work(rella: Rella, mix: Mix, prompts: MixPrompts) -> list[_Task]:
    engine = rella.engine
    continued = [Prompt((tokens,)) for tokens in prompts.generated]
    generated = sum(map(len, prompts.generated))

    def score(length: int) -> Callable[[], object]:
        # Cut where a prompt of that length is: system and profile, history, target and question.
        cut = [Prompt.cut(tuple(t.tolist()), (length // 4, length - length // 8)) for t in prompts.scored[length]]
        return lambda: list(engine.logits(cut))

    def rank() -> object:
        return rella.rank(mix.history, mix.targets, user=USER, k=mix.behaviors, retrieval="recent")

    return [
        *(
            _Task(f"score {length}", score(length), len(read), length * len(read), (f"prompts of {length}",))
            for length, read in prompts.scored.items()
        ),
        _Task(f"rank {mix.items}", rank, mix.items, sum(len(q.tokens) for q in prompts.ranked), ("prompts to rank",)),
        _Task(
            f"embed {mix.titles:,}",
            lambda: rella.embed(prompts.catalog),
            mix.titles,
            sum(map(len, prompts.embedded)),
            (*(f"titles, calls of {size}" for size in _CALLS), _ALONE),
        ),
        _Task(
            APART,
            lambda: [engine.generate([prompt], mix.new_tokens) for prompt in continued],
            mix.texts,
            generated,
            ("prompts to go on from",),
            generates=True,
        ),
        _Task(
            TOGETHER,
            lambda: engine.generate(continued, mix.new_tokens),
            mix.texts,
            generated,
            ("prompts to go on from",),
            generates=True,
        ),
    ]


def _in_turns(raw: list[_Task], work: list[_Task]) -> list[_Task]:
    """Put each raw rate right before the work that it is compared with."""
    ordered: list[_Task] = []
    for task in work:
        ordered += [rate for rate in raw if rate.name in task.against and rate not in ordered]
        ordered.append(task)
    return ordered


def _time(tasks: list[_Task], rella: Rella, repeats: int, progress: Progress) -> dict[str, _Time]:
    """Time the tasks in turns, after a first look at everything: weights come from the disk, templates are compiled."""
    engine = rella.engine
    one = np.asarray([engine.vocabulary.tokenize("a")[0]], dtype=np.int32)
    film = {"title": "Heat"}
    rella.rank([film], [{"title": "Ronin"}])
    engine.generate([Prompt((one,))], 1)
    seconds: dict[str, list[float]] = {task.name: [] for task in tasks}
    computed: dict[str, int] = {}
    for done in range(repeats * len(tasks)):
        task = tasks[done % len(tasks)]
        progress("measuring", done, repeats * len(tasks), task.name)
        engine.raw(one)  # drops what is in memory
        before, start = engine.decoded_tokens, time.perf_counter()
        task.run()
        seconds[task.name].append(time.perf_counter() - start)
        computed[task.name] = engine.decoded_tokens - before
    progress("measuring", repeats * len(tasks), repeats * len(tasks), "")
    return {name: _Time(statistics.median(values), computed[name]) for name, values in seconds.items()}


def _raw_rate(task: _Task, time: _Time) -> RawRate:
    return RawRate(task.name, task.prompts, task.tokens, task.hidden, time.seconds)


def _measure(task: _Task, time: _Time, rates: dict[str, RawRate], new_tokens: int) -> Measure:
    """Compare a task's time with the fastest of the raw rates that may stand for it."""
    against = max((rates[name] for name in task.against), key=lambda rate: rate.rate)
    added = new_tokens if task.generates else 0
    return Measure(
        name=task.name,
        prompts=task.prompts,
        asked=task.tokens + added,
        computed=time.computed,
        new_tokens=added,
        seconds=time.seconds,
        against=against.name,
        raw=against.rate,
    )
