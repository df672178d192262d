"""A user, a history and a target item → the text of a prompt, by a domain's words or its own templates.

The text comes in the parts that the engine decodes apart: system, profile, history, target (with the question).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any, Literal

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.templates.environments import TemplateFailure
from rella_cpp.domains.templates.jinja import render
from rella_cpp.errors import InputError

Order = Literal["time", "similarity", "reversed", "shared"]

# The built-in wording. A template sees: domain, user (fields by name), profile (the shown texts of the user's fields),
# history and item (both with text and fields; behaviors also rating and points), order, rated, preference, soft.
PROFILE = "{% if profile %}About the person: {{ profile | join('; ') }}.\n{% endif %}"
SOFT = "\uf8f0SOFT\uf8f1"
"""What `{{ soft }}` in a template becomes: the place of a soft prompt. See `rella_cpp.soft`."""
BEHAVIORS = """\
The person {{ domain.verb }} these {{ domain.plural }}
{%- if rated %} and rated them out of {{ '%g' | format(domain.rating.max) }} {{ domain.rating.plural }}{% endif %}
{%- if order == 'time' %}, the oldest first{% elif order == 'reversed' %}, the latest first{% endif %}:
{% for behavior in history -%}
{{ loop.index }}. {{ behavior.text }}{% if behavior.rating is not none %} - {{ behavior.points }}{% endif %}
{% endfor %}"""
"""A list of behaviors, as a sentence."""
_NO_BEHAVIORS = "Nothing is known of what the person {{ domain.verb }} before.\n"
_HISTORY = "{% if history %}" + BEHAVIORS + "{% else %}" + _NO_BEHAVIORS + "{% endif %}"
_PREFERENCE = (
    "{% if preference %}What the person prefers: {{ preference }}"
    "{% else %}Nothing is known of what the person prefers.{% endif %}\n"
)
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


@dataclass(frozen=True, slots=True)
class Preference:
    """What a summary says of a person (LLM-TRSR, arXiv 2403.13325).

    `text` is empty where the model had nothing to say, and None where there was nothing to summarise. `show` gives the
    text of a behavior's item.
    """

    text: str | None
    show: Callable[[Item], str]


def write_prompt(
    domain: Domain,
    user: User,
    behaviors: Sequence[Behavior],
    item: Item,
    order: Order = "time",
    preference: Preference | None = None,
) -> PromptText:
    """Write the prompt that asks whether the user will like the item.

    Parameters
    ----------
    behaviors
        Those to show, in the order to show them.
    order
        What that order is; only the wording depends on it.
    preference
        What else is known of the person; with it items are shown with their long fields, the target's uncut.

    Raises
    ------
    InputError
        A record does not fit the domain, or the domain's own template fails.

    """
    known = None if preference is None else preference.text
    target = domain.show_item(item, long=preference is not None)
    names: dict[str, Any] = {
        "user": domain.user_fields(user),
        "profile": profile_of(domain, user),
        "item": {"text": target, "fields": domain.item_fields(item)},
        "order": order,
        "preference": known,
        **names_of(domain, behaviors, domain.show_item if preference is None else preference.show),
    }
    own, history = domain.templates, ""
    if known is not None:
        history = render_part(domain, "preference", own.preference or _PREFERENCE, names)
    if behaviors or known is None:
        history += render_part(domain, "history", own.history or _HISTORY, names)
    return PromptText(
        system=domain.system,
        profile=render_part(domain, "profile", own.profile or PROFILE, names),
        history=history,
        target=render_part(domain, "target", own.target or _TARGET, names),
    )


def item_text(domain: Domain, item: Item) -> str:
    """Return the text whose mean hidden state is the item's vector (ReLLa §3.2): all that the domain shows of it."""
    fields = domain.item_fields(item)
    shown = [
        {"label": entry.label or entry.name.capitalize(), "value": fields[entry.name]}
        for entry in domain.item
        if entry.name in fields and not entry.long
    ]
    names = {"domain": domain, "item": {"text": domain.show_item(item), "fields": fields}, "shown": shown}
    return render_part(domain, "item", domain.templates.item or _ITEM, names)


def item_start(domain: Domain) -> str:
    """Return the words with which item texts of this domain begin whatever the item, as far as the wording tells.

    A function of the domain alone, so that a text is cut at the same place whatever other items there are.
    """
    names = [entry.name for entry in domain.item if entry.required]
    return commonprefix([item_text(domain, Item(dict.fromkeys(names, word))) for word in ("A", "B")])


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
