"""Plain baselines: what a model has to beat. Fitted on the training split, computed for the same samples."""

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet, as_written
from rella_cpp.evaluation.baselines.boosting import fit_trees
from rella_cpp.evaluation.baselines.factorization import Factorization
from rella_cpp.evaluation.baselines.statistics import RatingStatistics
from rella_cpp.metrics.probabilities import Floats
from rella_cpp.retrieval.samples import Histories
from rella_cpp.scoring.logistic import Logistic
from rella_cpp.scoring.ratings.models import FittedFactors, RatingModels
from rella_cpp.scoring.ratings.trees import BoostedTrees
from rella_cpp.storage.progress import Progress, no_progress

_ROWS = 1_000_000  # training samples that the regressions are fitted on at most
_SIMILAR = 10_000  # those for the similarity baseline: each needs a retrieval


class Baselines:
    """The baselines of a data set.

    `base_rate` (the share of positives in training), and, where the data has ratings: `last_5` and `last_K` (means of
    the user's last ratings), `item_mean`, `similarity` (mean over the K retrieved behaviors, weighted by cosine; with
    an index only), `logistic` (logistic regression on six statistics), `boosting` (gradient-boosted trees on them),
    `bias` (offsets of items and of the user) and `factors` (a matrix factorization). All but `boosting` become
    probabilities by a logistic regression fitted on the training split.

    Parameters
    ----------
    data
        The data set.
    histories
        Finds behaviors near a target.
    ks
        The values of K.
    known
        What was fitted on the same data before, where a run goes on.

    Attributes
    ----------
    statistics
        The six statistics; None without ratings.
    trees, factorization
        What is fitted on ratings alone; None without ratings, or where there are too few.

    """

    def __init__(
        self,
        data: DataSet,
        histories: Histories,
        ks: tuple[int, ...],
        *,
        known: RatingModels | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self._data, self._histories, self._ks, self._known = data, histories, ks, known
        self.statistics: RatingStatistics | None = None
        self.trees: BoostedTrees | None = None
        self.factorization: Factorization | None = None
        samples = data.samples
        train = samples.rows("train")
        if len(train) and data.interactions.rating is not None:
            self.statistics = RatingStatistics(data)
        self._rate = float(samples.label[train].mean()) if len(train) else float("nan")
        self._train = _some(train, _ROWS)
        self._fits: dict[str, Logistic] = {}
        if self.statistics is None:
            return
        if self._rate in (0.0, 1.0):
            self.statistics = None
            return
        labels = samples.label[self._train]
        numbers = self._numbers(self._train)
        for name, features in numbers.items():
            self._fits[name] = Logistic.fit(features, labels)
        if known is None:
            progress("fitting the trees", 0, 1)
            self.trees = fit_trees(numbers["logistic"], labels)
            self.factorization = Factorization.fit(data, self.statistics, progress=progress)
        else:
            self.trees = known.trees
            self.factorization = None if known.factors is None else Factorization(data, *known.factors)
        if histories.vectors is None:
            return
        rows = _some(train, _SIMILAR)
        for k in ks:
            self._fits[f"similarity@{k}"] = Logistic.fit(self._similarity(rows, k, progress), samples.label[rows])

    def of(
        self, rows: npt.NDArray[np.int64], *, progress: Progress = no_progress
    ) -> tuple[dict[int, dict[str, Floats]], Floats | None]:
        """Return samples' baselines by K and name, float64 of shape (n,), and their statistics, (n, 6)."""
        base = {"base_rate": np.full(len(rows), self._rate)} if not np.isnan(self._rate) else {}
        if self.statistics is None:
            return {k: dict(base) for k in self._ks}, None
        numbers, fitted = self._numbers(rows), dict[str, Floats]()
        plain, six = {name: self._fits[name](features) for name, features in numbers.items()}, numbers["logistic"]
        if self.trees is not None:
            fitted["boosting"] = 1 / (1 + np.exp(-self.trees(six)))
        if self.factorization is not None:
            fitted |= self.factorization.of(rows, progress=progress)
        result = {}
        for k in self._ks:
            last = ["last_5"] if k == 5 else ["last_5", f"last_{k}"]
            found = {**base, **{name: plain[name] for name in (*last, "item_mean")}}
            if (fit := self._fits.get(f"similarity@{k}")) is not None:
                found["similarity"] = fit(self._similarity(rows, k, progress))
            result[k] = {**found, "logistic": plain["logistic"], **fitted}
        return result, six

    def models(self) -> RatingModels | None:
        """Return what was fitted on ratings, by item, for a blend; None without ratings."""
        if self._known is not None or self.statistics is None:
            return self._known
        data, domain = self._data, self._histories.domain
        rows = range(data.items.num_rows)
        means, counts = self.statistics.popularity.smoothed(np.arange(len(rows)))
        fitted = self.factorization
        return RatingModels(
            self.statistics.popularity.mean,
            [data.item_id(row) for row in rows],
            [domain.name_item(data.item(row)) for row in rows],
            means,
            counts,
            self.trees,
            None if fitted is None else FittedFactors(fitted.factors, fitted.links),
        )

    def _numbers(self, rows: npt.NDArray[np.int64]) -> dict[str, Floats]:
        """Return the features of each regression, float64 of shape (n, features)."""
        assert self.statistics is not None
        six = self.statistics.of(rows)
        last = {f"last_{k}": self.statistics.last(rows, k)[:, None] for k in {5, *self._ks}}
        return {**last, "item_mean": six[:, 4:5], "logistic": six}

    def _similarity(self, rows: npt.NDArray[np.int64], k: int, progress: Progress) -> Floats:
        """Return the cosine-weighted mean rating of the K behaviors nearest to each target, of shape (n, 1)."""
        assert self.statistics is not None
        ratings = self._data.interactions.rating
        assert ratings is not None
        result = np.full((len(rows), 1), self.statistics.popularity.mean)
        for place, row in enumerate(rows):
            positions, cosines = self._histories.nearest(int(row), k)
            found = as_written(ratings[self._histories.start(int(row)) + positions])
            weights = np.maximum(cosines, 0) * ~np.isnan(found)
            if weights.sum() > 0:
                result[place] = (weights * np.nan_to_num(found)).sum() / weights.sum()
            if place % 1000 == 999:
                progress("retrieving for the similarity baseline", place + 1, len(rows))
        return result


def _some(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Draw at most `count` rows, always the same ones, in ascending order."""
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, count, replace=False))
