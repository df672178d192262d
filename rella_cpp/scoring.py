"""Answer tokens and scores: P = softmax over the two answers' logits at the answer position (ReLLa §3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.records import click_probability
from rella_cpp.errors import EngineError

LOW_ANSWER_MASS = 0.2
"""Below this share of the softmax, the model mostly wants to say something else than the two answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the logits at the answer position say; see `Score`."""

    probability: float
    yes_logit: float
    no_logit: float
    answer_mass: float
    head_logit: float | None = None

    @property
    def gap(self) -> float:
        """The logit gap, yes − no."""
        return self.yes_logit - self.no_logit

    @property
    def head(self) -> float | None:
        """The head's probability; None without one."""
        return None if self.head_logit is None else click_probability(self.head_logit)


def read_answer(logits: npt.NDArray[np.float32], yes: int, no: int) -> Answer:
    """Turn the logits at the answer position, float32 of shape (n_vocab,), into an answer; computed in float64.

    Raises
    ------
    EngineError
        The logits are no finite numbers.

    """
    row = logits.astype(np.float64)
    yes_logit, no_logit = float(row[yes]), float(row[no])
    if not (np.isfinite(yes_logit) and np.isfinite(no_logit) and np.isfinite(row.max())):
        raise EngineError("the model's logits are no finite numbers: its weights or an adapter's may be damaged")
    weights = np.exp(row - row.max())
    return Answer(
        probability=float(1 / (1 + np.exp(np.clip(no_logit - yes_logit, -700, 700)))),
        yes_logit=yes_logit,
        no_logit=no_logit,
        answer_mass=float((weights[yes] + weights[no]) / weights.sum()),
    )


class Judged(Protocol):
    """What can be ranked: a `Score` by its probability, a `Likelihood` by its log-probability."""

    @property
    def best(self) -> float:
        """The number to go by; greater is better."""


def ranks(scores: Sequence[Judged]) -> list[int]:
    """Return each score's rank, 1 for the greatest `best`; equal ones in input order."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i].best)
    result = [0] * len(scores)
    for rank, i in enumerate(order, start=1):
        result[i] = rank
    return result
