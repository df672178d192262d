"""A user, a history and a target item → the text of a prompt, by a domain's words or its own templates.

The text comes in the parts that the engine decodes apart: system, profile, history, target (with the question).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any, Literal

from rella_cpp.domains import Domain
from rella_cpp.errors import InputError
from rella_cpp.records import Behavior, Item, User
from rella_cpp.templates import TemplateFailure, render

Order = Literal["time", "similarity", "reversed", "shared"]

# The built-in wording. A template sees: domain, user (fields by name), profile (the shown texts of the user's fields),
# history and item (both with text and fields; behaviors also rating, points and stars), order, rated.
_PROFILE = "{% if profile %}About the person: {{ profile | join('; ') }}.\n{% endif %}"
_HISTORY = """\
{% if history -%}
The person {{ domain.verb }} these {{ domain.plural }}
{%- if rated %} and rated them out of {{ '%g' | format(domain.rating.max) }} {{ domain.rating.plural }}{% endif %}
{%- if order == 'time' %}, the oldest first{% elif order == 'reversed' %}, the latest first{% endif %}:
{% for behavior in history -%}
{{ loop.index }}. {{ behavior.text }}{% if behavior.rating is not none %} - {{ behavior.points }}{% endif %}
{% endfor %}
{%- else -%}
Nothing is known of what the person {{ domain.verb }} before.
{% endif %}"""
_TARGET = "\nNow consider this {{ domain.noun }}: {{ item.text }}\n{{ domain.question }}"
_ITEM = (
    "{{ domain.noun | capitalize }}."
    "{% for field in shown %} {{ field.label }}: {{ field.value }}{{ '' if field.value[-1] in '.!?' else '.' }}"
    "{% endfor %}"
)


@dataclass(frozen=True, slots=True)
class PromptText:
    """The text of one prompt, in the parts between which it is cut; the last three make the user's turn."""

    system: str
    profile: str
    history: str
    target: str


def write_prompt(
    domain: Domain, user: User, behaviors: Sequence[Behavior], item: Item, order: Order = "time"
) -> PromptText:
    """Write the prompt that asks whether the user will like the item.

    Parameters
    ----------
    behaviors
        Those to show, in the order to show them.
    order
        What that order is; only the wording depends on it.

    Raises
    ------
    InputError
        A record does not fit the domain, or the domain's own template fails.

    """
    fields = domain.user_fields(user)
    profile = [entry.show.replace("{}", fields[entry.name]) for entry in domain.user if entry.name in fields]
    names: dict[str, Any] = {
        "domain": domain,
        "user": fields,
        "profile": profile,
        "history": [_behavior_view(domain, behavior) for behavior in behaviors],
        "item": _item_view(domain, item),
        "order": order,
        "rated": any(behavior.rating is not None for behavior in behaviors),
    }
    own = domain.templates
    return PromptText(
        system=domain.system,
        profile=_render(domain, "profile", own.profile or _PROFILE, names),
        history=_render(domain, "history", own.history or _HISTORY, names),
        target=_render(domain, "target", own.target or _TARGET, names),
    )


def item_text(domain: Domain, item: Item) -> str:
    """Return the text whose mean hidden state is the item's vector (ReLLa §3.2): all that the domain shows of it."""
    fields = domain.item_fields(item)
    shown = [
        {"label": entry.label or entry.name.capitalize(), "value": fields[entry.name]}
        for entry in domain.item
        if entry.name in fields
    ]
    names = {"domain": domain, "item": _item_view(domain, item), "shown": shown}
    return _render(domain, "item", domain.templates.item or _ITEM, names)


def item_start(domain: Domain) -> str:
    """Return the words with which item texts of this domain begin whatever the item, as far as the wording tells.

    A function of the domain alone, so that a text is cut at the same place whatever other items there are.
    """
    names = [entry.name for entry in domain.item if entry.required]
    return commonprefix([item_text(domain, Item(dict.fromkeys(names, word))) for word in ("A", "B")])


def _item_view(domain: Domain, item: Item) -> dict[str, object]:
    return {"text": domain.show_item(item), "fields": domain.item_fields(item)}


def _behavior_view(domain: Domain, behavior: Behavior) -> dict[str, object]:
    rating, scale = behavior.rating, domain.rating
    points = "" if rating is None or scale is None else scale.text_of(rating)
    return {**_item_view(domain, behavior.item), "rating": rating, "points": points}


def _render(domain: Domain, part: str, source: str, names: dict[str, Any]) -> str:
    try:
        return render(source, names)
    except TemplateFailure as error:
        raise InputError(
            f"the template {part} fails: {error}", source=f"domain {domain.name}", remedy="mend [template] in its file"
        ) from None
