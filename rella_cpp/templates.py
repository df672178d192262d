"""Jinja templates in a sandbox: a GGUF's chat template is untrusted, a domain file may come from anywhere."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

_FROZEN_CLOCK = datetime(2025, 1, 1)


class TemplateFailure(Exception):
    """A template cannot be compiled or fails to render."""


def render(source: str, names: Mapping[str, Any]) -> str:
    """Render a domain's template; a name it does not know is a failure.

    Raises
    ------
    TemplateFailure
        It cannot be compiled or fails.

    """
    return _render(source, names, chat=False)


def check(source: str) -> None:
    """Compile a domain's template.

    Raises
    ------
    TemplateFailure
        It cannot be compiled.

    """
    try:
        _compile(source, False)
    except Exception as error:  # Jinja's own kinds
        raise TemplateFailure(str(error) or type(error).__name__) from None


def mentions(source: str, name: str) -> bool:
    """Tell whether a domain's template that can be compiled asks for a name."""
    from jinja2 import Environment, meta

    return name in source and name in meta.find_undeclared_variables(Environment().parse(source))


def render_chat(source: str, names: Mapping[str, Any]) -> str:
    """Render a chat template as transformers does, but with a clock that stands still.

    Raises
    ------
    TemplateFailure
        It cannot be compiled, fails, or raises an exception of its own (`raise_exception`).

    """
    # transformers marks a trainer's target with {% generation %}; it writes nothing.
    return _render(re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", source), names, chat=True)


def _render(source: str, names: Mapping[str, Any], *, chat: bool) -> str:
    try:
        return str(_compile(source, chat).render(names))
    except Exception as error:  # a template can raise whatever Python can
        raise TemplateFailure(str(error) or type(error).__name__) from None


@lru_cache(maxsize=64)
def _compile(source: str, chat: bool) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if not chat:
        own = ImmutableSandboxedEnvironment(keep_trailing_newline=True, undefined=StrictUndefined)
        del own.filters["random"], own.globals["lipsum"]  # the same request gives the same prompt
        return own.from_string(source)
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    del environment.filters["random"], environment.globals["lipsum"]
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _FROZEN_CLOCK.strftime
    return environment.from_string(source)


def _raise(message: str) -> None:
    raise TemplateFailure(message)
