"""Users by the last thing that they liked, which is to be found: LLM-TRSR's protocol (arXiv 2403.13325 §4)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet, split_number
from rella_cpp.datasets.leave_one_out import Targets
from rella_cpp.datasets.sampling import BY_USERS, assign, shuffle, users_of

SHARES = (10, 1, 1)
"""Users that train, validate and test, where the data is not split by users."""


_SPLIT_SEED = 0  # never the request's: who is drawn does not change who is a test user


@dataclass(frozen=True, slots=True)
class LastLiked:
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

    data: DataSet
    user: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    split: npt.NDArray[np.uint8]
    as_prepared: bool

    @classmethod
    def of(cls, data: DataSet) -> "LastLiked":
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
