"""Answer tokens and scores: P = softmax over the two answers' logits at the answer position (ReLLa §3.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.records import click_probability
from rella_cpp.engine.segments import Encoded, Prompt, Span
from rella_cpp.errors import EngineError, InputError
from rella_cpp.frames import HISTORY, TARGET

LOW_ANSWER_MASS = 0.2
"""Below this share of the softmax, the model mostly wants to say something else than the two answers."""

Encode = Callable[[Sequence[Span]], Encoded]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt ready to decode: its tokens and their cuts, the two answer tokens, its text.

    `soft` is a soft prompt that stands before one of the tokens: that one's index, and the embeddings, float32 of shape
    (n, n_embd).
    """

    tokens: tuple[int, ...]
    borders: tuple[int, ...]
    yes: int
    no: int
    text: str
    soft: tuple[int, npt.NDArray[np.float32]] | None = None

    @property
    def prompt(self) -> Prompt:
        """The segments system+profile | history | target+question, and the soft prompt, if any, in its place."""
        return Prompt.cut(self.tokens, self.borders, self.soft)

    def __len__(self) -> int:
        """Count the positions that it takes in the context."""
        return len(self.tokens) + (0 if self.soft is None else len(self.soft[1]))


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


def ask(
    encode: Encode,
    spans: Sequence[Span],
    answers: tuple[str, str],
    lead: str,
    soft: npt.NDArray[np.float32] | None = None,
) -> Question:
    """Tokenise a prompt, given as `ChatFrame.spans` gives it, and find its answer tokens.

    The prompt is tokenised with each answer behind it, `lead` between: the answer tokens are those at the first place
    where the two differ, and the prompt is what comes before it. So merges with the prompt's end are the model's own.
    `soft` stands where a span says so, else before the first token.

    Raises
    ------
    InputError
        Both answers begin with the same token.

    """
    place = len(spans) + 1
    yes, no = (encode([*spans, Span(lead), Span(answer)]) for answer in answers)
    first = next(
        (i for i, (a, b) in enumerate(zip(yes.tokens, no.tokens, strict=False)) if a != b),
        min(len(yes.tokens), len(no.tokens)),
    )
    if first > min(yes.starts[place], no.starts[place]) or first == min(len(yes.tokens), len(no.tokens)):
        raise InputError(
            f"the answers {answers[0]!r} and {answers[1]!r} begin with the same token of this model",
            remedy="choose two answers that begin differently, such as Yes and No",
        )
    if first == 0:
        raise InputError("the prompt is empty", remedy="give the domain a text, or the model another --chat-format")
    return Question(
        tokens=yes.tokens[:first],
        borders=tuple(min(yes.starts[border], first) for border in (HISTORY, TARGET)),
        yes=yes.tokens[first],
        no=no.tokens[first],
        text="".join(span.text for span in spans),
        soft=None if soft is None else (yes.block or 0, soft),
    )


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
