"""Users to rank for, and their candidates: one item that each liked among items that they never touched."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.leave_one_out import Targets
from rella_cpp.errors import InputError

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet

MOST = 1000
"""Candidates that there can be for a user."""


_USERS, _CANDIDATES = 2, 3  # purposes of random numbers, apart from those of `datasets.sampling`


class HeldOut(Protocol):
    """Users by split, each with one interaction to be found: `LastLiked`, or `LeaveOneOut`."""

    @property
    def who(self) -> str:
        """Who these users are, in words."""

    @property
    def split_by(self) -> str:
        """How the split came about, in words."""

    def targets(self, split: str) -> Targets:
        """Return what is to be found of a split's users."""

    def trains(self) -> npt.NDArray[np.bool_]:
        """Tell which interactions train; bool of shape (interactions,)."""


class Negatives:
    """Draws items that somebody touched, and a user never did: neither earlier nor later, whatever the rating."""

    def __init__(self, data: "DataSet") -> None:
        self._data = data
        self._touched = np.zeros(data.items.num_rows, np.bool_)
        self._touched[data.interactions.item] = True

    def draw(self, user: int, count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw items for a user, uniformly without replacement: their numbers, int64 of shape (count,).

        Raises
        ------
        InputError
            The user touched too many.

        """
        known, others = self._data.interactions, self._touched.copy()
        others[known.item[known.starts[user] : known.starts[user + 1]]] = False
        pool = np.flatnonzero(others)
        if len(pool) < count:
            raise InputError(
                f"user {self._data.user_id(user)} leaves {len(pool):,} items untouched, {count:,} are wanted",
                source=self._data.folder,
                remedy=f"ask for fewer beside the target ({len(pool):,} at most)" if len(pool) else "give more data",
            )
        drawn: npt.NDArray[np.int64] = pool[random.choice(len(pool), count, replace=False)]
        return drawn


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is ranked for each of n users: `negatives` items never touched and one target, in an order drawn for each.

    Attributes
    ----------
    user, position
        The users' numbers, ascending, and where their history ends; int64 of shape (n,).
    items
        The candidates' numbers, int64 of shape (n, negatives + 1).
    positive
        Which of them is the target, int64 of shape (n,).

    """

    user: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    positive: npt.NDArray[np.int64]

    @property
    def width(self) -> int:
        """How many candidates each user has."""
        return int(self.items.shape[1])

    def tied(self, data: "DataSet") -> int:
        """Count the users whose target has the time of the interaction before it: which came first is not known."""
        known = data.interactions
        if known.timestamp is None:
            return 0
        rows = known.starts[self.user] + self.position
        return int(((self.position > 0) & (known.timestamp[rows] == known.timestamp[rows - 1])).sum())

    def sample(self, place: int, column: int) -> int:
        """Return a candidate's number, which does not depend on who else is drawn."""
        return int(self.user[place]) * self.width + column

    @classmethod
    def draw(
        cls, data: "DataSet", users: HeldOut, split: str, limit: int | None, seed: int, negatives: int
    ) -> "Candidates":
        """Draw users of a split, and for each of them negatives, uniformly without replacement.

        The first hundred users of a greater limit are those of the smaller. A user's negatives (see `Negatives`)
        depend on the seed and the user alone.

        Raises
        ------
        InputError
            The split has no users, or one of those drawn touched too many items to leave enough negatives.

        """
        targets = users.targets(split)
        if not len(targets.user):
            raise InputError(
                f"has no users in the split {split} {users.who}",
                source=data.folder,
                remedy="name another --split",
            )
        order = np.random.default_rng([seed, _USERS]).permutation(len(targets.user))
        places = np.sort(order[:limit])
        untouched = Negatives(data)
        items = np.empty((len(places), negatives + 1), np.int64)
        positive = np.empty(len(places), np.int64)
        for row, place in enumerate(places.tolist()):
            user = int(targets.user[place])
            random = np.random.default_rng([seed, _CANDIDATES, user])
            drawn = untouched.draw(user, negatives, random)
            positive[row] = random.integers(negatives + 1)
            items[row] = np.insert(drawn, positive[row], targets.item[place])
        return cls(targets.user[places], targets.position[places], items, positive)
