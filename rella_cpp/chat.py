"""Chat frames: what a model expects around a system line and a user's turn, and before its answer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rella_cpp.engine.segments import Span
from rella_cpp.errors import InputError
from rella_cpp.prompts import PromptText
from rella_cpp.templates import TemplateFailure, render_chat
from rella_gguf import Header
from rella_gguf.near_names import unknown_name

_VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}"
    "{% elif m.role == 'user' %} USER: {{ m.content }}{% else %} ASSISTANT: {{ m.content }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'system' %}[INST] <<SYS>>\n{{ m.content }}\n<</SYS>>\n\n"
    "{% elif m.role == 'user' %}{% if loop.first %}[INST] {% endif %}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}"
)
_ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_NONE = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}"
    "{% else %}{{ '' if loop.first else '\n\n' }}{{ m.content }}{% endif %}{% endfor %}"
)
CHAT_FORMATS = {"vicuna": _VICUNA, "chatml": _CHATML, "llama-2": _LLAMA_2, "zephyr": _ZEPHYR, "none": _NONE}
"""Chat templates by name. `vicuna` is v1.1, whose published system line stands in the template itself."""

# Places for content in a rendered template: private-use characters that no template writes by itself.
_SYSTEM, _USER, _ANSWER = "\uf8f0S\uf8f1", "\uf8f0U\uf8f1", "\uf8f0A\uf8f1"
HISTORY, TARGET = 4, 5
"""Places of the history and the target among the spans that `ChatFrame.spans` returns."""


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """A chat template, taken apart around its content.

    `head` stands before the system line, `middle` between it and the user's turn, `tail` after that; `middle` is None
    where the template has no system role (then the line is folded into the user's turn). `lead` is what stands
    between the prompt and the answer's first letter, and belongs to the answer's token (vicuna: a blank). `end` is what
    stands behind an answer (chatml: `<|im_end|>`); empty where the template does not say.
    """

    name: str
    head: str
    middle: str | None
    tail: str
    lead: str
    end: str = ""

    def spans(self, text: PromptText) -> list[Span]:
        """Frame a prompt: head, system, middle, profile, history, target, tail."""
        folded = self.middle is None and text.system
        return [
            Span(self.head, trusted=True),
            Span(f"{text.system}\n\n" if folded else text.system),
            Span(self.middle or "", trusted=True),
            Span(text.profile),
            Span(text.history),
            Span(text.target),
            Span(self.tail, trusted=True),
        ]


def check_chat_format(name: str) -> None:
    """Refuse an unknown chat format.

    Raises
    ------
    InputError
        There is none of that name; the nearest are suggested.

    """
    if name not in CHAT_FORMATS:
        raise unknown_name("chat format", name, CHAT_FORMATS)


def chat_frame(header: Header, name: str | None, *, system: bool, bos: str = "", eos: str = "") -> ChatFrame:
    """Take the frame of a model: by name, else from its own chat template, else by what it is.

    A Llama model without a template whose name says Vicuna gets `vicuna`; any other without one gets `none`.

    Parameters
    ----------
    system
        Whether there is a system line.
    bos, eos
        The model's BOS and EOS as text, for templates that write them.

    Raises
    ------
    InputError
        The name is unknown, or the template fails to render.

    """
    template = header.text("tokenizer.chat_template")
    if name is not None:
        check_chat_format(name)
    elif template:
        return _take_apart("the model's own", template, header.path, system, {"bos_token": bos, "eos_token": eos})
    else:
        named = f"{header.text('general.name')} {header.text('general.basename')} {header.path.name}".lower()
        name = "vicuna" if header.architecture == "llama" and "vicuna" in named else "none"
    return _take_apart(name, CHAT_FORMATS[name], header.path, system, {"bos_token": bos, "eos_token": eos})


def _take_apart(name: str, template: str, path: Path, system: bool, names: dict[str, str]) -> ChatFrame:
    def written(*messages: tuple[str, str], ask: bool = True) -> str:
        roles = [{"role": role, "content": content} for role, content in messages]
        switches = {"add_generation_prompt": ask, "enable_thinking": False, "thinking": False}
        return render_chat(template, {"messages": roles, **switches, **names})

    asked = [("user", _USER)]
    try:
        text = _with_system(written) if system else ""
        if text:
            asked.insert(0, ("system", _SYSTEM))
        text = text or written(*asked)
        if text.count(_USER) != 1:
            raise TemplateFailure("it does not show the user's turn exactly once")
    except TemplateFailure as error:
        raise InputError(
            f"the chat template fails to render ({error})",
            source=path,
            remedy=f"choose one with --chat-format: {', '.join(CHAT_FORMATS)}",
        ) from None
    lead, end = _around_answer(text, lambda: written(*asked, ("assistant", _ANSWER), ask=False))
    before, tail = text.split(_USER)
    head, found, middle = before.partition(_SYSTEM)
    return ChatFrame(name, head, middle if found else None, tail, lead, end)


def _with_system(written: Callable[..., str]) -> str:
    """Render with a system message; nothing where the template has no place for one before the user's turn."""
    try:
        text = written(("system", _SYSTEM), ("user", _USER))
    except TemplateFailure:
        return ""
    return text if text.count(_SYSTEM) == 1 and text.find(_SYSTEM) < text.find(_USER) else ""


def _around_answer(prompt: str, answered: Callable[[], str]) -> tuple[str, str]:
    """Find what a template writes between the prompt and an answer, and behind it; nothing where it does not say."""
    try:
        text = answered()
    except TemplateFailure:
        return "", ""
    if text.count(_ANSWER) != 1:
        return "", ""
    before, end = text.split(_ANSWER)
    return (before[len(prompt) :] if before.startswith(prompt) else ""), end.strip()
