"""A user, a history and a target item → the text of a prompt, by a domain's words or its own templates.

The text comes in the parts that the engine decodes apart: system, profile, history, target (with the question).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.prompts.rendering import BEHAVIORS, PROFILE, PromptText, names_of, profile_of, render_part

Order = Literal["time", "similarity", "reversed", "shared"]

_NO_BEHAVIORS = "Nothing is known of what the person {{ domain.verb }} before.\n"
_HISTORY = "{% if history %}" + BEHAVIORS + "{% else %}" + _NO_BEHAVIORS + "{% endif %}"
_PREFERENCE = (
    "{% if preference %}What the person prefers: {{ preference }}"
    "{% else %}Nothing is known of what the person prefers.{% endif %}\n"
)
_TARGET = "\nNow consider this {{ domain.noun }}: {{ item.text }}\n{{ domain.question }}"


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
