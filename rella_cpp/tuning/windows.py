"""Which rated behaviors make training sequences: windows as prompts show them, of the training split alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.averages import training_rows
from rella_cpp.datasets.dataset import as_written
from rella_cpp.datasets.sampling import BY_USERS, users_of
from rella_cpp.prompts.streams.text import Unshown

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet

FEWEST = 2
"""Lines of a training sequence: one alone has no history."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingWindows:
    """The behaviors that sequences are cut from: a user's rated ones, up to the first that does not train.

    Attributes
    ----------
    rows
        Their rows among all interactions, ascending: by user and time; int64 of shape (n,).
    starts
        User u's are `rows[starts[u] : starts[u + 1]]`; int64 of shape (users + 1,).
    sums
        Sums of their ratings before each, over all users; float64 of shape (n + 1,).
    unrated
        How many behaviors of the training split have no rating.

    """

    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]
    unrated: int

    @classmethod
    def of(cls, data: "DataSet") -> Self:
        """Find them."""
        known = data.interactions
        trains = training_rows(known, data.samples, by_users=data.manifest["rules"].get("split") == BY_USERS)
        rated, user = ~np.isnan(known.ratings()), users_of(known)
        others = np.concatenate([[0], np.cumsum(rated & ~trains)])
        kept = rated & (others[1:] == others[known.starts[user]])
        counts = np.bincount(user[kept], minlength=len(known.starts) - 1)
        rows = np.flatnonzero(kept).astype(np.int64)
        return cls(
            rows,
            np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
            np.concatenate([[0.0], np.cumsum(as_written(known.ratings()[rows]))]),
            int((trains & ~rated).sum()),
        )

    def drawn(self, k: int, offset: int, seed: tuple[int, int]) -> npt.NDArray[np.int64]:
        """Draw the order of the windows of up to 2K lines that begin at `offset` and every 2K behaviors from there.

        Returns each one's user and how many of the user's behaviors stand before it: int64 of shape (windows, 2).
        """
        counts = np.maximum(0, (np.diff(self.starts) - offset - FEWEST) // (2 * k) + 1)
        users = np.repeat(np.arange(len(counts)), counts)
        numbers = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
        windows = np.stack([users, offset + numbers * 2 * k], axis=1).astype(np.int64)
        return windows[np.random.default_rng(seed).permutation(len(windows))]

    def alone(self, k: int) -> int:
        """Count the behaviors that no window of `drawn` has: those that would be its only line."""
        rest = np.diff(self.starts) % (2 * k)
        return int(rest[rest < FEWEST].sum())

    def lines(self, user: int, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the rows of up to `count` behaviors of a user, from one on."""
        start = int(self.starts[user]) + first
        return self.rows[start : min(start + count, int(self.starts[user + 1]))]

    def before(self, user: int, first: int) -> Unshown:
        """Return what of a user's behaviors stands before one."""
        start = int(self.starts[user])
        return Unshown(first, float(self.sums[start + first] - self.sums[start]))
