"""The prompts that let a model choose among candidates: what came next, and the two tasks of DELRec's first stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.prompts.rendering import PROFILE, PromptText, names_of, profile_of, render_part

# The built-in layout of the user's turn. A template sees: domain, user, profile, history (names of items, oldest
# first), candidates (their names), soft; `between` also next and example (before, after, answer).
_SYSTEM = (
    "You know what people choose after what, and name the {{ domain.noun }} that fits, from what a person "
    "{{ domain.verb }}."
)
_HISTORY = (
    "{% if history %}The person {{ domain.verb }} these {{ domain.plural }}, the oldest first:\n"
    "{% for behavior in history %}{{ loop.index }}. {{ behavior.text }}\n{% endfor %}"
    "{% else %}Nothing is known of what the person {{ domain.verb }} before.\n{% endif %}"
)
_CANDIDATES = "\n{% for candidate in candidates %}{{ loop.index }}. {{ candidate }}\n{% endfor %}"
_WHICH = "\nWhich one is it? Answer with the {{ domain.noun }} as it stands in the list, without its number."
_CHOICE = "\nThe person {{ domain.verb }} one of these {{ domain.plural }} next:" + _CANDIDATES + _WHICH
_SIMULATE = (
    "\nA recommender that knows which {{ domain.plural }} follow which puts one of these first:" + _CANDIDATES + _WHICH
)
_BETWEEN = (
    "\nThen came one {{ domain.noun }} that is not shown, and after it: {{ next }}\n"
    "{% if example %}An example: after {{ example.before | join('; ') }} and before {{ example.after }} came "
    "{{ example.answer }}.\n{% endif %}"
    "\nThe one between is one of these:" + _CANDIDATES + _WHICH
)


@dataclass(frozen=True, slots=True)
class Example:
    """An example in context: items before, the item after, and the one between, which is the answer."""

    before: tuple[Item, ...]
    after: Item
    answer: Item


def write_choice(domain: Domain, user: User, behaviors: Sequence[Behavior], candidates: Sequence[Item]) -> PromptText:
    """Write the prompt that asks which candidate came next (DELRec's second stage).

    Parameters
    ----------
    behaviors
        Those to show, the oldest first; only their items' names are shown.
    candidates
        In the order to list them.

    Raises
    ------
    InputError
        A record does not fit the domain, or the domain's own template fails.

    """
    return _write(domain, user, behaviors, candidates, "choice", _CHOICE, {})


def write_simulation(
    domain: Domain, user: User, behaviors: Sequence[Behavior], candidates: Sequence[Item]
) -> PromptText:
    """Write the prompt that asks which candidate a sequential model puts first (pattern simulating); see above."""
    return _write(domain, user, behaviors, candidates, "simulate", _SIMULATE, {})


def write_between(
    domain: Domain,
    user: User,
    behaviors: Sequence[Behavior],
    candidates: Sequence[Item],
    after: Item,
    example: Example | None = None,
) -> PromptText:
    """Write the prompt that asks which candidate came between the history and `after` (temporal analysis)."""
    name = domain.name_item
    told = example and {
        "before": [name(item) for item in example.before],
        "after": name(example.after),
        "answer": name(example.answer),
    }
    return _write(
        domain, user, behaviors, candidates, "between", _BETWEEN, {"next": name(after), "example": told or None}
    )


def _write(
    domain: Domain,
    user: User,
    behaviors: Sequence[Behavior],
    candidates: Sequence[Item],
    part: str,
    layout: str,
    more: dict[str, Any],
) -> PromptText:
    bare = [Behavior(behavior.item) for behavior in behaviors]
    names: dict[str, Any] = {
        "user": domain.user_fields(user),
        "profile": profile_of(domain, user),
        "candidates": [domain.name_item(item) for item in candidates],
        **names_of(domain, bare, domain.name_item),
        **more,
    }
    return PromptText(
        system=render_part(domain, "system", _SYSTEM, names),
        profile=render_part(domain, "profile", domain.templates.profile or PROFILE, names),
        history=render_part(domain, "history", _HISTORY, names),
        target=render_part(domain, part, getattr(domain.templates, part) or layout, names),
    )
