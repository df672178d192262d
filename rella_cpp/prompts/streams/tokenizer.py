"""A stream, tokenized for one model: its lines' borders, and the tokens that the levels of its ratings begin with."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.segments import Encoded, Span
from rella_cpp.errors import InputError
from rella_cpp.prompts.question import AnswerTokens, Encode, Question, first_difference
from rella_cpp.prompts.streams.frame import StreamFrame
from rella_cpp.prompts.streams.text import StreamText


@dataclass(slots=True)
class StreamTokenizer:
    """Makes questions of streams.

    Attributes
    ----------
    encode
        The model's tokenizer.
    frame
        Writes streams as marked text, in a domain's words.

    """

    encode: Encode
    frame: StreamFrame
    _known: tuple[int, tuple[int, ...]] | None = field(default=None, init=False)

    def question(self, text: StreamText, soft: npt.NDArray[np.float32] | None = None) -> Question:
        """Tokenize a stream up to the target's rating; it is cut before each line.

        A soft prompt stands before the first token.

        Raises
        ------
        InputError
            Two levels begin with the same token of this model.

        """
        spans, starts = self.frame.spans(text)
        encoded, first = self._encoded(spans)
        _, tokens = self._known or (0, ())
        words = self.frame.domain.stream_words()
        return Question(
            tokens=encoded.tokens[:first],
            borders=tuple(min(encoded.starts[start], first) for start in starts),
            answers=AnswerTokens(tokens, self.frame.domain.liked_levels(words), words.levels),
            text="".join(span.text for span in spans),
            soft=None if soft is None else (0, soft),
        )

    def _encoded(self, spans: Sequence[Span]) -> tuple[Encoded, int]:
        """Tokenize a prompt; return with it the place of the answer. The levels' tokens are known afterwards.

        They are found by tokenizing the prompt with each level behind it; once they are known, one of these shows
        whether they are the same again.
        """
        words = self.frame.domain.stream_words()
        labels = [level.label for level in words.levels]
        encoded = self.encode([*spans, Span(labels[0])])
        place = encoded.starts[-1]
        if self._known is not None and place and encoded.tokens[place - 1 : place + 1] == self._mark:
            return encoded, place
        every = [encoded, *(self.encode([*spans, Span(label)]) for label in labels[1:])]
        first = first_difference(every, len(spans))
        if first is None or first == 0:
            raise InputError(
                f"the levels {', '.join(labels)} do not begin with different tokens of this model",
                source=f"domain {self.frame.domain.name}",
                remedy="give [stream] other labels: many models write a number digit by digit",
            )
        self._known = encoded.tokens[first - 1], tuple(each.tokens[first] for each in every)
        return encoded, first

    @property
    def _mark(self) -> tuple[int, ...]:
        """The tokens before the answer and of the first level, where the levels' tokens were found."""
        assert self._known is not None
        before, tokens = self._known
        return before, tokens[0]
