"""Chat frames: what a model expects around a system line and a user's turn, and before its answer."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from rella_cpp.engine.segments import Span
from rella_cpp.errors import InputError
from rella_cpp.prompts import PromptText
from rella_gguf import Header

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
    "{% else %}{% if not loop.first %}\n\n{% endif %}{{ m.content }}{% endif %}{% endfor %}"
)
CHAT_FORMATS = {"vicuna": _VICUNA, "chatml": _CHATML, "llama-2": _LLAMA_2, "zephyr": _ZEPHYR, "none": _NONE}
"""Chat templates by name. `vicuna` is v1.1, whose published system line stands in the template itself."""

# Places for content in a rendered template: private-use characters that no template writes by itself.
_SYSTEM, _USER, _ANSWER = "\uf8f0S\uf8f1", "\uf8f0U\uf8f1", "\uf8f0A\uf8f1"
_FROZEN_CLOCK = datetime(2025, 1, 1)
HISTORY, TARGET = 4, 5
"""Places of the history and the target among the spans that `ChatFrame.spans` returns."""


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """A chat template, taken apart around its content.

    `head` stands before the system line, `middle` between it and the user's turn, `tail` after that; `middle` is None
    where the template has no system role (then the line is folded into the user's turn). `lead` is what stands
    between the prompt and the answer's first letter, and belongs to the answer's token (vicuna: a blank).
    """

    name: str
    head: str
    middle: str | None
    tail: str
    lead: str

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
        near = get_close_matches(name, CHAT_FORMATS, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"unknown chat format {name!r}", remedy=f"{hint}there are {', '.join(CHAT_FORMATS)}")


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
    from jinja2 import TemplateError

    def render(roles: list[tuple[str, str]], prompt: bool) -> str:
        messages = [{"role": role, "content": content} for role, content in roles]
        return str(
            _compile(template).render(
                messages=messages,
                add_generation_prompt=prompt,
                enable_thinking=False,
                thinking=False,
                **names,
            )
        )

    user = [("user", _USER)]
    try:
        asked, text = user, ""
        if system:
            asked = [("system", _SYSTEM), *user]
            try:
                text = render(asked, True)
            except TemplateError:  # no system role
                text = ""
            if text.count(_SYSTEM) != 1 or text.find(_USER) < text.find(_SYSTEM):
                asked, text = user, ""
        text = text or render(asked, True)
        if text.count(_USER) != 1:
            raise TemplateError("it does not show the user's turn exactly once")
        lead = _lead(text, lambda: render([*asked, ("assistant", _ANSWER)], False))
    except (
        TemplateError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as error:
        raise InputError(
            f"the chat template fails to render ({error})",
            source=path,
            remedy=f"choose one with --chat-format: {', '.join(CHAT_FORMATS)}",
        ) from None
    before, tail = text.split(_USER)
    if len(asked) == 2:
        head, middle = before.split(_SYSTEM)
        return ChatFrame(name, head, middle, tail, lead)
    return ChatFrame(name, before, None, tail, lead)


def _lead(prompt: str, render_answered: Any) -> str:
    """Find what a template writes between the prompt and an answer; nothing where it does not say."""
    from jinja2 import TemplateError

    try:
        answered = str(render_answered())
    except TemplateError:
        return ""
    if not answered.startswith(prompt) or _ANSWER not in answered:
        return ""
    return answered[len(prompt) :].split(_ANSWER)[0]


@lru_cache(maxsize=16)
def _compile(template: str) -> Any:
    """Compile a template as transformers does, in a sandbox: a GGUF is untrusted."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = _FROZEN_CLOCK.strftime
    # transformers marks a trainer's target with {% generation %}; it writes nothing.
    return environment.from_string(re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", template))
