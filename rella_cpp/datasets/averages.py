"""Items' mean ratings as they were known: no rating in them is the interaction's own, or later, or of a test.

For a rating of the training split they are over the training ratings of its item strictly before it; for one of another
split over all training ratings of its item. They are smoothed: `SMOOTHING` ratings of the mean of all items are added.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet, Interactions, Samples
from rella_cpp.datasets.layout import SPLITS
from rella_cpp.datasets.sampling import BY_USERS, users_of
from rella_cpp.domains.records import Item

SMOOTHING = 5
_UNIT = 1_000_000
"""Sums are exact, in whole points and millionths apart, so that no bit of one depends on other ratings than its own.

In millionths alone, those of a scale to 1e9 would leave 64 bits after 9,000 ratings.
"""


def training_rows(interactions: Interactions, samples: Samples, *, by_users: bool) -> npt.NDArray[np.bool_]:
    """Mark the interactions of the training split, bool of shape (interactions,).

    These are its samples; and of interactions that are no samples those before every sample of another split, or, of
    data that is split by users, those of users without such a sample. A user without any sample (whose history is
    too short, say) trains likewise: nothing of them is ever asked for, so that nothing of a test is in them.

    Raises
    ------
    ValueError
        The interactions have no times, and are not split by users.

    """
    split = np.full(len(interactions.item), -1, np.int8)
    split[interactions.starts[samples.user] + samples.position] = samples.split
    train, left = SPLITS.index("train"), split < 0
    held_out = ~left & (split != train)
    trains: npt.NDArray[np.bool_] = split == train
    if by_users:
        user = users_of(interactions)
        tested = np.zeros(len(interactions.starts) - 1, np.bool_)
        tested[user[held_out]] = True
        return trains | (left & ~tested[user])
    if interactions.timestamp is None:
        raise ValueError("interactions without times are not split by time")
    if not held_out.any():
        return np.ones(len(split), np.bool_)
    boundary = interactions.timestamp[held_out].min()
    before: npt.NDArray[np.bool_] = interactions.timestamp < boundary
    return trains | (left & before)


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Running sums and counts of ratings that are sorted by a key: of those before a key.

    `points` and `millionths` are whole numbers, int64 of shape (ratings + 1,).
    """

    keys: npt.NDArray[np.int64]
    points: npt.NDArray[np.int64]
    millionths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, keys: npt.NDArray[np.int64], ratings: npt.NDArray[np.float32]) -> "_Sums":
        order = np.argsort(keys, kind="stable")
        parts = _whole(ratings[order])
        return cls(keys[order], *(np.concatenate([[0], np.cumsum(part)]) for part in parts))

    def between(
        self, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return the sums, in millionths, and the counts of ratings from one key on to before another."""
        first, last = np.searchsorted(self.keys, low), np.searchsorted(self.keys, high)
        points, millionths = self.points[last] - self.points[first], self.millionths[last] - self.millionths[first]
        return _joined(points, millionths), last - first


def _whole(ratings: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return ratings as whole points and millionths above these, int64."""
    units = np.rint(ratings.astype(np.float64) * _UNIT).astype(np.int64)
    return units // _UNIT, units % _UNIT


def _joined(points: npt.NDArray[np.int64], millionths: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return sums in millionths: exact up to 2**53 of them, and correct to the last bits beyond."""
    sums: npt.NDArray[np.float64] = points.astype(np.float64) * _UNIT + millionths
    return sums


def running_averages(
    interactions: Interactions, training: npt.NDArray[np.bool_], middle: float
) -> npt.NDArray[np.float32]:
    """Return the mean rating of each interaction's item as it was known, float32 of shape (interactions,).

    For example, with the ratings 5, 3 and 4 of one item at the times 1, 1 and 2, all training, and none of other items:
    the first two see no rating, so they have `middle`; the third sees both, (5 + 3 + 5 · 4) / (2 + 5) = 4.

    Parameters
    ----------
    interactions
        With ratings and times; a missing rating (NaN) counts for nothing.
    training
        Which of them train; see `training_rows`.
    middle
        Stands for the mean of all ratings where there is none yet: the middle of the scale.

    Raises
    ------
    ValueError
        They have no ratings, or no times.

    """
    if interactions.timestamp is None:
        raise ValueError("the data set has no times")
    _, when = np.unique(interactions.timestamp, return_inverse=True)
    when, item = when.astype(np.int64), interactions.item.astype(np.int64)
    end = int(when.max()) + 1 if len(when) else 1
    known = training & ~np.isnan(interactions.ratings())
    ratings = interactions.ratings()[known]
    seen = np.where(training, when, end)  # what a row sees ends before this time
    every, everywhere = _Sums.of(when[known], ratings).between(np.zeros_like(seen), seen)
    own, count = _Sums.of(item[known] * (end + 1) + when[known], ratings).between(
        item * (end + 1), item * (end + 1) + seen
    )
    return _smoothed(own, count, every, everywhere, middle)


def final_averages(
    interactions: Interactions, training: npt.NDArray[np.bool_], items: int, middle: float
) -> npt.NDArray[np.float32]:
    """Return each item's mean over all training ratings, smoothed likewise: float32 of shape (items,)."""
    known = training & ~np.isnan(interactions.ratings())
    points, millionths = np.zeros(items, np.int64), np.zeros(items, np.int64)
    for sums, part in zip((points, millionths), _whole(interactions.ratings()[known]), strict=True):
        np.add.at(sums, interactions.item[known], part)
    own, count = _joined(points, millionths), np.bincount(interactions.item[known], minlength=items)
    every = _joined(points.sum(keepdims=True), millionths.sum(keepdims=True))
    return _smoothed(own, count, every, count.sum(keepdims=True), middle)


def within(low: float, high: float) -> tuple[np.float32, np.float32]:
    """Return the ends of a scale as float32 that do not lie outside it: as float32, 999999999 is more."""
    least, most = np.float32(low), np.float32(high)
    least = np.nextafter(least, np.float32(np.inf)) if float(least) < low else least
    most = np.nextafter(most, np.float32(-np.inf)) if float(most) > high else most
    return least, most


def item_averages(data: DataSet, training: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32] | None:
    """Return the `final_averages` of a data set's items over some interactions; None where it has no averages."""
    if data.interactions.average is None:
        return None
    middle = float(data.manifest["rules"]["averages"]["middle"])
    return final_averages(data.interactions, training, data.items.num_rows, middle)


def items_with_averages(data: DataSet) -> list[Item]:
    """Return a data set's items, each with the mean of its training ratings, `average`, where the data has such."""
    known = data.interactions
    if known.average is None:
        return data.all_items()
    training = training_rows(known, data.samples, by_users=data.manifest["rules"].get("split") == BY_USERS)
    averages = item_averages(data, training)
    return [data.candidate(row, averages) for row in range(data.items.num_rows)]


def _smoothed(
    own: npt.NDArray[np.float64],
    count: npt.NDArray[np.int64],
    every: npt.NDArray[np.float64],
    everywhere: npt.NDArray[np.int64],
    middle: float,
) -> npt.NDArray[np.float32]:
    mean = np.where(everywhere > 0, every / np.maximum(everywhere, 1), middle * _UNIT)
    averages: npt.NDArray[np.float64] = (own + SMOOTHING * mean) / (count + SMOOTHING) / _UNIT
    return averages.astype(np.float32)
