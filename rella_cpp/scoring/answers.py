"""Answer tokens and scores: P = softmax over the two answers' logits at the answer position (ReLLa §3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import EngineError
from rella_cpp.scoring.results import click_probability


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


def log_probability(logits: npt.NDArray[np.float32], answer: Sequence[int]) -> float:
    """Return the log-probability of an answer: that of its tokens, summed in float64.

    Parameters
    ----------
    logits
        At the positions before each of its tokens, float32 of shape (tokens, n_vocab).
    answer
        Its tokens.

    Raises
    ------
    EngineError
        The logits are no finite numbers.

    """
    total = 0.0
    for row, token in zip(logits, answer, strict=True):
        exact = row.astype(np.float64)  # one row at a time: a vocabulary is large
        greatest = exact.max()
        if not (np.isfinite(greatest) and np.isfinite(exact[token])):
            raise EngineError("the model's logits are no finite numbers: its weights or an adapter's may be damaged")
        total += float(exact[token] - greatest - np.log(np.exp(exact - greatest).sum()))
    return total
