"""What a judge is asked: targets to score for one user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rella_cpp.records import Behavior, Item, User
from rella_cpp.retrieval import Selection


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

    """

    history: Sequence[Behavior | Mapping[str, object]]
    items: Sequence[Item | Mapping[str, object]]
    user: User | Mapping[str, object] | None = None
    selection: Selection = Selection()
