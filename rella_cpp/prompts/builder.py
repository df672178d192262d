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
from rella_cpp.prompts.chat import chat_frame
from rella_cpp.prompts.chat_formats import CHAT_FORMATS
from rella_cpp.prompts.chat_template import HISTORY, TARGET, ChatFrame
from rella_cpp.prompts.choice_question import ChoiceQuestion, choice_question
from rella_cpp.prompts.lengths import longest_field
from rella_cpp.prompts.question import Question, yes_no_question
from rella_cpp.prompts.rendering import PromptText
from rella_cpp.prompts.soft_marker import at_marker, without_marker

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
        Chat format by name; None: the model's own.

    Attributes
    ----------
    frame
        The chat frame in use.
    soft
        A soft prompt to put into each question, if there is one.

    """

    def __init__(self, engine: Engine, domain: Domain, chat_format: str | None) -> None:
        self._engine, self.domain = engine, domain
        self.frame = self._frame(chat_format, system=bool(domain.system))
        self._frames = {bool(domain.system): self.frame}
        self._marked = domain.templates.marked
        if self.frame.inside and domain.templates.lead is None:
            logger.warning(
                "the chat template of %s ends every prompt in %r and shows no answer behind it: the answer is asked "
                "inside it (choose another frame with --chat-format)",
                engine.header.path,
                self.frame.inside,
            )
        self.soft: LoadedSoftPrompt | None = None

    @property
    def n_ctx(self) -> int:
        """Tokens that a prompt may have."""
        return self._engine.n_ctx

    def question(self, text: PromptText) -> Question:
        """Make a yes-or-no question of a domain's prompt."""
        return self._question(self.frame, text)

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
            named = self.frame.name if self.frame.name in CHAT_FORMATS else None
            self._frames[system] = self._frame(named, system=system)
        return self._frames[system]

    def _frame(self, name: str | None, *, system: bool) -> ChatFrame:
        return chat_frame(self._engine.header, name, system=system, text_of=self._engine.vocabulary.text)

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
