"""Figures in words: what the model beats, and what beats it."""

from collections.abc import Mapping
from typing import Any

from rella_cpp.metrics.bootstrap import Interval

OWN = ("model", "per_token", "head", "contrast", "platt", "blend", "platt-contrast", "blend-contrast")
"""Predictors that come from the model; all others are baselines."""
_FEW = 30  # users


def as_json(interval: Interval, *, difference: bool = False) -> dict[str, Any]:
    """Return a figure as JSON; of a difference also whether it can be told from none."""
    found: dict[str, Any] = {"value": interval.value, "low": interval.low, "high": interval.high}
    return found | {"distinguishable": interval.excludes_zero} if difference else found


def few_users(count: int, noun: str = "user") -> list[str]:
    """Return a note where there are too few users to draw from; without users each sample is one."""
    if count == 1:
        return [f"one {noun}: there are no intervals, since they come from drawing {noun}s"]
    return [f"{count} {noun}s are few: their intervals are too narrow, and say little"] if count < _FEW else []


def subject(name: str) -> str:
    """Name one of the model's predictors at the beginning of a sentence."""
    return "The model" if name == "model" else f"The model's {name}"


def standing(name: str, differences: Mapping[str, Mapping[str, Any]], metric: str) -> list[str]:
    """Say which baselines a predictor beats, which beat it, and which it equals.

    Parameters
    ----------
    name
        One of the model's predictors.
    differences
        By baseline, how much more of the metric the predictor has, as JSON; those without a value are left out.
    metric
        What the metric is called.

    """
    beats: list[str] = []
    loses: list[str] = []
    equal: list[str] = []
    for other, found in differences.items():
        if found["value"] is None:
            continue
        kind = equal if not found["distinguishable"] else beats if found["value"] > 0 else loses
        ends = "" if found["low"] is None else f" [{found['low']:+.3f}, {found['high']:+.3f}]"
        kind.append(f"{other} {found['value']:+.3f}{ends}")
    who = subject(name)
    sentences = []
    if not beats and (loses or equal):
        sentences.append(f"{who} beats none of the baselines by {metric}.")
    for words, others in (("beats", beats), ("is beaten by", loses), ("is not distinguishable from", equal)):
        if others:
            sentences.append(f"{who} {words} {', '.join(others)} ({metric}, paired 95 % interval).")
    return sentences
