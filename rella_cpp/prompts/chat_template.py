"""A chat template taken apart: what it writes around a system line and a user's turn, and before an answer.

What a template writes by itself is the frame, and trusted: control tokens are recognised in it. What it makes of the
content never is. Every prompt is rendered with its real content; the frame tells where that stands.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import commonprefix
from pathlib import Path
from typing import NamedTuple

from rella_cpp.domains.templates.environments import BeyondBounds, TemplateFailure
from rella_cpp.domains.templates.jinja import render_chat
from rella_cpp.engine.segments import Span
from rella_cpp.errors import InputError
from rella_cpp.prompts.chat_formats import CHAT_FORMATS
from rella_cpp.prompts.rendering import PromptText

HISTORY, TARGET = 4, 5
"""Places of the history and the target among the spans that `ChatFrame.spans` returns."""

# Places for content in a rendered template: letters and digits, which filters that change no words leave as they are.
_SYSTEM, _USER, _ANSWER, _THOUGHT = (f"Rella0{word}0q7X" for word in ("System", "User", "Answer", "Thought"))
_THOUGHT_MARK = re.compile(
    r"([<\[◁]\|?)((?:[\w:]*:)?(?:think|thinking|thought|reason|reasoning))(\|?[>\]▷])\s*$", re.IGNORECASE
)
"""A mark that opens a thought, at the end of a text."""
_MARK = re.compile(r"[<\[◁][^<>\[\]◁▷\s]+[>\]▷]")
_NEAR = 64
_WORDS = re.compile(r"[^A-Za-z0-9]+")
"""All but the letters and digits that no filter on content escapes."""


class Turns(NamedTuple):
    """What a chat frame writes around turns that alternate: before the first, before an answer, and behind one."""

    head: str
    ask: str
    between: str


class Message(NamedTuple):
    """One message of a conversation; `thought` is what an assistant thought before it answered."""

    role: str
    content: str
    thought: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template, with the special tokens that it may name.

    `parts` says that it takes content as a list of parts: `[{"type": "text", "text": …}]`.
    """

    source: str
    special: Mapping[str, str]
    path: Path
    built_in: bool = False
    parts: bool = False

    def write(self, *messages: Message, ask: bool = True) -> str:
        """Render a conversation; `ask` opens the answer.

        Raises
        ------
        TemplateFailure
            It fails.

        """
        names = {
            "messages": [self._message(message) for message in messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": ask,
            "enable_thinking": False,
            "thinking": False,
            **self.special,
        }
        return render_chat(self.source, names, built_in=self.built_in)

    def refused(self, error: TemplateFailure) -> InputError:
        """Say in the user's words that it failed."""
        return InputError(
            f"the chat template fails to render ({error})",
            source=self.path,
            remedy=f"choose one with --chat-format: {', '.join(CHAT_FORMATS)}",
        )

    def _message(self, message: Message) -> dict[str, object]:
        content: object = [{"type": "text", "text": message.content}] if self.parts else message.content
        known: dict[str, object] = {"role": message.role, "content": content}
        if message.thought is not None:
            known |= dict.fromkeys(("reasoning_content", "reasoning", "thinking"), message.thought)
        return known


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """A chat template, taken apart around its content.

    Attributes
    ----------
    head, middle, tail
        What stands before the system line, between it and the user's turn, and after that. `middle` is None where the
        template has no system role: then the line is folded into the user's turn.
    opening
        What the template writes behind that before an answer, but for blanks at its end (gpt-oss: a channel's marker).
    lead
        Those blanks, which belong to the answer's token (vicuna: one).
    end
        What stands behind an answer (chatml: `<|im_end|>`); empty where the template does not say.
    inside
        What the prompt opens and the template shows no end of (`<think>`): the answer is asked inside it.
    template
        Renders each prompt; None: it is known to write content as it is.

    """

    name: str
    head: str
    middle: str | None
    tail: str
    lead: str
    end: str = ""
    opening: str = ""
    inside: str = ""
    template: Template | None = None
    _systems: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def spans(self, text: PromptText) -> list[Span]:
        """Frame a prompt: head, system, middle, profile, history, target, tail.

        Raises
        ------
        InputError
            The template fails with this content, or writes another frame around it.

        """
        system = f"{text.system}\n\n" if self.middle is None and text.system else text.system
        parts = [system, text.profile, text.history, text.target]
        if self.template is not None:
            try:
                parts = self._rendered(self.template, parts)
            except TemplateFailure as error:
                raise self.template.refused(error) from None
        system, profile, history, target = parts
        return [
            Span(self.head, trusted=True),
            Span(system),
            Span(self.middle or "", trusted=True),
            Span(profile),
            Span(history),
            Span(target),
            Span(self.tail + self.opening, trusted=True),
        ]

    def _rendered(self, template: Template, parts: list[str]) -> list[str]:
        """Return the parts as the template writes them: some strip blanks, others quote."""
        system, turn = parts[0], "".join(parts[1:])
        if self.middle is None:
            shown = _between(template.write(Message("user", system + turn)), self.head, self.tail)
            return parts if shown == system + turn else _cut_alike(_with_all(shown, system + turn), parts)
        if system not in self._systems:
            known = template.write(Message("system", system), Message("user", _USER))
            self._systems[system] = _with_all(_between(known, self.head, self.middle + _USER + self.tail), system)
        shown = self._systems[system]
        written = template.write(Message("system", system), Message("user", turn))
        user = _between(written, self.head + shown + self.middle, self.tail)
        return [shown, *(parts[1:] if user == turn else _cut_alike(_with_all(user, turn), parts[1:]))]


def take_turns(template: Template) -> Turns:
    """Find out what a chat template writes around a conversation of several turns, without a system line.

    Raises
    ------
    TemplateFailure
        It fails, or does not show the turns one after the other.

    """
    turns = [_USER, _ANSWER, _SYSTEM, _THOUGHT]
    roles = ("user", "assistant", "user", "assistant")
    text = template.write(*map(Message, roles, turns), ask=False)
    pieces: list[str] = []
    for turn in turns:
        piece, found, text = text.partition(turn)
        if not found:
            raise TemplateFailure("it does not show a conversation's turns one after the other")
        pieces.append(piece)
    return Turns(*pieces[:3])


def _between(text: str, before: str, after: str) -> str:
    if len(text) < len(before) + len(after) or not (text.startswith(before) and text.endswith(after)):
        raise TemplateFailure("around this prompt it writes another frame than around others")
    return text[len(before) : len(text) - len(after)]


def _with_all(shown: str, content: str) -> str:
    """Refuse what a template made of content where it leaves out a letter or digit, or puts in a mark of its own."""
    letters = iter(_WORDS.sub("", shown).lower())
    if not all(letter in letters for letter in _WORDS.sub("", content).lower()):
        raise TemplateFailure("it leaves out part of this prompt, or changes its words")
    if Counter(_MARK.findall(shown)) - Counter(_MARK.findall(content)):
        raise TemplateFailure("around this prompt it writes another frame than around others")
    return shown


def _cut_alike(text: str, parts: Sequence[str]) -> list[str]:
    """Cut what a template made of some parts where these met: behind as many characters that are no blanks.

    Of the blanks there, those that ended the part before stay with it. So a cut depends on nothing behind it.
    """
    solid = [place for place, letter in enumerate(text) if not letter.isspace()]
    ends, before = [0], ""
    for part in parts[:-1]:
        before += part
        stripped = before.rstrip()
        count = sum(not letter.isspace() for letter in stripped)
        end = 0 if not count else solid[count - 1] + 1 if count <= len(solid) else len(text)
        ends.append(end + len(commonprefix([before[len(stripped) :], text[end:]])))
    return [text[start:end] for start, end in zip(ends, [*ends[1:], len(text)], strict=True)]


def take_apart(name: str, template: Template, *, system: bool) -> ChatFrame:
    """Find out what a chat template writes around content, with a system line or without one.

    Content is tried as text, and where that is not shown, as a list of parts.

    Raises
    ------
    TemplateFailure
        It fails, or does not show the user's turn exactly once.

    """
    found: list[ChatFrame] = []
    failures: list[TemplateFailure] = []
    for parts in (False, True):
        try:
            frame = _framed(name, replace(template, parts=parts), system=system)
        except BeyondBounds:  # another try would take as long
            raise
        except TemplateFailure as error:
            failures.append(error)
            continue
        if frame.middle is not None or not system:
            return frame
        found.append(frame)
    if not found:
        raise failures[0]
    return found[0]


def _framed(name: str, template: Template, *, system: bool) -> ChatFrame:
    asked = [Message("user", _USER)]
    text = _with_system(template) if system else ""
    if text:
        asked.insert(0, Message("system", _SYSTEM))
    text = text or template.write(*asked)
    if text.count(_USER) != 1 or "{'type': 'text'" in text:
        raise TemplateFailure("it does not show the user's turn exactly once")
    before, tail = text.split(_USER)
    head, found, middle = before.partition(_SYSTEM)
    lead, end, inside = _around_answer(template, asked, text)
    opening = lead.rstrip(" ")
    own = None if template.built_in else template
    return ChatFrame(
        name, head, middle if found else None, tail, lead[len(opening) :], end, opening, inside, template=own
    )


def _with_system(template: Template) -> str:
    """Render with a system message; nothing where the template has no place for one before the user's turn."""
    try:
        text = template.write(Message("system", _SYSTEM), Message("user", _USER))
    except BeyondBounds:
        raise
    except TemplateFailure:
        return ""
    return text if text.count(_SYSTEM) == 1 and text.find(_SYSTEM) < text.find(_USER) else ""


def _around_answer(template: Template, asked: Sequence[Message], prompt: str) -> tuple[str, str, str]:
    """Find what a template writes between a prompt and an answer, behind it, and what it leaves open before it."""
    before, end = _answered(template, asked, Message("assistant", _ANSWER))
    if before.startswith(prompt):
        return before[len(prompt) :], end, ""
    opened = prompt[_whole_mark(prompt, len(commonprefix([prompt, before]))) :] if before else ""
    mark = _THOUGHT_MARK.search(opened or prompt[-_NEAR:])
    if mark is None and (before.endswith(opened) or not _MARK.fullmatch(opened.strip())):
        return "", end, ""
    thought, _ = _answered(template, asked, Message("assistant", _ANSWER, _THOUGHT))
    shown, found, closing = thought.removeprefix(prompt).partition(_THOUGHT)
    if found and thought.startswith(prompt) and not shown.strip():
        return shown + closing, end, ""
    if mark is None:
        return "", end, opened.strip()
    for closing in (f"{mark[1]}/{mark[2]}{mark[3]}", f"{mark[1]}end_{mark[2]}{mark[3]}"):
        if closing in template.source:
            return f"\n{closing}\n\n", end, ""
    return "", end, mark[0].strip()


def _whole_mark(text: str, place: int) -> int:
    """Return where a mark begins that a place lies in; the place where it lies in none."""
    start = max(text.rfind(bracket, 0, place) for bracket in "<[◁")
    return place if start < 0 or any(bracket in text[start:place] for bracket in ">]▷") else start


def _answered(template: Template, asked: Sequence[Message], answer: Message) -> tuple[str, str]:
    """Return what stands before an answer, and behind it; nothing where the template does not say."""
    try:
        before, *rest = template.write(*asked, answer, ask=False).split(_ANSWER)
    except TemplateFailure:
        return "", ""
    return (before, rest[0].strip()) if len(rest) == 1 else ("", "")
