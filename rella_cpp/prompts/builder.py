"""From a prompt's text to a question for one model: framed, tokenised, its answer tokens found."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rella_cpp.adapters.soft_prompt import LoadedSoftPrompt
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Item
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.segments import Prompt, Span
from rella_cpp.errors import ContextError
from rella_cpp.prompts.chat import chat_frame, chat_turns
from rella_cpp.prompts.chat_template import HISTORY, TARGET, ChatFrame
from rella_cpp.prompts.choice_question import ChoiceQuestion, choice_question
from rella_cpp.prompts.layout import Layout, check_layout
from rella_cpp.prompts.lengths import longest_field
from rella_cpp.prompts.question import Question, yes_no_question
from rella_cpp.prompts.rendering import PromptText
from rella_cpp.prompts.soft_marker import at_marker, without_marker
from rella_cpp.prompts.streams.frame import StreamFrame
from rella_cpp.prompts.streams.text import StreamText
from rella_cpp.prompts.streams.tokenizer import StreamTokenizer

logger = logging.getLogger("rella_cpp")


@dataclass(frozen=True, slots=True)
class GenerationPrompt:
    """A prompt to go on from, what ends the answer in its chat frame, and what tells it from others."""

    prompt: Prompt
    end: str
    key: str


class PromptBuilder:
    """Asks one model in one domain's words.

    Parameters
    ----------
    engine
        The model.
    domain
        Its system line, answers and lead.
    chat_format
        Chat format by name; None: the model's own, and of a stream none.
    layout
        How prompts of one target are laid out.

    Attributes
    ----------
    layout
        As given.
    soft
        A soft prompt to put into each question, if there is one.

    Raises
    ------
    InputError
        The layout or the chat format is unknown, the domain does not say how a stream is written, or the model's own
        chat template fails.

    """

    def __init__(self, engine: Engine, domain: Domain, chat_format: str | None, layout: Layout = "question") -> None:
        check_layout(layout)
        self._engine, self.domain, self.layout = engine, domain, layout
        self._chat_format, self._frames = chat_format, dict[bool, ChatFrame]()
        self._marked = domain.templates.marked
        self.soft: LoadedSoftPrompt | None = None
        if layout == "question":
            self._check_frame()
            return
        domain.stream_words()
        turns = None if chat_format in (None, "none") else chat_turns(engine.header, chat_format)
        self._streams = StreamTokenizer(engine.encode, StreamFrame(domain, turns))

    def _check_frame(self) -> None:
        """Warn of a frame in which no answer can stand."""
        if self.frame.inside and self.domain.templates.lead is None:
            logger.warning(
                "the chat template of %s ends every prompt in %r and shows no answer behind it: the answer is asked "
                "inside it (choose another frame with --chat-format)",
                self._engine.header.path,
                self.frame.inside,
            )

    @property
    def n_ctx(self) -> int:
        """Tokens that a prompt may have."""
        return self._engine.n_ctx

    def question(self, text: PromptText) -> Question:
        """Make a yes-or-no question of a domain's prompt."""
        return self._question(self.frame, text)

    @property
    def frame(self) -> ChatFrame:
        """The chat frame of questions with the domain's system line."""
        return self._reframed(system=bool(self.domain.system))

    @property
    def chat_format(self) -> str:
        """The name of the chat frame around prompts of this layout."""
        return self.frame.name if self.layout == "question" else self._chat_format or "none"

    @property
    def given_chat_format(self) -> str | None:
        """The name that was given; None: the model's own, and of a stream none."""
        return self._chat_format

    @property
    def stream_frame(self) -> StreamFrame:
        """What writes streams, in a layout of streams."""
        return self._streams.frame

    @property
    def wording(self) -> str:
        """SHA-256 of all that prompts of this layout take from the domain."""
        return self.domain.fingerprint if self.layout == "question" else self.domain.stream_fingerprint

    def stream(self, text: StreamText) -> Question:
        """Ask which rating comes next in a stream."""
        return self._streams.question(text, self._embeddings)

    def asked(self, text: PromptText | StreamText) -> Question:
        """Make a question of a prompt, or of a stream."""
        return self.stream(text) if isinstance(text, StreamText) else self.question(text)

    @property
    def lead(self) -> str:
        """What stands between the prompt and the answer, and belongs to the answer's token."""
        return self._leading(self.frame).lead

    def ready(self, text: str) -> Question:
        """Make a question of a ready prompt: the user's turn, with no system line of the domain's.

        Raises
        ------
        ContextError
            It does not fit the context.

        """
        question = self._question(self._reframed(system=False), PromptText("", "", "", text))
        if len(question) > self._engine.n_ctx:
            raise ContextError(
                f"a prompt of {len(question)} tokens does not fit the context of {self._engine.n_ctx}",
                remedy="raise --ctx, or leave it out",
            )
        return question

    def choice(self, text: PromptText, answers: Sequence[str]) -> ChoiceQuestion:
        """Make a question of a prompt that any of several texts may answer; see `choice_question`."""
        frame = self._leading(self._reframed(system=bool(text.system)))
        return choice_question(self._engine.encode, self.spans(frame, text), answers, frame.lead, self._embeddings)

    def generation(self, text: PromptText) -> GenerationPrompt:
        """Frame a prompt for a text that the model is to write."""
        frame = self._reframed(system=bool(text.system))
        encoded = self._engine.encode(without_marker(frame.spans(text)) if self._marked else frame.spans(text))
        borders = (encoded.starts[HISTORY], encoded.starts[TARGET])
        return GenerationPrompt(
            Prompt.cut(encoded.tokens, borders), frame.end, f"{encoded.tokens} {borders} {frame.end}"
        )

    def too_long(self, items: Mapping[int, Item], tokens: int, place: str | None, remedy: str) -> ContextError:
        """Say that a prompt does not fit even with no history, and which field of an item makes it long, if one does.

        Parameters
        ----------
        items
            What the prompt is about, by number among all targets.
        tokens
            Tokens of the prompt.
        place, remedy
            Where it is and what to do where no field alone is the reason.

        """
        finding = f"a prompt of {tokens} tokens with no history does not fit the context of {self.n_ctx}"
        for number, item in items.items():
            if told := longest_field(self.domain, item, min(tokens, self.n_ctx), self._engine.encode):
                return ContextError(f"{told}: {finding}", place=f"item[{number}]", remedy="shorten it, or raise --ctx")
        return ContextError(finding, place=place, remedy=remedy)

    def _reframed(self, *, system: bool) -> ChatFrame:
        """Return the frame in use with or without a system line; each is taken apart once."""
        if system not in self._frames:
            header, text_of = self._engine.header, self._engine.vocabulary.text
            self._frames[system] = chat_frame(header, self._chat_format, system=system, text_of=text_of)
        return self._frames[system]

    def _question(self, frame: ChatFrame, text: PromptText) -> Question:
        frame = self._leading(frame)
        return yes_no_question(
            self._engine.encode, self.spans(frame, text), self.domain.answers, frame.lead, self._embeddings
        )

    @property
    def _embeddings(self) -> npt.NDArray[np.float32] | None:
        return None if self.soft is None else self.soft.embeddings

    def spans(self, frame: ChatFrame, text: PromptText) -> list[Span]:
        """Frame a prompt, and find the place of the soft prompt in it where the domain's templates say one.

        Raises
        ------
        InputError
            They do, and this prompt does not have it, or several times.

        """
        spans = frame.spans(text)
        if not self._marked:
            return spans
        return without_marker(spans) if self.soft is None else at_marker(spans, self.domain.name)

    def _leading(self, frame: ChatFrame) -> ChatFrame:
        """Put the domain's own lead, if it has one, in the place of the frame's."""
        own = self.domain.templates.lead
        return frame if own is None else replace(frame, opening="", lead=own)
