"""How often items are touched in training: the popularity that ranks them."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet


class TrainingCounts:
    """How often each item was touched where interactions train; a user's own do not count for themselves.

    Parameters
    ----------
    data
        The data set.
    trains
        Which interactions train, bool of shape (interactions,).

    """

    def __init__(self, data: "DataSet", trains: npt.NDArray[np.bool_]) -> None:
        self._known, self._trains = data.interactions, trains
        self._counts = np.bincount(self._known.item[trains], minlength=data.items.num_rows)

    def of(self, user: int, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the counts of a user's candidates, float64 of shape (len(items),)."""
        rows = slice(self._known.starts[user], self._known.starts[user + 1])
        own = self._known.item[rows][self._trains[rows]]
        counts: npt.NDArray[np.float64] = self._counts[items].astype(np.float64)
        counts -= (items[:, None] == own[None, :]).sum(axis=1)
        return counts
