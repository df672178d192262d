"""What is to be scored: targets for one user, or candidates to choose among."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError
from rella_cpp.retrieval.selection import Selection, Shown
from rella_cpp.summarization.settings import SummarySettings


@dataclass(frozen=True, slots=True)
class Query:
    """Targets to score for one user.

    Attributes
    ----------
    history
        Behaviors, oldest first unless every one has a timestamp; records or mappings.
    items
        The targets.
    user
        What is known of the user.
    selection
        Which behaviors prompts show, and in which order.
    summary
        In place of what the selection chooses: a summary of the history, and the latest behaviors (LLM-TRSR).

    """

    history: Sequence[Behavior | Mapping[str, object]]
    items: Sequence[Item | Mapping[str, object]]
    user: User | Mapping[str, object] | None = None
    selection: Selection = Selection()
    summary: SummarySettings | None = None

    def __post_init__(self) -> None:
        """Refuse a summary that is no settings: a text, say, or a mapping."""
        if self.summary is not None and not isinstance(self.summary, SummarySettings):
            raise InputError(f"summary is {describe(self.summary)}", remedy="give SummarySettings(…)")

    @property
    def shown(self) -> Shown:
        """Which behaviors prompts show: beside a summary, the latest in the order of time."""
        if self.summary is None:
            return Shown(self.selection.k, self.selection.retrieval, self.selection.order)
        return Shown(self.summary.recent, "recent", "time")

    def reading(self, domain: Domain) -> dict[str, object]:
        """Return how the history is read, in the words of a domain, as JSON: what runs and calibrations hold for."""
        return {**self.shown._asdict(), **({} if self.summary is None else {"summary": self.summary.facts(domain)})}


By = Literal["yes-no", "likelihood"]
"""How candidates are scored: by a yes or no for each, or by which of them all comes next."""


@dataclass(frozen=True, slots=True)
class ChoiceQuery:
    """Candidates to choose among for one user.

    Attributes
    ----------
    history
        Behaviors, oldest first unless every one has a timestamp; records or mappings.
    items
        The candidates, in the order in which the prompt lists them.
    user
        What is known of the user.
    k
        How many behaviors the prompt shows at most: the latest.
    allow_empty_history
        Choose with no history at all, too.

    Raises
    ------
    InputError
        K is out of its range.

    """

    history: Sequence[Behavior | Mapping[str, object]]
    items: Sequence[Item | Mapping[str, object]]
    user: User | Mapping[str, object] | None = None
    k: int = 30
    allow_empty_history: bool = False

    def __post_init__(self) -> None:
        """Check K."""
        Selection(self.k, "recent", "time")

    @property
    def shown(self) -> Shown:
        """Which behaviors the prompt shows."""
        return Shown(self.k, "recent", "time")

    def reading(self, domain: Domain) -> dict[str, object]:
        """Return how the history is read, in the words of a domain, as JSON."""
        return {**self.shown._asdict(), "by": "likelihood", "wording": domain.choice_fingerprint}
