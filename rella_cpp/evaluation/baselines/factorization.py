"""Two baselines of ratings alone: offsets of items and users, and a matrix factorization on top of them."""

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet, as_written
from rella_cpp.datasets.sampling import users_of
from rella_cpp.evaluation.baselines.statistics import RatingStatistics
from rella_cpp.metrics.probabilities import Floats
from rella_cpp.scoring.logistic import Logistic
from rella_cpp.scoring.ratings.factors import ItemFactors
from rella_cpp.storage.progress import Progress, no_progress

Ints = npt.NDArray[np.integer]

_FACTORS = 16
_PENALTY = 10.0  # of vectors
_LEAST = 5  # ratings of a user or an item that gets a vector: of fewer it would be next to zero
_DIGITS = 5  # after the point, of what is kept
_ITEM_SHRINKAGE, _USER_SHRINKAGE = 10.0, 5.0  # ratings of no offset
_ROUNDS = 8  # of alternating least squares
_HELD_OUT = 0.1  # of the training users: on them an estimate becomes a probability
_LINKED = 50_000  # samples that a link is fitted on at most


class Factorization:
    """Offsets and factors, fitted on the training split.

    Parameters
    ----------
    factors
        Of the items, fitted on all training ratings.
    links
        Make probabilities of the two estimates.

    """

    def __init__(self, data: DataSet, factors: ItemFactors, links: tuple[Logistic, Logistic]) -> None:
        self._data, self._ratings = data, as_written(data.interactions.ratings())
        self.factors, self.links = factors, links

    @classmethod
    def fit(cls, data: DataSet, statistics: RatingStatistics, *, progress: Progress = no_progress) -> Self | None:
        """Fit; None where there are too few users to make probabilities from.

        A user's side comes from the history alone, so a sample of a user whom the factors have not seen is read as any
        later one will be: the links are fitted on a tenth of the training users, with factors of the others.
        """
        interactions, samples = data.interactions, data.samples
        user = users_of(interactions)
        train = samples.rows("train")
        known = np.unique(samples.user[train])
        held_out = np.sort(np.random.default_rng(0).permutation(known)[: int(_HELD_OUT * len(known))])
        rows = train[np.isin(samples.user[train], held_out)]
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:_LINKED])
        if len(np.unique(samples.label[rows])) < 2:
            return None
        ratings = as_written(interactions.ratings())

        def fitted(which: npt.NDArray[np.bool_], task: str) -> ItemFactors:
            of = (user[which], interactions.item[which], ratings[which])
            return fit_factors(*of, data.items.num_rows, progress=lambda done: progress(task, done, _ROUNDS))

        others = fitted(statistics.training & ~np.isin(user, held_out), "factorizing, to fit the link")
        estimates = cls(data, others, _NO_LINKS).estimates(rows)
        links = [Logistic.fit(estimates[:, [column]], samples.label[rows]) for column in (0, 1)]
        return cls(data, fitted(statistics.training, "factorizing"), (links[0], links[1]))

    def estimates(self, rows: npt.NDArray[np.int64], progress: Progress = no_progress) -> Floats:
        """Return the expected ratings of samples, by row number: float64 of shape (n, 2), by offsets, by factors."""
        samples, interactions = self._data.samples, self._data.interactions
        found = np.empty((len(rows), 2))
        for place, row in enumerate(rows.tolist()):
            start, target = int(interactions.starts[samples.user[row]]), int(samples.item[row])
            items = interactions.item[start : start + int(samples.position[row])]
            ratings = self._ratings[start : start + len(items)]
            counted = ~np.isnan(ratings) & (items != target)
            found[place] = self.factors.estimate(items[counted], ratings[counted], target)
            if place % 1000 == 999:
                progress("computing the factors' estimates", place + 1, len(rows))
        return found

    def of(self, rows: npt.NDArray[np.int64], *, progress: Progress = no_progress) -> dict[str, Floats]:
        """Return the probabilities of samples, by name, float64 of shape (n,)."""
        estimates = self.estimates(rows, progress)
        return {
            name: link(estimates[:, [column]])
            for column, (name, link) in enumerate(zip(("bias", "factors"), self.links, strict=True))
        }


_NO_LINKS = (Logistic(np.ones(1), 0.0), Logistic(np.ones(1), 0.0))


def fit_factors(
    users: Ints, items: Ints, ratings: Floats, count: int, *, progress: Callable[[int], None] = lambda done: None
) -> ItemFactors:
    """Factorize ratings of `count` items by alternating least squares; the offsets are fitted before the vectors.

    Parameters
    ----------
    users, items, ratings
        Of each rating the user's and the item's number, and its value, float64; all of shape (n,).
    progress
        Told how many rounds are done.

    """
    mean = float(ratings.mean()) if len(ratings) else 0.0
    above = ratings - mean
    offsets = np.bincount(items, above, count) / (np.bincount(items, minlength=count) + _ITEM_SHRINKAGE)
    above = above - offsets[items]
    own = np.bincount(users, above) / (np.bincount(users) + _USER_SHRINKAGE)
    left = above - own[users]
    enough = (np.bincount(users)[users] >= _LEAST) & (np.bincount(items, minlength=count)[items] >= _LEAST)
    users, items, left = users[enough], items[enough], left[enough]
    by_user, by_item = _Grouped.of(users, items, left), _Grouped.of(items, users, left)
    vectors = np.random.default_rng(0).normal(0, 0.1, (count, _FACTORS))
    for done in range(_ROUNDS):
        vectors = by_item.solved(by_user.solved(vectors, len(own)), count)
        progress(done + 1)
    return ItemFactors(mean, offsets.round(_DIGITS), vectors.round(_DIGITS), _USER_SHRINKAGE, _PENALTY)


class _Grouped(NamedTuple):
    """Ratings grouped by their users, or by their items: `others` are the items, or the users."""

    keys: Ints
    starts: Ints
    others: Ints
    left: Floats

    @classmethod
    def of(cls, keys: Ints, others: Ints, left: Floats) -> Self:
        order = np.argsort(keys, kind="stable")
        found, starts = np.unique(keys[order], return_index=True)
        return cls(found, np.append(starts, len(keys)), others[order], left[order])

    def solved(self, vectors: Floats, count: int) -> Floats:
        """Return the vectors of `count` keys that fit best (ridge regression) where the others' are given."""
        result, ridge = np.zeros((count, vectors.shape[1])), _PENALTY * np.eye(vectors.shape[1])
        for key, start, end in zip(self.keys, self.starts, self.starts[1:], strict=False):
            known = vectors[self.others[start:end]]
            result[key] = np.linalg.solve(known.T @ known + ridge, known.T @ self.left[start:end])
        return result
