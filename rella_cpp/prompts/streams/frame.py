"""A stream as marked text: its lines as a domain writes them, or each item a user's turn and each rating an answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rella_cpp.domains.domain import Domain
from rella_cpp.engine.segments import Span
from rella_cpp.prompts.chat_template import Turns
from rella_cpp.prompts.streams.text import Line, StreamText


@dataclass(frozen=True, slots=True)
class AnsweredText:
    """A whole stream, its last rating included, and the characters of each label: where it begins and ends."""

    spans: tuple[Span, ...]
    labels: tuple[tuple[int, int], ...]

    @property
    def text(self) -> str:
        """The stream as one text."""
        return "".join(span.text for span in self.spans)


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """Frames streams.

    Attributes
    ----------
    domain
        Says how lines are written.
    turns
        What a chat frame writes around each item and each rating; None: there is no frame.

    """

    domain: Domain
    turns: Turns | None = None

    def spans(self, text: StreamText) -> tuple[list[Span], list[int]]:
        """Return a stream up to the target's rating, and the numbers of the spans that begin lines."""
        spans, starts = self._head(text.header), list[int]()
        for line in text.lines:
            starts.append(len(spans))
            spans += [*self._asked(line.item), Span(line.label), *self._behind()]
        starts.append(len(spans))
        return [*spans, *self._asked(text.target)], starts

    def answered(self, header: str, lines: Sequence[Line]) -> AnsweredText:
        """Return a stream whose last line has its rating, too: a sequence to train on.

        Before each label it is, to the character, the prompt that asks for it. A frame's last turn stays open.
        """
        spans, labels = self._head(header), list[tuple[int, int]]()
        place = sum(len(span.text) for span in spans)
        for number, line in enumerate(lines):
            behind = self._behind()
            if self.turns is not None and number == len(lines) - 1:
                behind.pop()
            asked, label = self._asked(line.item), Span(line.label)
            start = place + sum(len(span.text) for span in asked)
            labels.append((start, start + len(line.label)))
            place = labels[-1][1] + sum(len(span.text) for span in behind)
            spans += [*asked, label, *behind]
        return AnsweredText(tuple(spans), tuple(labels))

    def turns_of(self, header: str, lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
        """Yield a stream as a conversation: what the user says of each item, and the rating that answers it."""
        before, lead, behind = self.domain.stream_words().around
        for number, line in enumerate(lines):
            yield f"{'' if number else header}{before}{line.item}{lead.rstrip()}", line.label + behind

    def _head(self, header: str) -> list[Span]:
        return [Span(header)] if self.turns is None else [Span(self.turns.head, trusted=True), Span(header)]

    def _asked(self, item: str) -> list[Span]:
        before, lead, _ = self.domain.stream_words().around
        if self.turns is None:
            return [Span(before + item), Span(lead)]
        return [Span(before + item), Span(lead.rstrip()), Span(self.turns.ask, trusted=True)]

    def _behind(self) -> list[Span]:
        _, _, behind = self.domain.stream_words().around
        if self.turns is None:
            return [Span(f"{behind}\n")]
        return [Span(behind), Span(self.turns.between, trusted=True)]
