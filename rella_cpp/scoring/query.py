"""What is to be scored: targets for one user, or candidates to choose among."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError
from rella_cpp.prompts.layout import Layout
from rella_cpp.prompts.streams.text import NOTHING_UNSHOWN, Unshown
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
    preference
        What the user wants, in plain words: shown where a summary would stand, in layouts of questions alone.
    earlier
        Rated behaviors of the user before those of the history, which a stream's header and window count.

    """

    history: Sequence[Behavior | Mapping[str, object]]
    items: Sequence[Item | Mapping[str, object]]
    user: User | Mapping[str, object] | None = None
    selection: Selection = Selection()
    summary: SummarySettings | None = None
    earlier: Unshown = NOTHING_UNSHOWN
    preference: str | None = None

    def __post_init__(self) -> None:
        """Refuse a summary that is no settings: a text, say, or a mapping."""
        if self.summary is not None and not isinstance(self.summary, SummarySettings):
            raise InputError(f"summary is {describe(self.summary)}", remedy="give SummarySettings(…)")

    def shown(self, layout: Layout) -> Shown:
        """Return which behaviors prompts show: beside a summary, the latest in the order of time.

        Raises
        ------
        InputError
            The layout does not have that.

        """
        if layout == "stream" and self.preference is not None:
            raise InputError(
                "a stream shows ratings, not what a person says of their taste",
                remedy="give ratings, or take --layout question",
            )
        if self.summary is None:
            return self.selection.shown(layout)
        if layout == "stream":
            refuse_summary()
        return Shown(self.summary.recent, "recent", "time")

    def reading(self, domain: Domain, layout: Layout) -> dict[str, object]:
        """Return how the history is read, in the words of a domain, as JSON: what runs and calibrations hold for."""
        summary = {} if self.summary is None else {"summary": self.summary.facts(domain)}
        return {**self.shown(layout).facts(), **summary}


def refuse_summary() -> NoReturn:
    """Say that a stream has no place for a summary."""
    raise InputError(
        "a stream shows ratings, not a summary", remedy="leave out --context summary, or take --layout question"
    )


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
        return {**self.shown.facts(), "by": "likelihood", "wording": domain.choice_fingerprint}
