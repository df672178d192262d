"""Models are tried before they are trusted: once, in a child process, since llama.cpp may end the process it runs in.

Where the child dies, safer settings are tried. What was found is kept, so the next start pays nothing.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from rella_cpp.engine.machine.amx import build_command
from rella_cpp.engine.machine.processor import processor
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.engine.trial.probe import STAGES, Job
from rella_cpp.engine.trial.verdicts import PAGE, Death, Verdict, Verdicts
from rella_cpp.errors import EngineError, RellaError
from rella_cpp.storage.artifacts import digest
from rella_cpp.storage.progress import Progress
from rella_gguf import check_judge, check_model
from rella_gguf.native import shipped_library

if TYPE_CHECKING:  # a start that knows the verdict needs no child
    from rella_cpp.engine.trial.child import Outcome

logger = logging.getLogger("rella_cpp")

Kind = Literal["adapter", "soft"]

EXTRA_BUFFERS = "extra buffers (repacked weights)"
_SAFER: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (EXTRA_BUFFERS, {"extra_bufts": False}),
    ("flash attention", {"flash_attn": "off"}),
    ("the GPU", {"gpu_layers": 0}),
)
"""What is switched off where llama.cpp dies, one after the other, by name."""
_ON_CPU = ("ggml-base", "ggml-cpu", "ggml-blas")
"""Libraries of ggml that compute on no GPU."""
_CONTEXT = 256
"""Tokens of the context in which an adapter or a soft prompt is tried, besides its own."""


class Fingerprints(Protocol):
    """What knows the fingerprints of files; `Cache` is one."""

    def known_fingerprint(self, path: str | Path) -> str | None:
        """Return a model's fingerprint if that needs no reading of the file."""

    def fingerprint(self, path: str | Path, progress: Progress = ...) -> str:
        """Return a model's fingerprint."""


class TriedModel(NamedTuple):
    """A loaded model that an adapter or a soft prompt goes with, and the length of its context."""

    path: Path
    fingerprint: str
    settings: EngineSettings
    n_ctx: int


class Trial:
    """Tries models, adapters and soft prompts, and keeps what it finds.

    Parameters
    ----------
    fingerprints
        Knows models' fingerprints.
    verdicts
        Where verdicts are kept; None: in the default folder.
    progress
        Told what is being tried.

    """

    def __init__(self, fingerprints: Fingerprints, progress: Progress, verdicts: Verdicts | None = None) -> None:
        self._fingerprints, self._progress, self._verdicts = fingerprints, progress, verdicts or Verdicts.default()

    def settings(self, path: str | Path, settings: EngineSettings) -> EngineSettings:
        """Return the settings with which a model works: those given, or safer ones, with a warning.

        Raises
        ------
        GGUFError
            The file cannot be used, as its header tells.
        EngineError
            llama.cpp dies before it decodes anything, or with every setting.

        """
        fingerprint = self._fingerprints.known_fingerprint(path)
        if fingerprint is None:
            check_judge(check_model(path))  # before the whole file is read
            fingerprint = self._fingerprints.fingerprint(path, self._progress)
        facts = {**here(), "model": fingerprint, "settings": _kept(settings)}
        verdict = self._verdicts.find(facts)
        if verdict is None:
            verdict = self._climb(path, settings)
            if verdict is None:  # refused: the caller meets the reason when it loads the model
                return settings
            if all(death.comes_again for death in verdict.deaths):
                self._verdicts.keep(facts, verdict)
        if verdict.switched_off:
            logger.warning("%s: %s", path, describe(verdict))
        return verdict.applied(settings)

    def beside(self, kind: Kind, path: Path, fingerprint: str, model: TriedModel, given: Path, tokens: int = 0) -> None:
        """Try an adapter or a soft prompt with a model that was tried already.

        The model may be in memory: the child shares the pages of its file, and has a small context.

        Parameters
        ----------
        kind, path, fingerprint
            What it is; its GGUF.
        model
            What it goes with.
        given
            What it was made from, to name in errors.
        tokens
            Positions that it takes.

        Raises
        ------
        EngineError
            llama.cpp dies with it.

        """
        facts = {**here(), "model": model.fingerprint, "settings": _kept(model.settings), kind: fingerprint}
        if self._verdicts.find(facts) is not None:
            return
        settings = replace(model.settings, extra_bufts=False, ctx=min(model.n_ctx, tokens + _CONTEXT))
        outcome = self._try(Job(str(model.path), settings, **{kind: str(path)}))
        if outcome.death is not None:
            raise EngineError(f"{given}: llama.cpp fails with it ({outcome.death}): {outcome.death.remedy}")
        if outcome.well:
            self._verdicts.keep(facts, Verdict({}))

    def _climb(self, path: str | Path, settings: EngineSettings) -> Verdict | None:
        """Try settings, after each death safer ones; None where the model was refused, or could not be tried."""
        deaths: list[Death] = []
        for off in _ladder(settings):
            outcome = self._try(Job(str(path), Verdict(off).applied(settings)))
            if outcome.well:
                return Verdict(off, tuple(deaths))
            if outcome.death is not None:
                deaths.append(replace(outcome.death, without=tuple(off)))
            elif not deaths:
                return None
            if outcome.before_first_decode:
                break
        without = f", also without {_and(deaths[-1].without)}" if deaths[-1].without else ""
        raise EngineError(f"{path}: llama.cpp fails on it ({deaths[0]}){without}: {deaths[0].remedy}")

    def _try(self, job: Job) -> "Outcome":
        from rella_cpp.engine.trial.child import Outcome, run

        if getattr(sys, "frozen", False) or not sys.executable:
            logger.warning("no Python interpreter to try the model in: llama.cpp may end this process")
            return Outcome(False)
        start = time.monotonic()
        what = "adapter" if job.adapter else "soft prompt" if job.soft else "model"
        task = f"trying the {what} once"

        def tell(stage: str) -> None:
            done = next((number for number, each in enumerate(STAGES) if stage.startswith(each)), 0)
            self._progress(
                task, done, len(STAGES), f"{stage.removeprefix('reading ')}, {time.monotonic() - start:.0f} s"
            )

        outcome = run(job, tell)
        self._progress(task, len(STAGES), len(STAGES))
        return outcome


