"""One prompt and the answers that may follow it: tokenised, and how likely the model finds each."""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.segments import Prompt, Span
from rella_cpp.errors import InputError
from rella_cpp.prompts.chat_template import HISTORY, TARGET
from rella_cpp.prompts.question import Encode


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """A prompt ready to decode, with several answers: its tokens and their cuts, each answer's tokens, its text.

    `soft` is a soft prompt among the tokens, as in `Question`.
    """

    tokens: tuple[int, ...]
    borders: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    text: str
    soft: tuple[int, npt.NDArray[np.float32]] | None = None

    @property
    def prompt_tokens(self) -> int:
        """Positions of the prompt, those of the soft prompt counted."""
        return len(self.tokens) + (0 if self.soft is None else len(self.soft[1]))

    def __len__(self) -> int:
        """Count what it takes of the context: the prompt and the longest answer."""
        return self.prompt_tokens + max(map(len, self.answers))

    @property
    def prompts(self) -> list[Prompt]:
        """What to read for each answer: the logits that its tokens are drawn from are the outputs.

        The segments are system+profile | history | target+question but for its last token | that token and the answer
        but for its last; all answers have the first three in common.
        """
        end = len(self.tokens) - 1
        borders = tuple(min(border, end) for border in self.borders)
        shared = Prompt.cut(self.tokens[:end], borders, self.soft).segments if end or self.soft else ()
        return [
            Prompt((*shared, np.asarray((self.tokens[end], *answer[:-1]), dtype=np.int32)), outputs=len(answer))
            for answer in self.answers
        ]


def choice_question(
    encode: Encode,
    spans: Sequence[Span],
    answers: Sequence[str],
    lead: str,
    soft: npt.NDArray[np.float32] | None = None,
) -> ChoiceQuestion:
    """Tokenise a prompt, given as `ChatFrame.spans` gives it, with each answer behind it, `lead` between.

    An answer's tokens begin with the first one that reaches into the lead or the answer. Where one answer's first
    token lies across that border, the answers of all begin where that token does: so each is the same stretch of text
    but for the answer itself, and the prompt is the same for all. `soft` stands where a span says so, else before the
    first token.

    Raises
    ------
    InputError
        An answer is empty, or the prompt is, or the soft prompt stands behind all of it.

    """
    encoded = [encode([*spans, Span(lead), Span(answer)]) for answer in answers]
    first = min(found.starts[len(spans)] for found in encoded)
    tokens = tuple(commonprefix([found.tokens[:first] for found in encoded]))
    if not tokens:
        raise InputError("the prompt is empty", remedy="give the domain a text, or the model another --chat-format")
    for answer, found in zip(answers, encoded, strict=True):
        if len(found.tokens) <= found.starts[len(spans) + 1]:
            raise InputError(f"the answer {answer!r} is empty", remedy="give every item a name")
    place = encoded[0].soft or 0
    if place >= len(tokens):
        raise InputError("the soft prompt stands behind the prompt", remedy="put the marker before its last word")
    return ChoiceQuestion(
        tokens=tokens,
        borders=tuple(min(encoded[0].starts[border], len(tokens)) for border in (HISTORY, TARGET)),
        answers=tuple(found.tokens[len(tokens) :] for found in encoded),
        text="".join(span.text for span in spans),
        soft=None if soft is None else (place, soft),
    )
