"""Gradient-boosted trees, applied: as plain numbers, so that a blend's file holds no code and needs no scikit-learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes by number, 0 the root: every array has the shape (nodes,).

    From a node the way goes on to `left` where the `feature` is at most the `threshold`, else to `right`; at a leaf
    both are 0. `value` is what a leaf adds.
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats

    def __call__(self, features: Floats) -> Floats:
        """Return what the tree adds for each sample, float64 of shape (n,), by features of shape (n, features)."""
        node = np.zeros(len(features), np.int64)
        rows = np.arange(len(features))
        while len(inner := rows[self.left[node[rows]] > 0]):
            at = node[inner]
            goes_left = features[inner, self.feature[at]] <= self.threshold[at]
            node[inner] = np.where(goes_left, self.left[at], self.right[at])
            rows = inner
        return self.value[node]


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """The sum of trees and an offset, as log odds."""

    offset: float
    trees: Sequence[Tree]

    def __call__(self, features: Floats) -> Floats:
        """Return log odds, float64 of shape (n,), by features of shape (n, features)."""
        total = np.full(len(features), self.offset)
        for tree in self.trees:
            total += tree(features)
        return total

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object."""
        names = Tree.__dataclass_fields__
        trees = [{name: getattr(tree, name).tolist() for name in names} for tree in self.trees]
        return {"offset": self.offset, "trees": trees}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], features: int) -> Self:
        """Read it back.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is no such object, or a tree does not end, or asks for more features than there are.

        """
        return cls(float(value["offset"]), [_tree(each, features) for each in value["trees"]])


def _tree(value: Mapping[str, Any], features: int) -> Tree:
    whole = [number for name in ("feature", "left", "right") for number in value[name]]
    if not all(type(number) is int for number in whole):
        raise ValueError("a tree's node is no whole number")
    floats = [np.array(value[name], np.float64) for name in ("threshold", "value")]
    feature, left, right = (np.array(value[name], np.int64) for name in ("feature", "left", "right"))
    if len({array.shape for array in (feature, left, right, *floats)}) > 1 or not len(left):
        raise ValueError("a tree is damaged")
    number = np.arange(len(left))
    leaf = (left == 0) & (right == 0)
    onward = (number < left) & (number < right) & (left < len(left)) & (right < len(left))
    if not np.all((leaf | onward) & (feature >= 0) & (feature < features)):
        raise ValueError("a tree is damaged")
    if not all(np.isfinite(array).all() for array in floats):
        raise ValueError("a tree's number is not finite")
    return Tree(feature, floats[0], left, right, floats[1])
