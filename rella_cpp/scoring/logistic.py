"""Logistic regression: the one that turns baselines' numbers into probabilities, and calibrates a model's gap."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.machine.address_space import check_room, warm_scipy


@dataclass(frozen=True)
class Logistic:
    """Weights of features, float64 of shape (features,), and what is added to their sum."""

    weights: npt.NDArray[np.float64]
    offset: float

    @classmethod
    def fit(cls, features: npt.NDArray[np.float64], labels: npt.NDArray[np.generic], *, strength: float = 1.0) -> Self:
        """Fit on standardised features, float64 of shape (n, features).

        Parameters
        ----------
        strength
            scikit-learn's C, the inverse of the regularisation.

        """
        warm_scipy()
        from sklearn.linear_model import LogisticRegression  # takes seconds to import

        check_room()
        mean, deviation = features.mean(0), features.std(0)
        scale = np.where(deviation > 0, deviation, 1)
        model = LogisticRegression(C=strength, max_iter=1000).fit((features - mean) / scale, labels)
        weights: npt.NDArray[np.float64] = model.coef_[0] / scale
        return cls(weights, float(model.intercept_[0] - weights @ mean))

    def __call__(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return probabilities, float64 of shape (n,)."""
        chances: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(features @ self.weights + self.offset, -700, 700)))
        return chances
