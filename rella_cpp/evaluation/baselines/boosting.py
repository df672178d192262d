"""Histogram gradient boosting on the six statistics of samples (scikit-learn)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.machine.address_space import check_room, warm_scipy
from rella_cpp.metrics.probabilities import Floats
from rella_cpp.scoring.ratings.trees import BoostedTrees, Tree

_ITERATIONS, _RATE, _LEAVES, _LEAST = 150, 0.05, 15, 200


def fit_trees(features: Floats, labels: npt.NDArray[np.integer]) -> BoostedTrees:
    """Fit trees to samples' features, float64 of shape (n, features), and labels of shape (n,)."""
    warm_scipy()
    from sklearn.ensemble import HistGradientBoostingClassifier  # takes seconds to import
    from threadpoolctl import threadpool_limits

    check_room()
    model: Any = HistGradientBoostingClassifier(
        max_iter=_ITERATIONS,
        learning_rate=_RATE,
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=min(_LEAST, max(1, len(labels) // 20)),
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1):  # its threads wait for each other in loops: beside other work they take minutes
        model.fit(features, labels)
    # scikit-learn has no public way to its nodes; a test holds that they say what `predict_proba` does.
    trees = [_tree(predictor.nodes) for (predictor,) in model._predictors]
    return BoostedTrees(float(model._baseline_prediction.ravel()[0]), trees)


def _tree(nodes: Any) -> Tree:
    inner = ~nodes["is_leaf"].astype(bool)
    return Tree(
        np.where(inner, nodes["feature_idx"], 0).astype(np.int64),
        np.where(inner, nodes["num_threshold"], 0.0).astype(np.float64),
        np.where(inner, nodes["left"], 0).astype(np.int64),
        np.where(inner, nodes["right"], 0).astype(np.int64),
        np.where(inner, 0.0, nodes["value"]).astype(np.float64),
    )
