"""Users to rank for, and their candidates: one item that each liked among items that they never touched."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import split_number
from rella_cpp.datasets.leave_one_out import Targets
from rella_cpp.datasets.sampling import BY_USERS, assign, shuffle, users_of
from rella_cpp.errors import InputError

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet

MOST = 1000
"""Candidates that there can be for a user."""

SHARES = (10, 1, 1)
"""Users that train, validate and test, where the data is not split by users."""

_SPLIT_SEED = 0  # never the request's: who is a test user does not hang on who is drawn
_USERS, _CANDIDATES = 2, 3  # purposes of random numbers, apart from those of `datasets.sampling`


class HeldOut(Protocol):
    """Users by split, each with one interaction to be found: `RankingUsers`, or `LeaveOneOut`."""

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


@dataclass(frozen=True, slots=True)
class RankingUsers:
    """The users who liked something, ascending; every array has the shape (n,).

    Attributes
    ----------
    data
        The data set.
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

    data: "DataSet"
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
            data,
            samples.user[last].astype(np.int64),
            samples.position[last].astype(np.int64),
            samples.item[last].astype(np.int64),
            samples.split[last] if as_prepared else assign(shuffle(len(last), _SPLIT_SEED), SHARES),
            as_prepared,
        )

    @property
    def who(self) -> str:
        """Who these users are, in words."""
        return "who liked anything"

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

    def targets(self, split: str) -> Targets:
        """Return the last thing that each of a split's users liked; see `places`."""
        places = self.places(split)
        return Targets(self.user[places], self.position[places], self.item[places])

    def trains(self) -> npt.NDArray[np.bool_]:
        """Tell which interactions are of users who train; bool of shape (interactions,)."""
        known, samples = self.data.interactions, self.data.samples
        # Of a split by users as prepared, those who liked nothing train too: the data set knows them.
        train = samples.user[samples.rows("train")] if self.as_prepared else self.user[self.places("train")]
        training = np.zeros(len(known.starts) - 1, np.bool_)
        training[train] = True
        return training[users_of(known)]


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
        """Return a candidate's number, which does not hang on who else is drawn."""
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
