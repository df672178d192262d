"""Answer tokens and scores: P = softmax over the two answers' logits at the answer position (ReLLa §3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import EngineError
from rella_cpp.prompts.question import AnswerTokens
from rella_cpp.scoring.results import Levels, click_probability


@dataclass(frozen=True, slots=True)
class Answer:
    """What the logits at the answer position say; see `Score`."""

    probability: float
    yes_logit: float
    no_logit: float
    answer_mass: float
    head_logit: float | None = None
    levels: Levels | None = None

    @property
    def gap(self) -> float:
        """The logit gap, yes − no."""
        return self.yes_logit - self.no_logit

    @property
    def logit(self) -> float:
        """The head's logit if there is one, else the gap; see `Score.gap`."""
        return self.gap if self.head_logit is None else self.head_logit

    @property
    def head(self) -> float | None:
        """The head's probability; None without one."""
        return None if self.head_logit is None else click_probability(self.head_logit)


def read_answer(logits: npt.NDArray[np.float32], answers: AnswerTokens) -> Answer:
    """Turn the logits at the answer position into an answer; computed in float64.

    Each side's logit is the log-sum-exp over its tokens' logits: with one token, the logit itself.

    Parameters
    ----------
    logits
        float32 of shape (n_vocab,).
    answers
        The tokens of the answers.

    Raises
    ------
    EngineError
        The logits are no finite numbers.

    """
    row = logits.astype(np.float64)
    given = row[list(answers.tokens)]
    if not (np.isfinite(given).all() and np.isfinite(row.max())):
        raise EngineError("the model's logits are no finite numbers: its weights or an adapter's may be damaged")
    liked = np.array(answers.liked)
    yes_logit, no_logit = _log_sum_exp(given[liked]), _log_sum_exp(given[~liked])
    weights = np.exp(row - row.max())
    return Answer(
        probability=float(1 / (1 + np.exp(np.clip(no_logit - yes_logit, -700, 700)))),
        yes_logit=yes_logit,
        no_logit=no_logit,
        answer_mass=float(weights[list(answers.tokens)].sum() / weights.sum()),
        levels=_levels(answers, given) if answers.levels else None,
    )


def _log_sum_exp(logits: npt.NDArray[np.float64]) -> float:
    greatest = logits.max()
    return float(greatest + np.log(np.exp(logits - greatest).sum()))


def _levels(answers: AnswerTokens, logits: npt.NDArray[np.float64]) -> Levels:
    weights = np.exp(logits - logits.max())
    shares = (weights / weights.sum()).tolist()
    return Levels(
        tuple(level.label for level in answers.levels),
        tuple(shares),
        sum(share * level.rating for share, level in zip(shares, answers.levels, strict=True)),
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
