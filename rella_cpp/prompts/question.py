"""A prompt with two answers, yes and no: tokenised, and its answer tokens found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.segments import Encoded, Prompt, Span
from rella_cpp.errors import InputError
from rella_cpp.prompts.chat_template import HISTORY, TARGET

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


def yes_no_question(
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
        soft=None if soft is None else (yes.soft or 0, soft),
    )
