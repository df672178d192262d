"""Bootstrap intervals: users are drawn with replacement, since a user's samples are not independent of each other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rella_cpp.metrics.probabilities import Floats, Losses, Ranked, Reliability, UserAUC

DRAWS = 1000
LEVEL = 0.95
METRICS = {
    "auc": "AUC",
    "log_loss": "LogLoss",
    "accuracy": "ACC",
    "ece": "ECE",
    "brier": "Brier",
    "user_auc": "user AUC",
}
"""The metrics of clicks, each with its title, in the order in which `_Parts.all` computes them."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % bootstrap interval; all None where the figure is undefined."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, draws: Floats) -> "Interval":
        """Take the percentiles of draws, leaving undefined ones out."""
        good = draws[~np.isnan(draws)]
        if np.isnan(value) or not len(good):
            return cls(None if np.isnan(value) else value, None, None)
        low, high = np.quantile(good, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(float(value), float(low), float(high))

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference with this interval is distinguishable from none."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class Bootstrap:
    """Metrics of several predictors of the same samples, with the same draws for all: differences are paired.

    Parameters
    ----------
    labels
        0 or 1, float64 of shape (n,).
    users
        Each sample's user, of shape (n,): any values.
    predictors
        Probabilities by name, float64 of shape (n,).
    draws, seed
        How many resamples, and their seed.

    """

    def __init__(
        self,
        labels: Floats,
        users: npt.NDArray[np.generic],
        predictors: Mapping[str, Floats],
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        self._users = np.unique(users, return_inverse=True)[1].astype(np.int64)
        self._count = int(self._users.max()) + 1
        # Without both labels these are not one half or zero: there is nothing to tell apart.
        both = 0 < labels.sum() < len(labels)
        parts = {name: _Parts(labels, scores, self._users, both) for name, scores in predictors.items()}
        self._with_both = max((len(part.own.users) for part in parts.values()), default=0)
        self.values = {name: part.all(None, None) for name, part in parts.items()}
        # One user drawn with replacement is always the same one: no interval can be had.
        self._draws = {name: np.full((draws, len(METRICS)), np.nan) for name in parts}
        for number, user_weights in enumerate(self._weights(draws if self._count > 1 else 0, seed)):
            weights = user_weights[self._users]
            for name, part in parts.items():
                self._draws[name][number] = part.all(weights, user_weights)

    @property
    def users_with_both(self) -> int:
        """How many users have samples of both labels: those that the mean AUC within users is over."""
        return self._with_both

    def interval(self, name: str, metric: str) -> Interval:
        """Return a predictor's metric."""
        place = list(METRICS).index(metric)
        return Interval.of(self.values[name][place], self._draws[name][:, place])

    def difference(self, name: str, other: str, metric: str) -> Interval:
        """Return how much more of a metric the first of two predictors has, over the same draws."""
        place = list(METRICS).index(metric)
        return Interval.of(
            self.values[name][place] - self.values[other][place],
            self._draws[name][:, place] - self._draws[other][:, place],
        )

    def _weights(self, draws: int, seed: int) -> Iterator[Floats]:
        random = np.random.default_rng(seed)
        for _ in range(draws):
            drawn = random.integers(0, self._count, self._count)
            yield np.bincount(drawn, minlength=self._count).astype(np.float64)


class _Parts:
    """One predictor's metrics, prepared for many weightings."""

    def __init__(self, labels: Floats, probabilities: Floats, users: npt.NDArray[np.int64], both: bool) -> None:
        self._ranked = Ranked(labels, probabilities)
        self._losses = Losses.of(labels, probabilities)
        self._reliability = Reliability(labels, probabilities)
        self.own = UserAUC(labels, probabilities, users)
        self._both = both

    def all(self, weights: Floats | None, user_weights: Floats | None) -> Floats:
        """Return the metrics in the order of METRICS."""
        means = (self._losses.log_loss, self._losses.accuracy, self._losses.brier)
        loss, accuracy, brier = (float(np.average(mean, weights=weights)) for mean in means)
        auc = self._ranked.auc(weights) if self._both else float("nan")
        own = self.own.mean(user_weights)
        return np.array([auc, loss, accuracy, self._reliability.ece(weights), brier, own])
