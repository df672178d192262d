"""Metrics of click predictions, each weighted, so that the bootstrap is a change of weights.

All take arrays of shape (n,): labels 0 or 1, scores or probabilities, and weights of samples, float64.
"""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BINS = 10
"""Bins of equal width for the expected calibration error."""


class Ranked:
    """Scores sorted once, to compute AUC under many weightings.

    AUC is the chance that a positive's score is above a negative's, ties counting one half (Mann-Whitney).
    """

    def __init__(self, labels: Floats, scores: Floats) -> None:
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        self._ties = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self._labels = labels[self._order]

    def auc(self, weights: Floats | None = None) -> float:
        """Return AUC; NaN where only one label has weight."""
        w = np.ones(len(self._labels)) if weights is None else weights[self._order]
        positive = np.add.reduceat(w * self._labels, self._ties)
        negative = np.add.reduceat(w * (1 - self._labels), self._ties)
        total = positive.sum() * negative.sum()
        if total == 0:
            return float("nan")
        below = np.cumsum(negative) - negative
        return float((positive * (below + negative / 2)).sum() / total)


class UserAUC:
    """Mean of the users' own AUCs, over those who have both labels; weights are the users'.

    Parameters
    ----------
    users
        Each sample's user, int64 of shape (n,), numbered from 0.

    """

    def __init__(self, labels: Floats, scores: Floats, users: npt.NDArray[np.int64]) -> None:
        order = np.argsort(users, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(users[order])) + 1) if len(order) else []
        own = {int(users[group[0]]): Ranked(labels[group], scores[group]).auc() for group in groups}
        defined = {user: value for user, value in own.items() if not np.isnan(value)}
        self.users = np.fromiter(defined, dtype=np.int64)
        self._values = np.fromiter(defined.values(), dtype=np.float64)

    def mean(self, user_weights: Floats | None = None) -> float:
        """Return the mean; NaN where no user has both labels."""
        w = np.ones(len(self.users)) if user_weights is None else user_weights[self.users]
        return float((w * self._values).sum() / w.sum()) if w.sum() else float("nan")


@dataclass(frozen=True, slots=True)
class Losses:
    """What each sample contributes to the metrics that are means, each float64 of shape (n,)."""

    log_loss: Floats
    accuracy: Floats
    brier: Floats

    @classmethod
    def of(cls, labels: Floats, probabilities: Floats) -> "Losses":
        """Compute them: LogLoss in nats, clipped at 1e-15; accuracy at one half; the squared error."""
        safe = np.clip(probabilities, 1e-15, 1 - 1e-15)
        return cls(
            log_loss=-(labels * np.log(safe) + (1 - labels) * np.log1p(-safe)),
            accuracy=((probabilities > 0.5) == (labels > 0.5)).astype(np.float64),
            brier=(probabilities - labels) ** 2,
        )


class Reliability:
    """Samples in bins of predicted probability, to compare the predicted with the observed."""

    def __init__(self, labels: Floats, probabilities: Floats, bins: int = BINS) -> None:
        self.bins = bins
        self._bin = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
        self._labels, self._probabilities = labels, probabilities

    def table(self, weights: Floats | None = None) -> tuple[Floats, Floats, Floats]:
        """Return each bin's weight, mean probability and share of positives; NaN in empty bins; all (bins,)."""
        w = np.ones(len(self._labels)) if weights is None else weights
        mass = np.bincount(self._bin, w, self.bins).astype(np.float64)
        with np.errstate(invalid="ignore"):
            return (
                mass,
                np.bincount(self._bin, w * self._probabilities, self.bins) / mass,
                np.bincount(self._bin, w * self._labels, self.bins) / mass,
            )

    def ece(self, weights: Floats | None = None) -> float:
        """Return the expected calibration error: the bins' |predicted − observed|, weighted by their share."""
        mass, predicted, observed = self.table(weights)
        full = mass > 0
        return float((mass[full] * np.abs(predicted - observed)[full]).sum() / mass.sum())


class RunningAUC:
    """The AUC of what was scored so far, for a progress line; computed anew once a second at most."""

    def __init__(self) -> None:
        self._labels, self._scores = list[int](), list[float]()
        self._text, self._told = "", 0.0

    def add(self, label: int, score: float) -> None:
        """Add a sample."""
        self._labels.append(label)
        self._scores.append(score)

    @property
    def text(self) -> str:
        """The AUC in words; empty while it is undefined."""
        if self._labels and time.monotonic() - self._told > 1:
            area = Ranked(np.array(self._labels, np.float64), np.array(self._scores)).auc()
            self._text, self._told = "" if np.isnan(area) else f"AUC {area:.3f}", time.monotonic()
        return self._text
