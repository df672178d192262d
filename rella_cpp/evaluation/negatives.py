"""Users to rank for, and their candidates: one item that each liked among items that they never touched."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import split_number
from rella_cpp.datasets.sampling import BY_USERS, assign, shuffle, users_of
from rella_cpp.errors import InputError

if TYPE_CHECKING:
    from rella_cpp.datasets import DataSet

SHARES = (10, 1, 1)
"""Users that train, validate and test, where the data is not split by users."""

_SPLIT_SEED = 0  # never the request's: who is a test user does not hang on who is drawn
_USERS, _CANDIDATES = 2, 3  # purposes of random numbers, apart from those of `datasets.sampling`


@dataclass(frozen=True, slots=True)
class RankingUsers:
    """The users who liked something, ascending; every array has the shape (n,).

    Attributes
    ----------
    user
        Their numbers, int64.
    position
        Index of the last thing liked among the user's interactions, int64: the history is what stands before it.
    item
        Its number, int64.
    split
        Index into `SPLITS`, uint8.
    as_prepared
        Whether the split is the data set's own; else users were split again, 10:1:1, always alike.

    """

    user: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    split: npt.NDArray[np.uint8]
    as_prepared: bool

    @classmethod
    def of(cls, data: "DataSet") -> "RankingUsers":
        """Find the users of a data set, and split them again where its split is not one of users."""
        samples = data.samples
        liked = np.flatnonzero(samples.label == 1)
        # Samples stand by user and position: the last of a user's is where the next one's begin.
        last = liked[np.diff(samples.user[liked], append=-1) != 0]
        as_prepared = data.manifest.get("rules", {}).get("split") == BY_USERS
        return cls(
            samples.user[last].astype(np.int64),
            samples.position[last].astype(np.int64),
            samples.item[last].astype(np.int64),
            samples.split[last] if as_prepared else assign(shuffle(len(last), _SPLIT_SEED), SHARES),
            as_prepared,
        )

    @property
    def split_by(self) -> str:
        """Where the split comes from, in words."""
        return "users as prepared" if self.as_prepared else f"users {':'.join(map(str, SHARES))}, seed {_SPLIT_SEED}"

    def places(self, split: str) -> npt.NDArray[np.int64]:
        """Return the places of a split's users in the arrays, int64, ascending.

        Raises
        ------
        InputError
            There is no such split.

        """
        return np.flatnonzero(self.split == split_number(split)).astype(np.int64)


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
                remedy=f"ask for fewer --negatives ({len(pool):,} at most)" if len(pool) else "give more data",
            )
        drawn: npt.NDArray[np.int64] = pool[random.choice(len(pool), count, replace=False)]
        return drawn


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is ranked for each of n users: `negatives` items never touched and one liked, in an order drawn for each.

    Attributes
    ----------
    user, position
        The users' numbers, ascending, and where their history ends; int64 of shape (n,).
    items
        The candidates' numbers, int64 of shape (n, negatives + 1).
    positive
        Which of them was liked, int64 of shape (n,).

    """

    user: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    positive: npt.NDArray[np.int64]

    @property
    def width(self) -> int:
        """How many candidates each user has."""
        return int(self.items.shape[1])

    def sample(self, place: int, column: int) -> int:
        """Return a candidate's number, which does not hang on who else is drawn."""
        return int(self.user[place]) * self.width + column

    @classmethod
    def draw(
        cls, data: "DataSet", users: RankingUsers, split: str, limit: int | None, seed: int, negatives: int
    ) -> "Candidates":
        """Draw users of a split, and for each of them negatives, uniformly without replacement.

        The first hundred users of a greater limit are those of the smaller. A user's negatives (see `Negatives`)
        depend on the seed and the user alone.

        Raises
        ------
        InputError
            The split has no users, or one of those drawn touched too many items to leave enough negatives.

        """
        places = users.places(split)
        if not len(places):
            raise InputError(
                f"has no users in the split {split} who liked anything",
                source=data.folder,
                remedy="name another --split",
            )
        order = np.random.default_rng([seed, _USERS]).permutation(len(places))
        places = np.sort(places[order[:limit]])
        untouched = Negatives(data)
        items = np.empty((len(places), negatives + 1), np.int64)
        positive = np.empty(len(places), np.int64)
        for row, place in enumerate(places.tolist()):
            user = int(users.user[place])
            random = np.random.default_rng([seed, _CANDIDATES, user])
            drawn = untouched.draw(user, negatives, random)
            positive[row] = random.integers(negatives + 1)
            items[row] = np.insert(drawn, positive[row], users.item[place])
        return cls(users.user[places], users.position[places], items, positive)


class TrainingCounts:
    """How often the training users touched each item; a training user's own history does not count for them."""

    def __init__(self, data: "DataSet", users: RankingUsers) -> None:
        self._known = data.interactions
        # Of a split by users as prepared, those who liked nothing train too: the data set knows them.
        samples = data.samples
        prepared = samples.user[samples.rows("train")] if users.as_prepared else users.user[users.places("train")]
        self._training = np.zeros(len(self._known.starts) - 1, np.bool_)
        self._training[prepared] = True
        counted = self._training[users_of(self._known)]
        self._counts = np.bincount(self._known.item[counted], minlength=data.items.num_rows)

    def of(self, user: int, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the counts of a user's candidates, float64 of shape (len(items),)."""
        counts = self._counts[items].astype(np.float64)
        if self._training[user]:
            own = self._known.item[self._known.starts[user] : self._known.starts[user + 1]]
            counts -= (items[:, None] == own[None, :]).sum(axis=1)
        return counts
