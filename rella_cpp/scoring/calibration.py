"""Calibration: from the model's logit gap to a probability that holds. `rella_cpp.evaluation.calibrate` fits one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from rella_cpp.domains.field_names import missing_field
from rella_cpp.domains.values import describe, quoted
from rella_cpp.engine.identity import descends
from rella_cpp.errors import InputError
from rella_cpp.scoring.ratings.models import FITTED, Rated, RatingModels
from rella_cpp.scoring.ratings.statistics import STATISTICS
from rella_cpp.scoring.results import click_probability
from rella_cpp.storage.artifacts import brief, digest, first_difference, read_json, write_json
from rella_cpp.storage.versions import library_versions
from rella_gguf.lineage import Origin

_FORMAT = 2  # 1: blends of the gap and the six statistics alone
_LEVEL = "level "
_JUDGE = ("model", "domain", "chat_format")
_REMEDY = "make one: rella calibrate RUN_VALID -o FILE"
_LEAST = 1e-12  # of a level's probability, where it is taken to the logarithm
_TERM = ("weight", "value", "mean")
_MOST, _MOST_LOG = 1e12, 50.0  # of a number in a file, and of the logarithm of a count
_ENOUGH = 50
"""Samples for each weight, below which a fit is named uncertain."""


@dataclass(frozen=True, slots=True)
class Term:
    """What one feature adds to a calibration's logit: weight times distance from the mean where it was fitted."""

    feature: str
    weight: float
    value: float
    mean: float

    @property
    def change(self) -> float:
        """What it adds, against an average sample."""
        return self.weight * (self.value - self.mean)

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object."""
        return {"feature": self.feature, "change": self.change, **{name: getattr(self, name) for name in _TERM}}


@dataclass(frozen=True)
class Calibration:
    """A logistic model of the logit gap, and, in a blend, of the statistics.

    Attributes
    ----------
    weights
        By feature: `gap`, or of a blend of streams `level 1` and so on, the logarithms of the levels' probabilities;
        in a blend also what `RatingModels.features` gives.
    offset
        Added to the weighted sum.
    contrast
        Whether the gap is taken above the gap that the same target gets with no history.
    made_for
        The scorer's settings and the reading that it was fitted for.
    fitted_on
        Which run, and what the fit changed there.
    models
        In a blend: what was fitted on training ratings.
    ranges
        In a blend: the least, mean and greatest of what they say where it was fitted. Values beyond are taken for the
        ends: a line fitted to long histories says nothing of short ones.
    means
        Of what the model says where it was fitted; empty in calibrations of before.

    """

    weights: Mapping[str, float]
    offset: float
    contrast: bool
    made_for: Mapping[str, Any]
    fitted_on: Mapping[str, Any]
    models: RatingModels | None = field(default=None, compare=False)
    ranges: Mapping[str, tuple[float, float, float]] | None = None
    means: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def certain(self) -> bool:
        """Whether there were at least 50 samples for each weight."""
        return int(self.fitted_on.get("samples", 0)) >= _ENOUGH * len(self.weights)

    @property
    def blend(self) -> bool:
        """Whether what ratings say takes part."""
        return len(self.weights) > 1

    @property
    def name(self) -> str:
        """Its kind: `platt` or `blend`, with `-contrast` where the gap is taken above the empty one."""
        return ("blend" if self.blend else "platt") + ("-contrast" if self.contrast else "")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides its probabilities."""
        models = None if self.models is None else self.models.as_dict()
        return digest([dict(self.weights), self.offset, self.contrast, models, self.ranges])

    def probability(
        self, gap: float, levels: Mapping[str, float] | None = None, ratings: Mapping[str, float] | None = None
    ) -> float:
        """Return the calibrated probability.

        Parameters
        ----------
        gap, levels
            What the model says: its gap, and of a stream the levels' probabilities by label.
        ratings
            What ratings say; see `RatingModels.features`.

        Raises
        ------
        InputError
            It is a blend, and something that it takes is not there.

        """
        features = self._features(gap, levels, ratings)
        return click_probability(self.offset + sum(weight * features[name] for name, weight in self.weights.items()))

    def terms(
        self, gap: float, levels: Mapping[str, float] | None = None, ratings: Mapping[str, float] | None = None
    ) -> tuple[Term, ...]:
        """Return what each feature adds to the logit; those whose mean is not known are left out. See `probability`."""
        features = self._features(gap, levels, ratings)
        means = {**self.means, **{name: mean for name, (_, mean, _) in (self.ranges or {}).items()}}
        return tuple(
            Term(name, weight, features[name], means[name]) for name, weight in self.weights.items() if name in means
        )

    def _features(
        self, gap: float, levels: Mapping[str, float] | None, ratings: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Return all features that have weights, and more."""
        features = model_features(gap, levels) | {"gap": gap}
        for name, (low, _, high) in (self.ranges or {}).items():
            if ratings is None or name not in ratings:
                finding = f"the calibration blends ratings, and {name} is missing"
                raise InputError(finding, remedy="calibrate without --blend")
            features[name] = min(max(ratings[name], low), high)
        if missing := [name for name in self.weights if name not in features]:
            remedy = "calibrate with this layout and domain (rella calibrate)"
            raise InputError(f"the calibration needs {missing[0]}, which this model does not give", remedy=remedy)
        return features

    def ratings(self, history: Sequence[Rated | None], target: int | None) -> Mapping[str, float] | None:
        """Return what ratings say of a history, oldest first, and a target by its row; None where none are needed.

        An item that the blend does not know is taken for an average one.

        Raises
        ------
        InputError
            There are behaviors, and none has a rating.

        """
        if self.models is None or self.ranges is None:
            return None
        if history and not any(history):
            raise InputError(
                "the calibration blends ratings, and no behavior has one",
                remedy="give ratings, or calibrate without --blend",
            )
        average = self.ranges["item_mean"][1], math.expm1(self.ranges["log_item_count"][1])
        return self.models.features(history, target, average)

    def check(
        self,
        settings: Mapping[str, Any],
        reading: Mapping[str, object] | None = None,
        *,
        origins: Sequence[Origin] = (),
        source: str | Path | None = None,
    ) -> None:
        """Refuse a scorer or a reading that this was not fitted for; take one whose model descends from that it was.

        `origins` are what the scorer's model was made from (`Rella.model`).

        Raises
        ------
        InputError
            Naming what differs.

        """
        wanted = made_for(settings, self.made_for["reading"] if reading is None else reading)
        fitted = self.made_for["judge"].get("model", {})
        if descends(wanted["judge"]["model"], fitted, origins):
            wanted["judge"]["model"] = fitted
        if difference := first_difference(self.made_for, wanted):
            name, was, now = difference
            raise InputError(
                f"the calibration was fitted with another {name}: {brief(was)}, not {brief(now)}",
                source=source,
                remedy="fit one for this (rella calibrate), or take it as it is with --allow-mismatch",
            )

    def check_data(self, identity: Mapping[str, object]) -> None:
        """Refuse an evaluation of other data than a blend was fitted on: there, what ratings say is fitted anew.

        `identity` has the data's name and fingerprint.

        Raises
        ------
        InputError
            It is a blend, and of other data.

        """
        data = self.fitted_on.get("data")
        if self.blend and isinstance(data, Mapping) and data.get("fingerprint") != identity["fingerprint"]:
            finding = f"the blend was fitted on the data {quoted(data.get('name'))}, not {quoted(identity['name'])}"
            raise InputError(finding, remedy="fit one on this data (rella calibrate --blend), or leave it out")

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(
            path,
            {
                "format": _FORMAT,
                "kind": "blend" if self.blend else "platt",
                "weights": dict(self.weights),
                "offset": self.offset,
                "contrast": self.contrast,
                "fitted_on": dict(self.fitted_on),
                "made_for": dict(self.made_for),
                "versions": library_versions(),
                "means": dict(self.means),
                **({} if self.models is None else {"ranges": self.ranges, "ratings": self.models.as_dict()}),
            },
            sealed=False,  # a person may read it, and change it
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read it back.

        Raises
        ------
        InputError
            The file is missing, or no calibration.

        """
        value = read_json(Path(path), _REMEDY, sealed=False)
        try:
            if value["format"] not in (1, _FORMAT):
                raise InputError(f"is of format {quoted(value['format'])}", source=path, remedy=_REMEDY)
            _check_values(value, path)
            weights = {str(name): float(weight) for name, weight in dict(value["weights"]).items()}
            own = [name for name in weights if name == "gap" or name.startswith(_LEVEL)]
            if not own or not all(map(math.isfinite, weights.values())):
                raise KeyError("weights")
            made: Any = value["made_for"]
            dict(made["judge"]), dict(made["reading"])
            if not isinstance(value["contrast"], bool):
                raise TypeError("contrast")
            models, ranges = None, None
            if value["kind"] == "blend":
                models = RatingModels.from_dict(value["ratings" if value["format"] == _FORMAT else "popularity"])
                ranges = _ranges(value["ranges"])
            if [*own, *(ranges or {})] != list(weights) or not set(ranges or {}) <= {*STATISTICS, *FITTED}:
                raise KeyError("ranges")
            fitted: Any = value["fitted_on"]
            means = {str(name): float(mean) for name, mean in value.get("means", {}).items()}
            if not means.keys() <= set(own) or not all(map(math.isfinite, means.values())):
                raise KeyError("means")
            return cls(weights, float(value["offset"]), value["contrast"], made, fitted, models, ranges, means)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise InputError(
                f"is no calibration (its {error} is missing or wrong)", source=path, remedy=_REMEDY
            ) from None


def model_features(gap: float, levels: Mapping[str, float] | None) -> dict[str, float]:
    """Return what a blend takes of a model, by name: the logarithms of a stream's levels, else the gap.

    Parameters
    ----------
    gap, levels
        See `Calibration.probability`.

    """
    if levels is None:
        return {"gap": gap}
    return {f"{_LEVEL}{label}": math.log(max(probability, _LEAST)) for label, probability in levels.items()}


def _check_values(value: Mapping[str, Any], path: str | Path) -> None:
    """Refuse what is missing in a calibration's file, or none of what it has to be, by key."""
    for key, fits in _FITS.items():
        if key not in value:
            fault = missing_field(key, value, tuple(_FITS), _REMEDY)
        elif not fits(value[key]):
            fault = InputError(f"its {key} is {describe(value[key])}", remedy=_REMEDY)
        else:
            continue
        raise InputError(f"is no calibration: {fault.finding}", source=path, remedy=fault.remedy)


def _ranges(value: Any) -> dict[str, tuple[float, float, float]]:
    """Read a blend's ranges; KeyError, TypeError or ValueError where they are none."""
    found = {name: (float(low), float(mean), float(high)) for name, (low, mean, high) in value.items()}
    if not all(low <= mean <= high for low, mean, high in found.values()):
        raise KeyError("ranges")
    if set(STATISTICS) - found.keys() or abs(found["log_item_count"][1]) > _MOST_LOG:
        raise KeyError("ranges")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


_FITS: dict[str, Callable[[Any], bool]] = {
    "weights": lambda value: isinstance(value, dict) and bool(value) and all(map(_is_number, value.values())),
    "kind": lambda value: isinstance(value, str),
    "offset": _is_number,
    "contrast": lambda value: isinstance(value, bool),
    "made_for": lambda value: isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()),
    "fitted_on": lambda value: isinstance(value, dict) and _is_number(value.get("samples", 0)),
}


def made_for(settings: Mapping[str, Any], reading: Mapping[str, object]) -> dict[str, Any]:
    """Return what a calibration holds for: model, adapters and head, wording, chat format, and the reading."""
    return {"judge": {name: settings[name] for name in _JUDGE}, "reading": dict(reading)}
