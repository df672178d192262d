"""Boosted trees as plain numbers."""

import json
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from rella_cpp.evaluation.baselines import boosting
from rella_cpp.scoring.ratings.trees import BoostedTrees


@pytest.fixture(scope="module")
def drawn() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    features = random.normal(size=(600, 3))
    features[:, 1] = np.round(features[:, 1])  # ties at the thresholds
    return features, (features[:, 0] * features[:, 1] + random.normal(size=600) > 0).astype(int)


def test_they_say_what_scikit_learn_does(drawn: tuple[Any, Any]) -> None:
    features, labels = drawn
    found = boosting.fit_trees(features, labels)
    model = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=30, early_stopping=False, random_state=0
    ).fit(features, labels)
    wider = np.concatenate([features, 9 * features])
    np.testing.assert_allclose(1 / (1 + np.exp(-found(wider))), model.predict_proba(wider)[:, 1], atol=1e-12)
    again = BoostedTrees.from_dict(json.loads(json.dumps(found.as_dict())), 3)
    assert np.array_equal(again(wider), found(wider))


@pytest.mark.parametrize(
    "change",
    [
        {"left": [0] * 3, "right": [2, 0, 0]},  # one way only
        {"left": [0, 0, 0], "right": [0, 1, 0]},  # a way back
        {"left": [1, 0, 0], "right": [7, 0, 0]},  # out of the tree
        {"feature": [3, 0, 0]},
        {"value": [0.0, float("nan"), 0.0]},
        {"value": [0.0]},
        {"left": []},
    ],
)
def test_damaged_trees_are_refused(change: dict[str, Any]) -> None:
    tree = {"feature": [0, 0, 0], "threshold": [0.0] * 3, "left": [1, 0, 0], "right": [2, 0, 0], "value": [0.0, -1, 1]}
    whole = BoostedTrees.from_dict({"offset": 0.5, "trees": [tree]}, 3)
    assert whole(np.array([[-1.0, 0, 0], [0.0, 0, 0], [1.0, 0, 0]])).tolist() == [-0.5, -0.5, 1.5]
    with pytest.raises(ValueError, match="damaged|finite"):
        BoostedTrees.from_dict({"offset": 0.5, "trees": [tree | change]}, 3)
