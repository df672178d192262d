"""Metrics of rankings with one positive a user, and their bootstrap.

Of tied candidates the mean over all their orders counts, so that a predictor that says nothing gets what chance gets.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from rella_cpp.metrics.bootstrap import DRAWS, Interval
from rella_cpp.metrics.probabilities import Floats

_TITLES = {"recall": "Recall", "hr": "HR", "mrr": "MRR", "ndcg": "NDCG", "user_auc": "user AUC"}
"""What metrics are called, their cut aside."""


def ranking_metrics(scores: Floats, positive: npt.NDArray[np.int64], metrics: Sequence[str]) -> Floats:
    """Return each user's metrics, float64 of shape (users, len(metrics)).

    Parameters
    ----------
    scores
        The candidates' scores, finite, float64 of shape (users, candidates); greater is better.
    positive
        Which candidate was liked, of shape (users,).
    metrics
        Their names: `recall`, `hr` (which is the same with one positive), `mrr` or `ndcg`, with a cut as in `ndcg@10`
        or over the whole ranking; `user_auc` is the share of negatives that stand below the positive.

    """
    width = scores.shape[1]
    own = np.take_along_axis(scores, positive[:, None], axis=1)
    above = (scores > own).sum(axis=1)
    tied = (scores == own).sum(axis=1)  # the positive itself is one of them
    ranks = np.arange(1, width + 1)
    gains = {"recall": np.ones(width), "hr": np.ones(width), "mrr": 1 / ranks, "ndcg": 1 / np.log2(ranks + 1)}
    columns = []
    for metric in metrics:
        kind, _, cut = metric.partition("@")
        if kind == "user_auc":
            below = width - above - tied
            columns.append((below + (tied - 1) / 2) / (width - 1))
            continue
        sums = np.concatenate([[0.0], np.cumsum(gains[kind] * (ranks <= int(cut or width)))])
        columns.append((sums[above + tied] - sums[above]) / tied)
    return np.stack(columns, axis=1)


def metric_title(metric: str) -> str:
    """Write a metric's name as people do: `NDCG@10`."""
    kind, at, cut = metric.partition("@")
    return f"{_TITLES[kind]}{at}{cut}"


def chance(candidates: int, metrics: Sequence[str]) -> dict[str, float]:
    """Return what a random order of so many candidates gets on average, by metric."""
    found = ranking_metrics(np.zeros((1, candidates)), np.zeros(1, np.int64), metrics)[0]
    return dict(zip(metrics, found.tolist(), strict=True))


class RankingBootstrap:
    """Mean metrics of several predictors over the same users, with the same draws for all: differences are paired.

    Parameters
    ----------
    positive
        Which candidate was liked, of shape (users,).
    predictors
        Scores by name, float64 of shape (users, candidates).
    metrics
        Which; see `ranking_metrics`.
    draws, seed
        How many resamples, and their seed.

    """

    def __init__(
        self,
        positive: npt.NDArray[np.int64],
        predictors: Mapping[str, Floats],
        metrics: Sequence[str],
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        self._places = {metric: place for place, metric in enumerate(metrics)}
        own = {name: ranking_metrics(scores, positive, metrics) for name, scores in predictors.items()}
        self.values = {name: figures.mean(axis=0) for name, figures in own.items()}
        users = len(positive)
        # One user drawn with replacement is always the same one: no interval can be had.
        self._draws = {name: np.full((draws, len(metrics)), np.nan) for name in own}
        random = np.random.default_rng(seed)
        for number in range(draws if users > 1 else 0):
            weights = np.bincount(random.integers(0, users, users), minlength=users) / users
            for name, figures in own.items():
                self._draws[name][number] = weights @ figures

    def interval(self, name: str, metric: str) -> Interval:
        """Return a predictor's metric."""
        place = self._places[metric]
        return Interval.of(self.values[name][place], self._draws[name][:, place])

    def difference(self, name: str, other: str, metric: str) -> Interval:
        """Return how much more of a metric the first of two predictors has, over the same draws."""
        place = self._places[metric]
        return Interval.of(
            self.values[name][place] - self.values[other][place],
            self._draws[name][:, place] - self._draws[other][:, place],
        )
