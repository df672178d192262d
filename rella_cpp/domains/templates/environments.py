"""The Jinja environments that templates are compiled in."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

_FROZEN_CLOCK = datetime(2025, 1, 1)


class TemplateFailure(Exception):
    """A template cannot be compiled, fails to render, or goes beyond a bound."""


class BeyondBounds(TemplateFailure):
    """A template takes too much time, memory or room: it would do so again."""


@lru_cache(maxsize=64)
def compiled(source: str, chat: bool) -> Any:
    """Compile a chat template (`chat`) or a domain's template; Jinja's own exceptions tell what is wrong."""
    return _environment(chat).from_string(source)


def names_in(source: str) -> set[str]:
    """Return the names that a domain's template asks for."""
    from jinja2 import meta

    return meta.find_undeclared_variables(_environment(False).parse(source))


@lru_cache(maxsize=2)
def _environment(chat: bool) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if chat:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _generation_tag()],
            finalize=_shown,
        )
        environment.filters["tojson"] = _tojson
        environment.globals.update(
            raise_exception=_raise, strftime_now=_FROZEN_CLOCK.strftime, dict=_Dict(), namespace=_namespace()
        )
    else:
        environment = ImmutableSandboxedEnvironment(
            keep_trailing_newline=True, undefined=StrictUndefined, finalize=_shown
        )
    del environment.filters["random"], environment.globals["lipsum"]  # the same request gives the same prompt
    return environment


def _shown(value: object) -> object:
    """Refuse to write what has no text of its own: a method without its brackets is shown by its address in memory."""
    if not isinstance(value, str) and " at 0x" in str(value):
        raise TemplateFailure(f"it writes {type(value).__name__.replace('_', ' ')} where a value is meant")
    return value


def _raise(message: object) -> NoReturn:
    raise TemplateFailure(str(message))


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as transformers' filter does, which, other than Jinja's, escapes no HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _Dict:
    """`dict` for templates: makes dictionaries, and leads to nothing of the class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


def _namespace() -> type[Any]:
    """Return `namespace` for templates: as Jinja's, but no name in it may begin with an underscore."""
    from jinja2.exceptions import SecurityError
    from jinja2.utils import Namespace

    class Plain(Namespace):
        def __init__(*args: Any, **kwargs: Any) -> None:
            self, *given = args
            known = dict(*given, **kwargs)
            for name in known:
                Plain._check(name)
            Namespace.__init__(self, known)

        def __setitem__(self, name: str, value: Any) -> None:
            Plain._check(name)
            super().__setitem__(name, value)

        @staticmethod
        def _check(name: object) -> None:
            if isinstance(name, str) and name.startswith("_"):
                raise SecurityError(f"a namespace takes no name that begins with an underscore, such as {name!r}")

    return Plain


def _generation_tag() -> type[Any]:
    """Return the block tag `{% generation %}`, by which transformers marks what a model is trained to write."""
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_as_it_is"), [], [], body).set_lineno(line)

        def _as_it_is(self, caller: Callable[[], str]) -> str:
            return caller()

    return Generation
