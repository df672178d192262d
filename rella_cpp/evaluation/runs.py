"""A run's folder: `run.json` (settings), `predictions.jsonl` (one line a sample or candidate), `metrics.json`.

See `rella_cpp.storage.journal` for how it is written.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.values import quoted
from rella_cpp.errors import InputError
from rella_cpp.evaluation.cost import COST
from rella_cpp.evaluation.protocols import PROTOCOLS, RankingProtocol
from rella_cpp.evaluation.reports.verdicts import OWN
from rella_cpp.metrics.probabilities import Floats
from rella_cpp.scoring.ratings.models import RatingModels
from rella_cpp.scoring.ratings.statistics import STATISTICS
from rella_cpp.storage.artifacts import read_json, sha256, write_json
from rella_cpp.storage.journal import Journal, JournalFiles, Line, groups_of, read_lines
from rella_cpp.storage.manifests import find_manifest
from rella_gguf.strict_json import loads

FORMAT = 2
"""Of the folder: 1 has no `ratings.json`, and all its groups are of eight."""

GROUP = 8
"""Samples, or ranked users, written together: the unit of resume where nothing says otherwise."""

_SETTINGS, _PREDICTIONS, _METRICS, _RATINGS = "run.json", "predictions.jsonl", "metrics.json", "ratings.json"
_ITEMS = "items.json"  # of format 1, in place of `ratings.json`
_REMEDY = "evaluate again into another folder, or with --force"
_MOST = 1e12  # of a number in a line

_OWN = (
    ("model", "probability"),
    ("model", "log_probability"),
    ("per_token", "per_token"),
    ("head", "head"),
    ("contrast", "contrast"),
)  # the model's predictors, and where they stand in a line
_NEEDED = {
    "probability": ("yes_logit", "no_logit", "answer_mass"),
    "log_probability": ("per_token", "tokens", "share"),
}  # what a line has that has the first
_GROUPS = ("calibrated", "baselines", "rankers")  # parts of a line that hold predictors by name

SEQUENTIAL = "sequential"
"""What lines call the lists of another recommender."""


class RunWriter(Journal):
    """Writes a run's predictions, or goes on where a run with the same settings stopped; see `Journal`.

    Parameters
    ----------
    samples
        The samples' numbers, in the order in which lines will be written.
    items
        Their items' ids, where a sample's number does not say its item.
    groups
        See `Journal`; None: groups of eight.
    folder, settings, force
        See `Journal`.

    Raises
    ------
    InputError
        The folder holds a run with other settings, or something else, or cannot be written.

    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object],
        samples: Sequence[int],
        *,
        items: Sequence[str] | None = None,
        groups: Sequence[range] | None = None,
        force: bool = False,
    ) -> None:
        keys: list[dict[str, object]] = [{"sample": sample} for sample in samples]
        for key, item in zip(keys, items or (), strict=items is not None):
            key["item"] = item
        groups = groups_of(len(samples), GROUP) if groups is None else groups
        super().__init__(folder, _LAYOUT, settings, keys, groups=groups, force=force)

    def save_ratings(self, models: RatingModels) -> None:
        """Write what was fitted on training ratings beside the predictions, where it is not yet: a blend needs it."""
        if not (self.folder / _RATINGS).is_file():
            write_json(self.folder / _RATINGS, models.as_dict())

    def known_ratings(self, items: int) -> RatingModels | None:
        """Read what `save_ratings` wrote of so many items; None where it is not there. A damaged file is removed."""
        path = self.folder / _RATINGS
        if not path.is_file():
            return None
        models = _read_ratings(path)
        if models is not None and len(models.ids) == items:
            return models
        path.unlink()
        return None

    def finish(self) -> "Run":
        """Let the predictions appear under their own name; return the run."""
        self.publish()
        return Run.open(self.folder)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    folder
        Where it lies.
    settings
        Its `run.json`.

    """

    folder: Path
    settings: Mapping[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a run.

        Raises
        ------
        InputError
            It is none, or not finished.

        """
        folder = Path(folder)
        path = find_manifest(folder, _SETTINGS, "run", "make one: rella evaluate … -o DIR")
        settings = read_json(path, _REMEDY)
        if settings.get("format", 1) not in (1, FORMAT):
            finding = f"is a run of format {quoted(settings['format'])}"
            raise InputError(finding, source=path, remedy="read it with the version of rella-cpp that made it")
        if not isinstance(settings.get("samples"), dict):
            raise InputError("is no run.json of a run", source=path, remedy=_REMEDY)
        if not (folder / _PREDICTIONS).is_file():
            remedy = "give the same rella evaluate command again"
            if settings.get("format") != FORMAT:
                remedy += ", with --force: an earlier rella began it"
            raise InputError("is not finished", source=folder, remedy=remedy)
        return cls(folder, settings)

    @property
    def ranking(self) -> RankingProtocol | None:
        """How each user's candidates are ranked (`evaluate_ranking`); None where samples stand by themselves."""
        return PROTOCOLS.get(self.settings["samples"].get("protocol", ""))

    @property
    def width(self) -> int:
        """How many candidates each user has; 1 where samples stand by themselves."""
        samples = self.settings["samples"]
        return int(samples.get("candidates", 1 + int(samples.get("negatives", 0))))

    @property
    def shared(self) -> bool:
        """Whether one prompt scored all of a user's candidates: by likelihood."""
        return "log_probability" in self.lines[0]

    @cached_property
    def lines(self) -> list[Line]:
        """The predictions, in the order of the samples."""
        path = self.folder / _PREDICTIONS
        lines = read_lines(path, _prediction, "is no prediction", _REMEDY)
        if not lines or len(lines) != self.settings["samples"].get("count", len(lines)):
            wanted = self.settings["samples"].get("count")
            raise InputError(f"holds {len(lines)} predictions of {wanted}", source=path, remedy=_REMEDY)
        return lines

    @property
    def labels(self) -> Floats:
        """The labels, float64 of shape (n,)."""
        return np.array([line["label"] for line in self.lines], dtype=np.float64)

    @property
    def users(self) -> npt.NDArray[np.generic]:
        """The users' ids, of shape (n,); each sample its own where there are none."""
        return np.array([str(line.get("user", f"sample {line['sample']}")) for line in self.lines])

    @property
    def samples(self) -> list[object]:
        """The samples' numbers."""
        return [line["sample"] for line in self.lines]

    @property
    def gaps(self) -> Floats:
        """The logits that calibration takes, float64 of shape (n,): the head's if there was one, else yes − no.

        Raises
        ------
        InputError
            The run has only baselines.

        """
        if (of_head := self.column("head_logit")) is not None:
            return of_head
        try:
            return np.array([line["yes_logit"] - line["no_logit"] for line in self.lines], dtype=np.float64)
        except KeyError:
            raise InputError("is a run of baselines only", source=self.folder, remedy="evaluate a model") from None

    def predictors(self) -> dict[str, Floats]:
        """Return the predictions by name: the model's first, then what the baselines say.

        The lists of another recommender go by its name, where it has one that nothing else has.
        """
        first = self.lines[0]
        found = {name: self._column(key) for name, key in _OWN if key in first}
        named = (self.settings.get("ranking") or {}).get("name")
        for group in _GROUPS:
            for name in first.get(group, {}):
                known = {*found, *first[group], *OWN}
                shown = named if name == SEQUENTIAL and named and named not in known else name
                found[shown] = np.array([line[group][name] for line in self.lines], dtype=np.float64)
        return found

    def statistics(self) -> Floats | None:
        """Return the six statistics, float64 of shape (n, 6); None where the run has none."""
        if "statistics" not in self.lines[0]:
            return None
        return np.array([list(line["statistics"].values()) for line in self.lines], dtype=np.float64)

    def column(self, name: str) -> Floats | None:
        """Return a number of every line, float64 of shape (n,); None where lines do not have it."""
        return self._column(name) if name in self.lines[0] else None

    def ratings(self) -> RatingModels:
        """Return what was fitted on training ratings; of a run of format 1 the items' statistics.

        Raises
        ------
        InputError
            The run has none, or its file is damaged.

        """
        found = [path for name in (_RATINGS, _ITEMS) if (path := self.folder / name).is_file()]
        if not found:
            raise InputError(
                "has no ratings.json", source=self.folder, remedy="evaluate data with ratings again (--force)"
            )
        if (models := _read_ratings(found[0])) is None:
            raise InputError("is damaged", source=found[0], remedy=_REMEDY)
        return models

    @property
    def metrics(self) -> dict[str, Any] | None:
        """What `metrics.json` says; None where it is not there, is damaged, or is of other predictions."""
        path = self.folder / _METRICS
        if not path.is_file():
            return None
        with suppress(InputError):
            known = read_json(path, _REMEDY)
            if known.pop("predictions", None) == sha256(self.folder / _PREDICTIONS):
                return known
        return None

    def save_metrics(self, metrics: Mapping[str, object]) -> None:
        """Write `metrics.json`, with the SHA-256 of the predictions that it is of."""
        write_json(self.folder / _METRICS, {"predictions": sha256(self.folder / _PREDICTIONS), **metrics})

    def _column(self, name: str) -> Floats:
        return np.array([line[name] for line in self.lines], dtype=np.float64)


