"""A matrix factorization, applied: what rating a user will give, by what the user and others gave.

    rating ≈ mean + user's offset + item's offset + user's vector · item's vector

(Koren, Bell & Volinsky, "Matrix factorization techniques for recommender systems", 2009, eq. 4.) The items' side is
fitted on training ratings; the user's side is computed from the ratings of a history, so that it needs no user who was
seen in training, and no rating that came later.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]


class Estimate(NamedTuple):
    """The rating that is expected: by the offsets alone, and with the vectors."""

    bias: float
    factors: float


@dataclass(frozen=True, slots=True)
class ItemFactors:
    """The items' side of a factorization.

    Attributes
    ----------
    mean
        The mean of all training ratings.
    offsets
        What each item's ratings are above it, shrunk, float64 of shape (items,).
    vectors
        Float64 of shape (items, factors).
    shrinkage
        How many ratings of no offset a user's offset counts.
    penalty
        Of the user's vector (ridge regression).

    """

    mean: float
    offsets: Floats
    vectors: Floats
    shrinkage: float
    penalty: float

    def __post_init__(self) -> None:
        """Check what is divided by.

        Raises
        ------
        ValueError
            Shrinkage or penalty is not above zero.

        """
        if not (self.shrinkage > 0 and self.penalty > 0):
            raise ValueError("shrinkage or penalty is not above zero")

    def estimate(self, items: Ints, ratings: Floats, target: int | None) -> Estimate:
        """Estimate the rating of one target.

        Parameters
        ----------
        items, ratings
            What the user rated before: rows of items, and float64 ratings, both of shape (n,).
        target
            The target's row; None: an item that is not known.

        """
        offset = 0.0 if target is None else float(self.offsets[target])
        above = ratings - self.mean - self.offsets[items]
        own = float(above.sum() / (len(above) + self.shrinkage))
        bias = self.mean + own + offset
        if target is None or not len(items):
            return Estimate(bias, bias)
        known = self.vectors[items]
        moments = known.T @ known + self.penalty * np.eye(known.shape[1])
        vector = np.linalg.solve(moments, known.T @ (above - own))
        return Estimate(bias, bias + float(vector @ self.vectors[target]))
