"""The chat frame of a model: by name, by its own template, or by what it is."""

from collections.abc import Callable

from rella_cpp.domains.templates.environments import TemplateFailure
from rella_cpp.prompts.chat_formats import CHAT_FORMATS, check_chat_format
from rella_cpp.prompts.chat_template import ChatFrame, Template, Turns, take_apart, take_turns
from rella_gguf import Header

_SPECIAL = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "sep_token": "seperator",  # as GGUF spells it
    "pad_token": "padding",
    "cls_token": "cls",
    "mask_token": "mask",
}
"""What transformers lets a template name, and the part of the GGUF's key that has its id."""
_SENTENCEPIECE = {"unknown": 0, "bos": 1, "eos": 2}
"""What llama.cpp takes where such a vocabulary does not say."""


def chat_frame(
    header: Header, name: str | None, *, system: bool, text_of: Callable[[int], str] = lambda token: ""
) -> ChatFrame:
    """Take the frame of a model: by name, else from its own chat template, else by what it is.

    A Llama model without a template whose name says Vicuna gets `vicuna`; any other without one gets `none`.

    Parameters
    ----------
    system
        Whether there is a system line.
    text_of
        Gives a token's text, for templates that write special tokens by their names.

    Raises
    ------
    InputError
        The name is unknown, or the template fails to render.

    """
    source = header.text("tokenizer.chat_template")
    special = _special_tokens(header, text_of)
    if name is not None:
        check_chat_format(name)
    elif source:
        own = Template(source, special, header.path)
        try:
            frame = take_apart("the model's own", own, system=system)
        except TemplateFailure as error:
            raise own.refused(error) from None
        return frame
    else:
        named = f"{header.text('general.name')} {header.text('general.basename')} {header.path.name}".lower()
        name = "vicuna" if header.architecture == "llama" and "vicuna" in named else "none"
    return take_apart(name, Template(CHAT_FORMATS[name], special, header.path, built_in=True), system=system)


def chat_turns(header: Header, name: str) -> Turns:
    """Take what a chat format, by its name, writes around the turns of a conversation.

    Raises
    ------
    InputError
        The name is unknown.

    """
    check_chat_format(name)
    return take_turns(Template(CHAT_FORMATS[name], {}, header.path, built_in=True))


def _special_tokens(header: Header, text_of: Callable[[int], str]) -> dict[str, str]:
    """Return the special tokens that a vocabulary has, by the name that templates give them."""
    usual = _SENTENCEPIECE if header.text("tokenizer.ggml.model") == "llama" else {}
    found: dict[str, str] = {}
    for name, key in _SPECIAL.items():
        token = header.integer(f"tokenizer.ggml.{key}_token_id")
        token = usual.get(key) if token is None else token
        if token is not None and (text := text_of(token)):
            found[name] = text
    return found
