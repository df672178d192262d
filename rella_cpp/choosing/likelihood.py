"""What a choice is made among, and how likely each candidate is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.engine.identity import ModelIdentity
from rella_cpp.retrieval.selection import Selection, Shown

By = Literal["yes-no", "likelihood"]
"""How a model judges candidates: asked of each whether it is liked, or of all together which one comes next."""


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


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a model finds one of several candidates as the answer to which one comes next (DELRec).

    Attributes
    ----------
    item
        The candidate.
    log_probability
        Natural logarithm of the probability of its name after the prompt: the sum over its tokens. Longer names have
        lower ones; see `per_token`.
    tokens
        How many tokens its name has.
    share
        The softmax of `log_probability` over the candidates: between 0 and 1, not calibrated.
    prompt_tokens
        Tokens of the prompt, which all candidates have in common.
    used
        0-based places, in the input, of the behaviors in the prompt, oldest first.
    dropped
        How many of the K latest behaviors were left out for the context's sake.
    model
        Which model judged, with which adapters and soft prompt.
    excluded
        How many behaviors were left out because they are one of the candidates.
    prompt
        The prompt's text, control tokens as they are written.

    """

    item: Item
    log_probability: float
    tokens: int
    share: float
    prompt_tokens: int
    used: tuple[int, ...]
    dropped: int
    model: ModelIdentity
    excluded: int = 0
    prompt: str = ""

    @property
    def per_token(self) -> float:
        """The mean log-probability of the name's tokens."""
        return self.log_probability / self.tokens

    @property
    def best(self) -> float:
        """The number to rank by; shares of far less likely candidates may be rounded to 0."""
        return self.log_probability

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object with the documented keys; `excluded` unless 0, never the prompt."""
        result: dict[str, object] = {
            "item": dict(self.item.fields),
            "log_probability": self.log_probability,
            "tokens": self.tokens,
            "per_token": self.per_token,
            "share": self.share,
            "prompt_tokens": self.prompt_tokens,
            "used": list(self.used),
            "dropped": self.dropped,
            "model": self.model.as_dict(),
        }
        return result | ({"excluded": self.excluded} if self.excluded else {})
