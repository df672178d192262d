"""Metrics of rankings with one positive a user, and their bootstrap.

Of tied candidates the mean over all their orders counts, so that a predictor that says nothing gets what chance gets.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rella_cpp.evaluation.bootstrap import DRAWS, Interval
from rella_cpp.evaluation.metrics import Floats

CUTS = (3, 5, 10)
KINDS = ("recall", "mrr", "ndcg")
RANKING_METRICS = (*(f"{kind}@{cut}" for kind in KINDS for cut in CUTS), "user_auc")
"""What a user's ranking gets; `user_auc` is the share of negatives that stand below the positive."""

DECIDING = "ndcg@10"
"""The metric by which verdicts are given."""


def ranking_metrics(scores: Floats, positive: npt.NDArray[np.int64]) -> Floats:
    """Return each user's metrics, float64 of shape (users, len(RANKING_METRICS)), in their order.

    Parameters
    ----------
    scores
        The candidates' scores, finite, float64 of shape (users, candidates); greater is better.
    positive
        Which candidate was liked, of shape (users,).

    """
    width = scores.shape[1]
    own = np.take_along_axis(scores, positive[:, None], axis=1)
    above = (scores > own).sum(axis=1)
    tied = (scores == own).sum(axis=1)  # the positive itself is one of them
    ranks = np.arange(1, width + 1)
    gains = {"recall": np.ones(width), "mrr": 1 / ranks, "ndcg": 1 / np.log2(ranks + 1)}
    columns = []
    for kind in KINDS:
        for cut in CUTS:
            sums = np.concatenate([[0.0], np.cumsum(gains[kind] * (ranks <= cut))])
            columns.append((sums[above + tied] - sums[above]) / tied)
    below = width - above - tied
    columns.append((below + (tied - 1) / 2) / (width - 1))
    return np.stack(columns, axis=1)


def chance(candidates: int) -> dict[str, float]:
    """Return what a random order of so many candidates gets on average, by metric."""
    found = ranking_metrics(np.zeros((1, candidates)), np.zeros(1, np.int64))[0]
    return dict(zip(RANKING_METRICS, found.tolist(), strict=True))


class RankingBootstrap:
    """Mean metrics of several predictors over the same users, with the same draws for all: differences are paired.

    Parameters
    ----------
    positive
        Which candidate was liked, of shape (users,).
    predictors
        Scores by name, float64 of shape (users, candidates).
    draws, seed
        How many resamples, and their seed.

    """

    def __init__(
        self,
        positive: npt.NDArray[np.int64],
        predictors: Mapping[str, Floats],
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        own = {name: ranking_metrics(scores, positive) for name, scores in predictors.items()}
        self.values = {name: metrics.mean(axis=0) for name, metrics in own.items()}
        users = len(positive)
        # One user drawn with replacement is always the same one: no interval can be had.
        self._draws = {name: np.full((draws, len(RANKING_METRICS)), np.nan) for name in own}
        random = np.random.default_rng(seed)
        for number in range(draws if users > 1 else 0):
            weights = np.bincount(random.integers(0, users, users), minlength=users) / users
            for name, metrics in own.items():
                self._draws[name][number] = weights @ metrics

    def interval(self, name: str, metric: str) -> Interval:
        """Return a predictor's metric."""
        place = RANKING_METRICS.index(metric)
        return Interval.of(self.values[name][place], self._draws[name][:, place])

    def difference(self, name: str, other: str, metric: str) -> Interval:
        """Return how much more of a metric the first of two predictors has, over the same draws."""
        place = RANKING_METRICS.index(metric)
        return Interval.of(
            self.values[name][place] - self.values[other][place],
            self._draws[name][:, place] - self._draws[other][:, place],
        )
