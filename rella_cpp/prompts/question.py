"""A prompt with answers to choose from: tokenized, and its answers' tokens found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.stream import Level
from rella_cpp.engine.segments import Encoded, Prompt, Span
from rella_cpp.errors import InputError
from rella_cpp.prompts.chat_template import HISTORY, TARGET

Encode = Callable[[Sequence[Span]], Encoded]


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """The tokens that answers begin with, and which of them say that the target is liked.

    Of a yes-or-no question these are two, the positive one first; of a stream one for each of its `levels`.
    """

    tokens: tuple[int, ...]
    liked: tuple[bool, ...]
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt ready to decode: its tokens and their cuts, the answers' tokens, its text.

    `soft` is a soft prompt that stands before one of the tokens: that one's index, and the embeddings, float32 of shape
    (n, n_embd).
    """

    tokens: tuple[int, ...]
    borders: tuple[int, ...]
    answers: AnswerTokens
    text: str
    soft: tuple[int, npt.NDArray[np.float32]] | None = None

    @property
    def prompt(self) -> Prompt:
        """The segments, cut at the borders, and the soft prompt, if any, in its place.

        A yes-or-no question's are system+profile | history | target+question; a stream's are its header and lines.
        """
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
    """Tokenize a prompt, given as `ChatFrame.spans` gives it, and find its answer tokens.

    The prompt is tokenized with each answer behind it, `lead` between: the answer tokens are those at the first place
    where the two differ, and the prompt is what comes before it. So merges with the prompt's end are the model's own.
    `soft` stands where a span says so, else before the first token.

    Raises
    ------
    InputError
        Both answers begin with the same token.

    """
    place = len(spans) + 1
    encoded = [encode([*spans, Span(lead), Span(answer)]) for answer in answers]
    first = first_difference(encoded, place)
    if first is None:
        raise InputError(
            f"the answers {answers[0]!r} and {answers[1]!r} begin with the same token of this model",
            remedy="choose two answers that begin differently, such as Yes and No",
        )
    if first == 0:
        raise InputError("the prompt is empty", remedy="give the domain a text, or the model another --chat-format")
    return Question(
        tokens=encoded[0].tokens[:first],
        borders=tuple(min(encoded[0].starts[border], first) for border in (HISTORY, TARGET)),
        answers=AnswerTokens(tuple(each.tokens[first] for each in encoded), (True, False)),
        text="".join(span.text for span in spans),
        soft=None if soft is None else (encoded[0].soft or 0, soft),
    )


def first_difference(encoded: Sequence[Encoded], place: int) -> int | None:
    """Find the first place where texts differ that are alike but for their last span, of number `place`.

    None where it lies beyond the first token of that span, where one ends before it, or where two have the same token
    there.
    """
    shortest = min(len(each.tokens) for each in encoded)
    columns = zip(*(each.tokens[:shortest] for each in encoded), strict=True)
    first = next((i for i, column in enumerate(columns) if len(set(column)) > 1), shortest)
    if first > min(each.starts[place] for each in encoded) or first == shortest:
        return None
    return first if len({each.tokens[first] for each in encoded}) == len(encoded) else None
