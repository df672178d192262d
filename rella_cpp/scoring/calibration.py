"""Calibration: from the model's logit gap to a probability that holds. `rella_cpp.evaluation.calibrate` fits one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rella_cpp.domains.field_names import missing_field
from rella_cpp.domains.values import as_whole, describe, id_text, quoted
from rella_cpp.errors import InputError
from rella_cpp.scoring.results import click_probability
from rella_cpp.scoring.statistics import STATISTICS, statistics_of
from rella_cpp.storage.artifacts import brief, digest, first_difference, read_json, write_json
from rella_cpp.storage.versions import library_versions

_FORMAT = 1


_JUDGE = ("model", "domain", "chat_format")


_REMEDY = "make one: rella calibrate RUN_VALID -o FILE"


_ENOUGH = 50
"""Samples for each weight, below which a fit is named uncertain."""


@dataclass(frozen=True)
class Calibration:
    """A logistic model of the logit gap, and, in a blend, of the statistics.

    Attributes
    ----------
    weights
        By feature: `gap`, and in a blend the names in `STATISTICS`.
    offset
        Added to the weighted sum.
    contrast
        Whether the gap is taken above the gap that the same target gets with no history.
    made_for
        The scorer's settings and the reading that it was fitted for.
    fitted_on
        Which run, and what the fit changed there.
    popularity
        In a blend: the items' training means and counts.
    ranges
        In a blend: the least, mean and greatest of each statistic where it was fitted. Values beyond are taken for the
        ends: a line fitted to long histories says nothing of short ones.

    """

    weights: Mapping[str, float]
    offset: float
    contrast: bool
    made_for: Mapping[str, Any]
    fitted_on: Mapping[str, Any]
    popularity: Mapping[str, Any] | None = None
    ranges: Mapping[str, tuple[float, float, float]] | None = None

    @property
    def certain(self) -> bool:
        """Whether there were at least 50 samples for each weight."""
        return int(self.fitted_on["samples"]) >= _ENOUGH * len(self.weights)

    @property
    def blend(self) -> bool:
        """Whether statistics take part."""
        return len(self.weights) > 1

    @property
    def name(self) -> str:
        """Its kind: `platt` or `blend`, with `-contrast` where the gap is taken above the empty one."""
        return ("blend" if self.blend else "platt") + ("-contrast" if self.contrast else "")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides its probabilities."""
        return digest([dict(self.weights), self.offset, self.contrast, self.popularity, self.ranges])

    def probability(self, gap: float, statistics: Mapping[str, float] | None = None) -> float:
        """Return the calibrated probability of a gap.

        Raises
        ------
        InputError
            It is a blend, and there are no statistics.

        """
        if self.blend and statistics is None:
            raise InputError("the calibration blends ratings, and there are none", remedy="calibrate without --blend")
        features = {"gap": gap}
        for name, (low, _, high) in (self.ranges or {}).items():
            features[name] = min(max((statistics or {})[name], low), high)
        total = self.offset + sum(weight * features[name] for name, weight in self.weights.items())
        return click_probability(total)

    def knows(self, item_id: object) -> bool:
        """Tell whether a blend has statistics of an item; without a blend there is nothing to know."""
        return self.popularity is None or self._name(item_id) is not None

    def _name(self, item_id: object) -> str | None:
        """Return the id by which the statistics know an item; None where they do not."""
        known, text = (self.popularity or {"items": {}})["items"], id_text(item_id)
        return None if text is None else next((name for name in (text, as_whole(text)) if name in known), None)

    def statistics(self, ratings: Sequence[float | None], item_id: object) -> Mapping[str, float] | None:
        """Return a blend's statistics of a history, oldest first, and a target by its id; None where none are needed.

        An item that the blend does not know is taken for an average one.

        Raises
        ------
        InputError
            There are behaviors, and none has a rating.

        """
        if self.popularity is None:
            return None
        if ratings and all(rating is None for rating in ratings):
            raise InputError(
                "the calibration blends ratings, and no behavior has one",
                remedy="give ratings, or calibrate without --blend",
            )
        name = self._name(item_id)
        known = (0.0, 0.0) if name is None else self.popularity["items"][name]
        found = statistics_of(ratings, known, self.popularity["mean"])
        if self.ranges is not None and name is None:
            found |= {name: self.ranges[name][1] for name in ("item_mean", "log_item_count")}
        return found

    def check(
        self,
        settings: Mapping[str, Any],
        reading: Mapping[str, object] | None = None,
        *,
        source: str | Path | None = None,
    ) -> None:
        """Refuse a scorer or a reading that this was not fitted for.

        Raises
        ------
        InputError
            Naming what differs.

        """
        wanted = made_for(settings, self.made_for["reading"] if reading is None else reading)
        if difference := first_difference(self.made_for, wanted):
            name, was, now = difference
            raise InputError(
                f"the calibration was fitted with another {name}: {brief(was)}, not {brief(now)}",
                source=source,
                remedy="fit one for this (rella calibrate), or take it as it is with --allow-mismatch",
            )

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
                **({"ranges": self.ranges, "popularity": self.popularity} if self.blend else {}),
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
            if value["format"] != _FORMAT:
                raise InputError(f"is of format {quoted(value['format'])}", source=path, remedy=_REMEDY)
            _check_values(value, path)
            weights = {str(name): float(weight) for name, weight in dict(value["weights"]).items()}
            names = ("gap", *STATISTICS) if value["kind"] == "blend" else ("gap",)
            popularity: Any = value["popularity"] if value["kind"] == "blend" else None
            if tuple(weights) != names or not all(map(math.isfinite, weights.values())):
                raise KeyError("weights")
            made: Any = value["made_for"]
            dict(made["judge"]), dict(made["reading"])
            if not isinstance(value["contrast"], bool):
                raise TypeError("contrast")
            ranges = None
            if popularity is not None:
                float(popularity["mean"])
                for mean, count in popularity["items"].values():
                    float(mean), float(count)
                found: Any = value["ranges"]
                ranges = {name: (float(low), float(mean), float(high)) for name, (low, mean, high) in found.items()}
                if tuple(ranges) != STATISTICS:
                    raise KeyError("ranges")
            fitted: Any = value["fitted_on"]
            return cls(weights, float(value["offset"]), value["contrast"], made, fitted, popularity, ranges)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"is no calibration (its {error} is missing or wrong)", source=path, remedy=_REMEDY
            ) from None


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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_FITS: dict[str, Callable[[Any], bool]] = {
    "weights": lambda value: isinstance(value, dict) and bool(value) and all(map(_is_number, value.values())),
    "kind": lambda value: isinstance(value, str),
    "offset": _is_number,
    "contrast": lambda value: isinstance(value, bool),
    "made_for": lambda value: isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()),
}


def made_for(settings: Mapping[str, Any], reading: Mapping[str, object]) -> dict[str, Any]:
    """Return what a calibration holds for: model, adapters and head, wording, chat format, and the reading."""
    return {"judge": {name: settings[name] for name in _JUDGE}, "reading": dict(reading)}
