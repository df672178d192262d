"""What ratings alone say of a user and an item: six statistics, trees on them, offsets and a matrix factorization.

All of it is fitted on the training split, by item, so that it also serves users who were never seen. A run keeps it
beside its predictions, and a blend brings it to scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.finder import Finder
from rella_cpp.domains.values import as_whole, id_text
from rella_cpp.scoring.logistic import Logistic
from rella_cpp.scoring.ratings.factors import ItemFactors
from rella_cpp.scoring.ratings.statistics import STATISTICS, statistics_of
from rella_cpp.scoring.ratings.trees import BoostedTrees

Floats = npt.NDArray[np.float64]

FITTED = ("boosting", "bias", "factors")
"""What is fitted besides the statistics, each as log odds: trees on them, offsets of items and users, factors."""


class Rated(NamedTuple):
    """A rating of a history, and the row of its item; None where the item is not known."""

    row: int | None
    rating: float


class FittedFactors(NamedTuple):
    """A factorization, and what makes log odds of its two estimates: by the offsets alone, and with the factors."""

    items: ItemFactors
    links: tuple[Logistic, Logistic]


@dataclass(frozen=True, eq=False)
class RatingModels:
    """What was fitted on training ratings.

    Attributes
    ----------
    mean
        Of all training ratings.
    ids, names
        Of each item its id, and its name as the domain writes it, `Alien (1979)`.
    means, counts
        Each item's smoothed mean and its training count, float64 of shape (items,).
    trees
        On the six statistics; None without any.
    factors
        None without any.

    """

    mean: float
    ids: Sequence[str]
    names: Sequence[str]
    means: Floats
    counts: Floats
    trees: BoostedTrees | None = None
    factors: FittedFactors | None = None

    def row(self, item_id: object, name: str = "") -> int | None:
        """Return an item's row by its id, else by its name; None where it is not known."""
        if (text := id_text(item_id)) is not None:
            for known in (text, as_whole(text)):
                if known in self._by_id:
                    return self._by_id[known]
        return self._finder.find(name)

    def meant(self, name: str) -> list[str]:
        """Return the names of the items that a name may mean."""
        return [self.names[row] for row in self._finder.meant(name)]

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def _finder(self) -> Finder:
        """Finds rows by name."""
        return Finder(self.names)

    def features(
        self, history: Sequence[Rated | None], target: int | None, unknown: tuple[float, float] | None = None
    ) -> dict[str, float]:
        """Return the six statistics, and log odds by name as in `FITTED`.

        Parameters
        ----------
        history
            The user's behaviors, oldest first, the target left out; None: without a rating.
        target
            The target's row; None: an item that is not known.
        unknown
            The mean and the count that such an item is taken to have; None: those of one that nobody rated.

        """
        ratings = [None if each is None else each.rating for each in history]
        own = unknown or (self.mean, 0.0)
        if target is not None:
            own = (float(self.means[target]), float(self.counts[target]))
        found = statistics_of(ratings, own, self.mean)
        if self.trees is not None:
            found["boosting"] = float(self.trees(np.array([[found[name] for name in STATISTICS]]))[0])
        if self.factors is not None:
            known = [each for each in history if each is not None and each.row is not None]
            rows = np.array([each.row for each in known], np.int64)
            estimate = self.factors.items.estimate(rows, np.array([each.rating for each in known], float), target)
            for name, link, value in zip(("bias", "factors"), self.factors.links, estimate, strict=True):
                found[name] = float(link.weights[0] * value + link.offset)
        return found

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object."""
        items: dict[str, list[object]] = {
            name: [float(self.means[row]), int(self.counts[row])] for row, name in enumerate(self.ids)
        }
        for name, shown in zip(self.ids, self.names, strict=True):
            items[name][:0] = [shown] if shown else []
        found: dict[str, object] = {"mean": self.mean, "items": items}
        if self.trees is not None:
            found["trees"] = self.trees.as_dict()
        if self.factors is not None:
            fitted, links = self.factors
            for row, name in enumerate(self.ids):
                # Most items of a large catalog are too rare for a vector: it is left out where it is zero.
                vector = fitted.vectors[row].tolist() if fitted.vectors[row].any() else []
                items[name] += [float(fitted.offsets[row]), *vector]
            found["factors"] = {
                "mean": fitted.mean,
                "shrinkage": fitted.shrinkage,
                "penalty": fitted.penalty,
                "links": [[float(link.weights[0]), link.offset] for link in links],
            }
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Read it back; also what runs and blends of before have: each item's mean and count alone, by id.

        Raises
        ------
        KeyError, TypeError, ValueError, IndexError, OverflowError
            It is no such object.

        """
        rows = [list(row) for row in dict(value["items"]).values()]
        names = [str(row.pop(0)) if isinstance(row[0], str) else "" for row in rows]
        width = max(map(len, rows), default=2)
        table = np.array([row if len(row) == width else _filled(row, width) for row in rows], np.float64)
        table = table.reshape(len(rows), width)
        made = cls(float(value["mean"]), list(map(str, value["items"])), names, table[:, 0], table[:, 1])
        if "trees" in value:
            made = replace(made, trees=BoostedTrees.from_dict(value["trees"], len(STATISTICS)))
        if "factors" in value:
            of = value["factors"]
            links = tuple(Logistic(np.array([float(weight)]), float(offset)) for weight, offset in of["links"])
            fitted = ItemFactors(
                float(of["mean"]), table[:, 2], table[:, 3:], float(of["shrinkage"]), float(of["penalty"])
            )
            made = replace(made, factors=FittedFactors(fitted, (links[0], links[1])))
        if not np.isfinite(table).all() or not (made.counts >= 0).all():
            raise ValueError("a number is out of its range")
        return made


def _filled(row: list[Any], width: int) -> list[Any]:
    """Fill up the row of an item without a vector; ValueError where it has another width than all others."""
    if len(row) not in (3, width):
        raise ValueError("an item has too few numbers")
    return [*row, *[0.0] * (width - len(row))]
