"""What comes out: scores, likelihoods of candidates, and their ranks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Item
from rella_cpp.engine.identity import ModelIdentity
from rella_cpp.summarization.summary import PreferenceSummary


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a model finds one of several candidates as the answer to which one comes next (DELRec).

    Attributes
    ----------
    item
        The candidate.
    log_probability
        Natural logarithm of the probability of its name after the prompt: the sum over its tokens. Longer names have
        lower ones; see `per_token`.
    tokens
        How many tokens its name has.
    share
        The softmax of `log_probability` over the candidates: between 0 and 1, not calibrated.
    prompt_tokens
        Tokens of the prompt, which all candidates have in common.
    used
        0-based places, in the input, of the behaviors in the prompt, oldest first.
    dropped
        How many of the K latest behaviors were left out for the context's sake.
    model
        Which model gave it, with which adapters and soft prompt.
    excluded
        How many behaviors were left out because they are one of the candidates.
    prompt
        The prompt's text, control tokens as they are written.

    """

    item: Item
    log_probability: float
    tokens: int
    share: float
    prompt_tokens: int
    used: tuple[int, ...]
    dropped: int
    model: ModelIdentity
    excluded: int = 0
    prompt: str = ""

    @property
    def per_token(self) -> float:
        """The mean log-probability of the name's tokens."""
        return self.log_probability / self.tokens

    @property
    def best(self) -> float:
        """The number to rank by; shares of far less likely candidates may be rounded to 0."""
        return self.log_probability

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object with the documented keys; `excluded` unless 0, never the prompt."""
        return {
            "item": dict(self.item.fields),
            "log_probability": self.log_probability,
            "tokens": self.tokens,
            "per_token": self.per_token,
            "share": self.share,
            **_what_was_read(self),
        }


@dataclass(frozen=True, slots=True)
class Levels:
    """What a model says of a target's rating, at the end of a stream.

    Attributes
    ----------
    labels
        The ratings' labels, the lowest first.
    probabilities
        Softmax over the labels' logits, one each.
    expected
        The mean rating under it, on the domain's scale.

    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    expected: float

    def as_dict(self) -> dict[str, float]:
        """Return each label's probability, as JSON."""
        return dict(zip(self.labels, self.probabilities, strict=True))


@dataclass(frozen=True, slots=True)
class Score:
    """How likely the user is to like one item.

    Attributes
    ----------
    item
        The target item.
    probability
        Click probability, `softmax(yes_logit, no_logit)` (ReLLa §3.1): between 0 and 1, not calibrated.
    yes_logit, no_logit
        Logits of the two answer tokens at the answer position; of a stream, log-sum-exp over the labels of ratings that
        say that the item is liked, and over the others.
    answer_mass
        Share of the full softmax that the answers hold: near 0, the model does not answer in that form.
    prompt_tokens
        Tokens that were read.
    used
        0-based places, in the input, of the behaviors in the prompt, in prompt order.
    dropped
        How many chosen behaviors were left out for the context's sake.
    model
        Which model and adapters gave it.
    excluded
        How many behaviors were left out because they are the target itself.
    prompt
        The prompt's text, control tokens as they are written.
    empty_gap
        The logit gap that the same target gets with no history and no profile; None unless contrast was asked for.
    calibrated
        The calibrated probability; None without a calibration.
    head_logit
        What a head made of the hidden states; None without one.
    summary
        The preference summary in the prompt; None where histories are read without one.
    levels
        What a stream says of each rating; None without one.
    unrated
        How many behaviors a stream leaves out because they have no rating.

    """

    item: Item
    probability: float
    yes_logit: float
    no_logit: float
    answer_mass: float
    prompt_tokens: int
    used: tuple[int, ...]
    dropped: int
    model: ModelIdentity
    excluded: int = 0
    prompt: str = ""
    empty_gap: float | None = None
    calibrated: float | None = None
    head_logit: float | None = None
    summary: PreferenceSummary | None = None
    levels: Levels | None = None
    unrated: int = 0

    @property
    def expected(self) -> float | None:
        """The mean rating under a stream's levels; None without one."""
        return None if self.levels is None else self.levels.expected

    @property
    def gap(self) -> float:
        """The logit that calibration takes: the head's if there is one, else the gap yes − no."""
        return self.yes_logit - self.no_logit if self.head_logit is None else self.head_logit

    @property
    def head(self) -> float | None:
        """The head's probability."""
        return None if self.head_logit is None else click_probability(self.head_logit)

    @property
    def contrast(self) -> float | None:
        """The probability of the gap above the empty gap (contextual calibration, Zhao et al. 2021)."""
        if self.empty_gap is None:
            return None
        return click_probability(self.gap - self.empty_gap)

    @property
    def best(self) -> float:
        """The probability to go by: the calibrated one, else the head's, else the contrast, else the plain one."""
        return next(p for p in (self.calibrated, self.head, self.contrast, self.probability) if p is not None)

    def extras(self) -> dict[str, object]:
        """Return the keys that are there only where they were asked for."""
        found = {
            "head": self.head,
            "head_logit": self.head_logit,
            "contrast": self.contrast,
            "empty_gap": self.empty_gap,
            "calibrated": self.calibrated,
            "summary": None if self.summary is None else self.summary.brief(),
            "levels": None if self.levels is None else self.levels.as_dict(),
            "expected": self.expected,
            "unrated": None if self.levels is None else self.unrated,
        }
        return {name: value for name, value in found.items() if value is not None}

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object with the documented keys; `extras`, `excluded` unless 0, never the prompt."""
        return {
            "item": dict(self.item.fields),
            "probability": self.probability,
            "yes_logit": self.yes_logit,
            "no_logit": self.no_logit,
            "answer_mass": self.answer_mass,
            **_what_was_read(self),
            **self.extras(),
        }


def _what_was_read(result: Score | Likelihood) -> dict[str, object]:
    """Return the JSON keys of the prompt and the model."""
    found: dict[str, object] = {
        "prompt_tokens": result.prompt_tokens,
        "used": list(result.used),
        "dropped": result.dropped,
        "model": result.model.as_dict(),
    }
    return found | ({"excluded": result.excluded} if result.excluded else {})


def click_probability(gap: float) -> float:
    """Return the probability that a gap of two logits stands for."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, gap))))


LOW_ANSWER_MASS = 0.2
"""Below this share of the softmax, the model mostly wants to say something else than the two answers."""


def told_answers(domain: Domain, score: Score) -> str:
    """Name the answers that a model was asked for: `Yes and No`, or a stream's ratings, `1 to 5`."""
    if score.levels is None:
        return " and ".join(domain.answers)
    return f"the ratings {score.levels.labels[0]} to {score.levels.labels[-1]}"


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
