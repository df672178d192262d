"""What ranks a user's candidates beside the model: popularity, similarity, and another recommender's lists."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.negatives import Candidates
from rella_cpp.errors import InputError
from rella_cpp.evaluation.baselines.popularity import TrainingCounts
from rella_cpp.evaluation.runs import SEQUENTIAL
from rella_cpp.retrieval.samples import Histories

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet


class SequentialRanking(Protocol):
    """What another recommender expects next; `Ranking` is one."""

    def scores_of(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the scores of items, finite; greater is better."""


class SequentialRankings(Protocol):
    """Another recommender's lists; `Rankings` is one."""

    @property
    def folder(self) -> Path:
        """Where they lie."""

    @property
    def fingerprint(self) -> str:
        """What tells them from others."""

    @property
    def name(self) -> str:
        """The recommender's name; may be empty."""

    def check(self, data: "DataSet") -> None:
        """Refuse a data set that they were not made for."""

    def holds(self, users: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell which of some users' positions have a list."""

    def find(self, user: int, position: int) -> SequentialRanking | None:
        """Return the list for a user's position; None where there is none."""


def check_ranking(ranking: SequentialRankings, data: "DataSet", drawn: Candidates) -> None:
    """Refuse lists that were made for other data, or lack one of the users drawn.

    Raises
    ------
    InputError
        They are, or do.

    """
    ranking.check(data)
    missing = np.flatnonzero(~ranking.holds(drawn.user, drawn.position))
    if len(missing):
        user, position = int(drawn.user[missing[0]]), int(drawn.position[missing[0]])
        raise InputError(
            f"has no list for {len(missing):,} of the {len(drawn.user):,} users (the first: user "
            f"{data.user_id(user)}, whose history is {position} behaviors long)",
            source=ranking.folder,
            remedy="import lists for these users' last items, or leave out --ranking",
        )


@dataclass(frozen=True, slots=True)
class Rankers:
    """What ranks candidates beside the model."""

    counts: TrainingCounts
    histories: Histories
    ranking: SequentialRankings | None = None

    def of(self, user: int, position: int, items: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float64]]:
        """Return the scores of a user's candidates by baseline, float64 of shape (len(items),) each."""
        found = {"popularity": self.counts.of(user, items)}
        if self.histories.vectors is not None:
            found["similarity"] = self.histories.mean_cosines(user, position, items)
        known = None if self.ranking is None else self.ranking.find(user, position)
        if known is not None:
            found[SEQUENTIAL] = known.scores_of(items)
        return found
