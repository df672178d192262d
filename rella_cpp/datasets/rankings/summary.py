"""What is in a folder of rankings, and how well they foresee the test targets of leave-one-out."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from rella_cpp.datasets.leave_one_out import LeaveOneOut
from rella_cpp.datasets.rankings.lists import Rankings

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet

_NEAR = 10


@dataclass(frozen=True, slots=True)
class RankingsSummary:
    """What is in a folder of rankings.

    Attributes
    ----------
    name, data
        The recommender's name and the data set's.
    lists, users, shortest, longest
        How many lists there are, of how many users, and the fewest and most items of a list.
    test, valid
        Share of the leave-one-out targets of the split that have a list; None where the data has no targets.
    first, near
        Share of the test targets with a list that stand first in it, or among its first ten (HR@1, HR@10); None where
        none has a list. Little more than what chance gives means that positions are wrong: off by one, say.

    """

    name: str
    data: str
    lists: int
    users: int
    shortest: int
    longest: int
    test: float | None
    valid: float | None
    first: float | None
    near: float | None

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object."""
        return asdict(self)


def summarize_rankings(rankings: Rankings, data: "DataSet") -> RankingsSummary:
    """Sum rankings up.

    Raises
    ------
    InputError
        They were made for another data set.

    """
    rankings.check(data)
    left, known = LeaveOneOut(data), data.interactions
    listed = {split: rankings.holds(left.users, left.positions(split)) for split in ("test", "valid")}
    users, positions = (values[listed["test"]] for values in (left.users, left.positions("test")))
    ranks = []
    for user, position in zip(users.tolist(), positions.tolist(), strict=True):
        found = rankings.find(user, position)
        assert found is not None
        at = np.flatnonzero(found.items == known.item[known.starts[user] + position])
        ranks.append(int(at[0]) if len(at) else len(found.items) + _NEAR)
    shares = {split: float(there.mean()) if len(there) else None for split, there in listed.items()}
    within = [float(np.mean(np.array(ranks) < depth)) if ranks else None for depth in (1, _NEAR)]
    shortest, longest = rankings.depth
    owners = int(rankings.manifest["counts"]["users"])
    return RankingsSummary(
        rankings.name, data.name, len(rankings), owners, shortest, longest, shares["test"], shares["valid"], *within
    )
