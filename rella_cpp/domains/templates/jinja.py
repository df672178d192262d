"""Jinja templates: a GGUF's chat template is untrusted, a domain file may come from anywhere.

What came with the package is rendered here. Every other template is compiled and rendered in a process of its own
(`sandbox`), in Jinja's own sandbox, with bounds on its length, its time, its memory and what it writes.
"""

from collections.abc import Mapping
from typing import Any

from rella_cpp.domains.templates.environments import TemplateFailure, compiled
from rella_cpp.domains.templates.sandbox import SANDBOX


def warm_up() -> None:
    """Start the process that renders templates, so that it is there when the first one comes."""
    SANDBOX.start()


def render(source: str, names: Mapping[str, Any], *, built_in: bool = False) -> str:
    """Render a domain's template; a name it does not know is a failure.

    Parameters
    ----------
    built_in
        It came with this package.

    Raises
    ------
    TemplateFailure
        It cannot be compiled, fails, or goes beyond a bound.

    """
    return _render(source, names, chat=False, built_in=built_in)


def render_chat(source: str, names: Mapping[str, Any], *, built_in: bool = False) -> str:
    """Render a chat template as transformers does, but with a clock that stands still.

    Parameters
    ----------
    built_in
        It came with this package.

    Raises
    ------
    TemplateFailure
        It cannot be compiled, fails, goes beyond a bound, or raises an exception of its own (`raise_exception`).

    """
    return _render(source, names, chat=True, built_in=built_in)


def _render(source: str, names: Mapping[str, Any], *, chat: bool, built_in: bool) -> str:
    if not built_in:
        return SANDBOX.ask({"do": "render", "source": source, "chat": chat, "names": names})
    try:
        return str(compiled(source, chat).render(names))
    except Exception as error:  # a template can raise whatever Python can
        raise TemplateFailure(str(error) or type(error).__name__) from None


def check(source: str) -> None:
    """Compile a domain's template.

    Raises
    ------
    TemplateFailure
        It cannot be compiled.

    """
    if source:
        SANDBOX.ask({"do": "check", "source": source})


def mentions(source: str, name: str) -> bool:
    """Tell whether a domain's template that can be compiled asks for a name."""
    return name in source and name in SANDBOX.ask({"do": "names", "source": source}).split("\n")
