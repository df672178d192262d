"""Six plain statistics of a history and a target, which a calibration may blend with the model's gap."""

from collections.abc import Sequence

import numpy as np

STATISTICS = ("mean_all", "mean_last_5", "mean_last_30", "log_behaviors", "item_mean", "log_item_count")
"""Means of all earlier ratings, the last 5, the last 30; log(1 + their number); the item's training mean, smoothed;
log(1 + its training count)."""


def statistics_of(ratings: Sequence[float | None], item: Sequence[float], mean: float) -> dict[str, float]:
    """Compute the statistics of one history and target.

    Parameters
    ----------
    ratings
        The earlier ratings, oldest first.
    item
        The target's smoothed training mean and training count.
    mean
        The mean of all training ratings.

    """

    def average(window: Sequence[float | None]) -> float:
        known = [rating for rating in window if rating is not None]
        return float(np.mean(known)) if known else mean

    item_mean, item_count = item
    values = (
        average(ratings),
        average(ratings[-5:]),
        average(ratings[-30:]),
        float(np.log1p(len(ratings))),
        item_mean,
        float(np.log1p(item_count)),
    )
    return dict(zip(STATISTICS, values, strict=True))
