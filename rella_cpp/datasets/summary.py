"""What is in a prepared data set, in numbers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.layout import SPLITS

_STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_MOST_RATINGS = 20


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """A split's samples, the users among them, and the share of label 1; that is None where there is no sample."""

    name: str
    samples: int
    users: int
    label_rate: float | None


@dataclass(frozen=True, slots=True)
class LengthBin:
    """How many samples have a history of `low` to `high` behaviors."""

    low: int
    high: int
    samples: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A prepared data set in numbers.

    Attributes
    ----------
    ratings
        How many interactions have each rating, ascending, in ten spans where there are more than 20 values; None where
        the data has none.
    history
        Least, median, mean and greatest length of the samples' histories; empty without samples.
    lengths
        The histories' lengths in bins, without empty ones at either end.

    """

    format: str
    domain: str
    users: int
    items: int
    interactions: int
    splits: tuple[SplitSummary, ...]
    ratings: Mapping[str, int] | None
    history: Mapping[str, float]
    lengths: tuple[LengthBin, ...]
    rules: Mapping[str, Any]
    left_out: Mapping[str, Mapping[str, int]]
    repaired: Mapping[str, int]
    fingerprint: str

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object with these keys."""
        return asdict(self)


def summarize(data: DataSet) -> Summary:
    """Count what is in a data set."""
    samples, manifest = data.samples, data.manifest
    splits = []
    for name in SPLITS:
        rows = samples.rows(name)
        rate = float(samples.label[rows].mean()) if len(rows) else None
        splits.append(SplitSummary(name, len(rows), len(np.unique(samples.user[rows])), rate))
    lengths = samples.position
    history = {}
    if len(lengths):
        least, median, greatest = int(lengths.min()), float(np.median(lengths)), int(lengths.max())
        history = {"least": least, "median": median, "mean": float(lengths.mean()), "greatest": greatest}
    return Summary(
        data.name,
        data.domain,
        len(data.users),
        len(data.items),
        len(data.interactions.item),
        tuple(splits),
        _ratings(data),
        history,
        _bins(data),
        manifest["rules"],
        manifest["left_out"],
        manifest["repaired"],
        data.fingerprint,
    )


def _ratings(data: DataSet) -> dict[str, int] | None:
    if data.interactions.rating is None:
        return None
    values, counts = np.unique(data.interactions.rating, return_counts=True)
    if len(values) > _MOST_RATINGS:
        known = data.interactions.rating[~np.isnan(data.interactions.rating)]
        binned, edges = np.histogram(known, bins=10)
        spans = zip(edges[:-1].tolist(), edges[1:].tolist(), binned.tolist(), strict=True)
        return {f"{low:.4g} to {high:.4g}": count for low, high, count in spans}
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return {"none" if value != value else f"{value:g}": count for value, count in pairs}


def _bins(data: DataSet) -> tuple[LengthBin, ...]:
    lengths = data.samples.position
    if not len(lengths):
        return ()
    edges = [*_STEPS, max(int(lengths.max()), _STEPS[-1]) + 1]
    counts, _ = np.histogram(lengths, bins=np.array(edges))
    filled = np.flatnonzero(counts)
    return tuple(LengthBin(edges[at], edges[at + 1] - 1, int(counts[at])) for at in range(filled[0], filled[-1] + 1))
