"""The parts of a prompt's text, and the templates that they are rendered by: a domain's own, or the built-in ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.templates.environments import TemplateFailure
from rella_cpp.domains.templates.jinja import render
from rella_cpp.errors import InputError
from rella_cpp.prompts.soft_marker import SOFT

# The built-in wording. A template sees: domain, user (fields by name), profile (the shown texts of the user's fields),
# history and item (both with text and fields; behaviors also rating and points), order, rated, preference, soft.
PROFILE = "{% if profile %}About the person: {{ profile | join('; ') }}.\n{% endif %}"
BEHAVIORS = """\
The person {{ domain.verb }} these {{ domain.plural }}
{%- if rated %} and rated them out of {{ '%g' | format(domain.rating.max) }} {{ domain.rating.plural }}{% endif %}
{%- if order == 'time' %}, the oldest first{% elif order == 'reversed' %}, the latest first{% endif %}:
{% for behavior in history -%}
{{ loop.index }}. {{ behavior.text }}{% if behavior.rating is not none %} - {{ behavior.points }}{% endif %}
{% endfor %}"""
"""A list of behaviors, as a sentence."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """The text of one prompt, in the parts between which it is cut; the last three make the user's turn."""

    system: str
    profile: str
    history: str
    target: str


def profile_of(domain: Domain, user: User) -> list[str]:
    """Return what a prompt says of a user, field by field."""
    fields = domain.user_fields(user)
    return [entry.show.replace("{}", fields[entry.name]) for entry in domain.user if entry.name in fields]


def names_of(domain: Domain, behaviors: Sequence[Behavior], show: Callable[[Item], str]) -> dict[str, Any]:
    """Return what a template sees of behaviors, their items shown by `show`, and of the domain."""
    scale = domain.rating
    history = [
        {
            "text": show(behavior.item),
            "fields": domain.item_fields(behavior.item),
            "rating": behavior.rating,
            "points": "" if behavior.rating is None or scale is None else scale.text_of(behavior.rating),
        }
        for behavior in behaviors
    ]
    rated = any(behavior.rating is not None for behavior in behaviors)
    return {"domain": domain, "history": history, "rated": rated, "soft": SOFT}


def render_part(domain: Domain, part: str, source: str, names: Mapping[str, Any]) -> str:
    """Render a domain's template of one part of a prompt.

    Raises
    ------
    InputError
        It fails.

    """
    try:
        return render(source, names, built_in=source != getattr(domain.templates, part, None))
    except TemplateFailure as error:
        raise InputError(
            f"the template {part} fails: {error}", source=f"domain {domain.name}", remedy="mend [template] in its file"
        ) from None
