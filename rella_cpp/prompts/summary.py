"""The prompts by which a model summarises: behaviors, or earlier summaries, and what to write of them."""

from collections.abc import Callable, Sequence
from typing import Any

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item
from rella_cpp.domains.wording import SummaryWords
from rella_cpp.errors import InputError
from rella_cpp.prompts.rendering import BEHAVIORS, PromptText, names_of, render_part

# The built-in layout. A template sees: domain, summary (the earlier one), summaries, history (as in yes-or-no prompts),
# rated, order.
_BLOCK = BEHAVIORS
_UPDATE = (
    "{% if summary %}What was written about a person before: {{ summary }}"
    "{% else %}Nothing was written about a person before.{% endif %}\n\nAfter that: " + BEHAVIORS
)
_MERGE = (
    "What was written about a person at different times, the oldest first:\n"
    "{% for summary in summaries %}{{ loop.index }}. {{ summary }}\n{% endfor %}"
)


class SummaryPrompts:
    """Writes a domain's prompts for summaries.

    Parameters
    ----------
    domain
        The words.
    show
        Gives the text of a behavior's item.

    Raises
    ------
    InputError
        The domain has no words for summaries.

    """

    def __init__(self, domain: Domain, show: Callable[[Item], str]) -> None:
        self._domain, self._words, self._show = domain, words_of(domain), show

    def block(self, behaviors: Sequence[Behavior]) -> PromptText:
        """Ask for the summary of some behaviors, the oldest first."""
        return self._prompt("block", _BLOCK, behaviors, self._words.block)

    def update(self, summary: str, behaviors: Sequence[Behavior]) -> PromptText:
        """Ask for a new summary, from an earlier one and the behaviors that came next."""
        return self._prompt("update", _UPDATE, behaviors, self._words.update, summary=summary)

    def merge(self, summaries: Sequence[str]) -> PromptText:
        """Ask for one summary of several, the oldest first; empty ones are left out."""
        told = [summary for summary in summaries if summary]
        return self._prompt("merge", _MERGE, [], self._words.merge, summaries=told)

    def _prompt(
        self, part: str, layout: str, behaviors: Sequence[Behavior], instruction: str, **names: Any
    ) -> PromptText:
        seen = {"order": "time", **names_of(self._domain, behaviors, self._show), **names}
        history = render_part(self._domain, part, getattr(self._domain.templates, part) or layout, seen)
        return PromptText(self._words.system, "", history, f"\n{instruction}")


def words_of(domain: Domain) -> SummaryWords:
    """Return a domain's words for summaries.

    Raises
    ------
    InputError
        It has none.

    """
    if domain.summary is None:
        raise InputError(
            "has no words for preference summaries",
            source=f"domain {domain.name}",
            remedy="add [summary] with system, block, update and merge to its file (rella domains default shows them)",
        )
    return domain.summary