def here() -> dict[str, object]:
    """Return what every verdict depends on, as JSON: the build of llama.cpp, which is not loaded, and the processor."""
    found = find_spec("llama_cpp")
    paths = [*_libraries(), *([Path(found.origin)] if found and found.origin else [])]
    files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    return {"build": digest(files), "processor": processor().fingerprint}


def found_here(fingerprint: str | None = None) -> list[tuple[Mapping[str, Any], Verdict]]:
    """Return the settings with which models were tried on this machine, and what was found.

    Parameters
    ----------
    fingerprint
        Of one model; None: of all.

    """
    facts = here() if fingerprint is None else {**here(), "model": fingerprint}
    found = Verdicts.default().matching(**facts)
    return [(tried["settings"], verdict) for tried, verdict in found if not {"adapter", "soft"} & tried.keys()]


def describe(verdict: Verdict) -> str:
    """Say in a sentence how llama.cpp died, what it does without since, and how that can be mended."""
    if not verdict.switched_off:
        return "works"
    faster = f"see {PAGE}"
    if EXTRA_BUFFERS in verdict.switched_off and processor().has_amx:
        faster = f"for the faster build: {build_command()} ({PAGE})"
    off = _and(verdict.switched_off)
    return f"llama.cpp failed on it ({verdict.deaths[0]}), so it runs without {off}, which may be slower; {faster}"


def _ladder(settings: EngineSettings) -> Iterator[dict[str, Mapping[str, Any]]]:
    """Yield what to switch off: nothing, then more and more; steps that change nothing are left out."""
    off: dict[str, Mapping[str, Any]] = {}
    yield dict(off)
    for name, changes in _SAFER:
        unchanged = changes.items() <= asdict(settings).items()
        needed = "flash_attn" in changes and settings.kv_type.startswith("q")
        absent = "gpu_layers" in changes and not _has_gpu()
        if not (unchanged or needed or absent):
            off[name] = changes
            yield dict(off)


def _kept(settings: EngineSettings) -> dict[str, object]:
    return {name: value for name, value in asdict(settings).items() if name != "threads"}


def _libraries() -> list[Path]:
    """Find the libraries of llama.cpp and ggml; none where a distribution keeps them elsewhere."""
    try:
        folder = shipped_library("llama").parent
    except RellaError:
        return []
    return [path for path in folder.iterdir() if "llama" in path.name or "ggml" in path.name]


def _has_gpu() -> bool:
    """Tell whether the build has a backend for a GPU, by its libraries: to load them might be what kills."""
    names = (path.name.removeprefix("lib") for path in _libraries())
    return any(name.startswith("ggml-") and not name.startswith(_ON_CPU) for name in names)


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)