def _read_ratings(path: Path) -> RatingModels | None:
    """Read what was fitted on ratings; None where the file is damaged."""
    try:
        return RatingModels.from_dict(read_json(path, _REMEDY))
    except (InputError, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        return None


def open_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Open runs; the folder of a sweep stands for the runs in it, ascending in K.

    Raises
    ------
    InputError
        One is none.

    """
    runs: list[Run] = []
    for folder in map(Path, folders):
        inner = [part.parent for part in folder.glob(f"*/{_SETTINGS}")] if not (folder / _SETTINGS).is_file() else []
        opened = [Run.open(part) for part in inner or [folder]]
        runs += sorted(opened, key=lambda run: (run.settings.get("reading", {}).get("k", 0), run.folder.name))
    return runs


def _prediction(text: str, first: Line | None) -> Line:
    """Parse a prediction; ValueError, KeyError or TypeError where it is none, or has other keys than the first."""
    line: Any = loads(text)
    chances = [line[name] for name in ("probability", "head", "contrast", "share") if name in line]
    chances += [value for name in ("calibrated", "baselines", "levels") for value in line.get(name, {}).values()]
    line["sample"]
    if line["label"] not in (0, 1) or not all(0 <= chance <= 1 for chance in chances):
        raise ValueError("a label or a probability is out of its range")
    needed = [name for key, names in _NEEDED.items() if key in line for name in names]
    numbers = [line[name] for name in needed]
    known = ("log_probability", "prompt_tokens", "dropped", "head_logit", "empty_gap")
    numbers += [line[name] for name in known if name in line]
    numbers += [value for name in ("rankers", "statistics") for value in line.get(name, {}).values()]
    for number in (*numbers, *chances):
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < _MOST:
            raise TypeError("a number is none")
    if set(line.get("statistics", STATISTICS)) != set(STATISTICS) or line.get("levels", True) == {}:
        raise ValueError("its statistics have other names, or it has no levels")
    if first is not None and any(
        list(line.get(name, ())) != list(first.get(name, ())) for name in (*_GROUPS, "statistics", "levels")
    ):
        raise ValueError("it has other predictors than the first line")
    if first is not None and line.keys() != first.keys():
        raise ValueError("it has other keys than the first line")
    return dict(line)


_LAYOUT = JournalFiles("a run", _SETTINGS, _PREDICTIONS, (_METRICS, _RATINGS, _ITEMS, COST), _REMEDY, _prediction)
