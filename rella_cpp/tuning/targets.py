"""Where rows of DELRec come from: targets by user and position, never the one that is tested."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.leave_one_out import LeaveOneOut

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet


@dataclass(frozen=True, slots=True)
class TargetPositions:
    """Targets, sorted by user and position: the history is what stands before one.

    Attributes
    ----------
    user, position
        Numbers of the users, and indices among their interactions; int64 of shape (n,).

    """

    user: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]

    @classmethod
    def to_train(cls, data: "DataSet", *, followed: bool) -> "TargetPositions":
        """Return the targets of the training split with something before them, of users who are tested.

        Parameters
        ----------
        followed
            Whether what comes next must train too, and be another item: a prompt shows it.

        """
        split = LeaveOneOut(data)
        counts = split.positions("train") - followed
        user = np.repeat(split.users, counts)
        position = np.arange(1, len(user) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(user, position)._checked(data, followed=followed)

    @classmethod
    def to_validate(cls, data: "DataSet", *, followed: bool) -> "TargetPositions":
        """Return the users' targets of the validation split; those before them, where that split's come next."""
        split = LeaveOneOut(data)
        return cls(split.users, split.positions("valid") - followed)._checked(data, followed=followed)

    def __len__(self) -> int:
        """Count them."""
        return len(self.user)

    def listed(self, user: npt.NDArray[np.int64], position: npt.NDArray[np.int64]) -> "TargetPositions":
        """Keep those that stand in a list of users and positions."""
        return self.kept(np.isin(self.user << 32 | self.position, user << 32 | position))

    def kept(self, which: npt.NDArray[np.bool_]) -> "TargetPositions":
        """Keep some."""
        return TargetPositions(self.user[which], self.position[which])

    def drawn(self, *seed: int) -> list[tuple[int, int]]:
        """Return users and positions in an order drawn."""
        order = np.random.default_rng(seed).permutation(len(self))
        return list(zip(self.user[order].tolist(), self.position[order].tolist(), strict=True))

    def _checked(self, data: "DataSet", *, followed: bool) -> "TargetPositions":
        """Leave out targets that are followed by themselves: the prompt would show the answer."""
        if not followed:
            return self
        known = data.interactions
        rows = known.starts[self.user] + self.position
        return self.kept(known.item[rows] != known.item[rows + 1])
