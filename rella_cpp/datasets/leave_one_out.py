"""Leave one out: each user's last interaction is tested, the one before it validates, what stands before trains."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet, split_number
from rella_cpp.datasets.layout import SPLITS

_FEWEST = 5
"""Interactions of a user who is tested, as papers on sequential recommendation keep them (5-core)."""


class Targets(NamedTuple):
    """One interaction of each of n users, by number ascending, which is to be found; int64 of shape (n,) each.

    `position` is its index into the user's interactions: the history is what stands before it. `item` is its number.
    """

    user: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]


class LeaveOneOut:
    """The next item of each user, by split; whatever split the data set was prepared with.

    Parameters
    ----------
    data
        The data set.

    Attributes
    ----------
    users
        Numbers of the users with five interactions or more, int64 of shape (n,), ascending. What others did trains.
    who
        Who these users are, in words.
    split_by
        How the split came about, in words.

    """

    who = f"with {_FEWEST} interactions or more"
    split_by = "leave one out"

    def __init__(self, data: DataSet) -> None:
        self._starts, self._items = data.interactions.starts, data.interactions.item
        self._lengths = np.diff(self._starts)
        self.users: npt.NDArray[np.int64] = np.flatnonzero(self._lengths >= _FEWEST).astype(np.int64)

    def positions(self, split: str) -> npt.NDArray[np.int64]:
        """Return each user's target as an index into their interactions: the history is what stands before it.

        `test`: the last one; `valid`: the one before; `train`: the one before that. int64 of shape (n,).

        Raises
        ------
        InputError
            There is no such split.

        """
        back = len(SPLITS) - split_number(split)
        return self._lengths[self.users] - back

    def targets(self, split: str) -> Targets:
        """Return each user's target; see `positions`."""
        positions = self.positions(split)
        return Targets(self.users, positions, self._items[self._starts[self.users] + positions].astype(np.int64))

    def trains(self) -> npt.NDArray[np.bool_]:
        """Tell which interactions train: all but the last two of each of the users; bool of shape (interactions,)."""
        found = np.ones(int(self._starts[-1]), np.bool_)
        ends = self._starts[self.users + 1]
        found[ends - 1] = found[ends - 2] = False
        return found
