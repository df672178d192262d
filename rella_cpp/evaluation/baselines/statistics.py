"""Six statistics of a sample, from the training split and the sample's own earlier behaviors only."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet, as_written
from rella_cpp.datasets.sampling import history_lengths, users_of
from rella_cpp.metrics.probabilities import Floats

SMOOTHING = 10
"""Ratings at the global mean that are added to an item's own."""


@dataclass(frozen=True, slots=True)
class Popularity:
    """Items' ratings in training: each one's sum and count, float64 of shape (items,), and the mean of all ratings."""

    sums: Floats
    counts: Floats
    mean: float

    def smoothed(self, items: npt.NDArray[np.integer], without: Floats | None = None) -> tuple[Floats, Floats]:
        """Return the smoothed means and the counts of items; `without` are ratings to leave out, NaN for none."""
        sums, counts = self.sums[items], self.counts[items]
        if without is not None:
            known = ~np.isnan(without)
            sums, counts = sums - np.where(known, without, 0), counts - known
        return (sums + SMOOTHING * self.mean) / (counts + SMOOTHING), counts


class RatingStatistics:
    """Computes the statistics of a data set's samples.

    An item's training ratings are those that stand in a training sample or in its history: of every user the
    interactions up to the last training sample. A training sample's own rating is left out of its item's mean.

    Parameters
    ----------
    data
        A data set with ratings.

    Attributes
    ----------
    training
        Which interactions are training ratings, bool of shape (n,).

    """

    def __init__(self, data: DataSet) -> None:
        rows, samples = data.interactions, data.samples
        assert rows.rating is not None, "statistics need ratings"
        self._data, self._rating = data, as_written(rows.rating)
        known = ~np.isnan(self._rating)
        self._sums = np.concatenate([[0.0], np.cumsum(np.where(known, self._rating, 0))])
        self._counts = np.concatenate([[0], np.cumsum(known)])
        train = samples.rows("train")
        ends = np.zeros(len(rows.starts) - 1, np.int64)
        np.maximum.at(ends, samples.user[train], samples.position[train].astype(np.int64) + 1)
        self.training = counted = known & (history_lengths(rows) < ends[users_of(rows)])
        sums = np.bincount(rows.item[counted], self._rating[counted], data.items.num_rows).astype(np.float64)
        counts = np.bincount(rows.item[counted], minlength=data.items.num_rows).astype(np.float64)
        self.popularity = Popularity(sums, counts, float(sums.sum() / max(1.0, counts.sum())))

    def of(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Return the statistics of samples, by row number: float64 of shape (len(rows), 6)."""
        samples = self._data.samples
        position = samples.position[rows].astype(np.int64)
        start = self._data.interactions.starts[samples.user[rows]]
        end = start + position
        own = np.where(samples.split[rows] == 0, self._rating[end], np.nan)
        item_mean, item_count = self.popularity.smoothed(samples.item[rows], own)
        return np.stack(
            [
                self._mean(start, end),
                self.last(rows, 5),
                self.last(rows, 30),
                np.log1p(position),
                item_mean,
                np.log1p(item_count),
            ],
            axis=1,
        )

    def last(self, rows: npt.NDArray[np.int64], count: int) -> Floats:
        """Return the mean of the last `count` earlier ratings of samples, the training mean where there is none."""
        samples = self._data.samples
        start = self._data.interactions.starts[samples.user[rows]]
        end = start + samples.position[rows]
        return self._mean(np.maximum(start, end - count), end)

    def _mean(self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> Floats:
        counts = self._counts[end] - self._counts[start]
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (self._sums[end] - self._sums[start]) / counts
        return np.where(counts > 0, means, self.popularity.mean)
