"""The place of a soft prompt in a prompt's text, where a domain's templates say `{{ soft }}`."""

from collections.abc import Sequence

from rella_cpp.engine.segments import Span
from rella_cpp.errors import InputError

SOFT = "\uf8f0SOFT\uf8f1"
"""What `{{ soft }}` in a template becomes: the place of a soft prompt. See `rella_cpp.adapters.soft_prompt`."""


def without_marker(spans: Sequence[Span]) -> list[Span]:
    """Take the marker out of spans: no soft prompt stands there."""
    return [span if span.trusted else span._replace(text=span.text.replace(SOFT, "")) for span in spans]


def at_marker(spans: Sequence[Span], domain: str) -> list[Span]:
    """Take the marker out of spans, and say where it stood.

    Raises
    ------
    InputError
        It is not there, or several times.

    """
    count = sum(span.text.count(SOFT) for span in spans)
    if count != 1:
        raise InputError(
            f"a prompt has {{{{ soft }}}} {count} times",
            source=f"domain {domain}",
            remedy="write it once in [template], where every prompt shows it",
        )
    place = next(number for number, span in enumerate(spans) if SOFT in span.text)
    found = spans[place]
    marked = found._replace(text=found.text.replace(SOFT, ""), soft=found.text.index(SOFT))
    return [*spans[:place], marked, *spans[place + 1 :]]
