"""Writers of one user's prompts: given behaviors, a question about a target, or about all candidates together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.errors import ContextError
from rella_cpp.prompts.builder import PromptBuilder
from rella_cpp.prompts.choice import write_choice
from rella_cpp.prompts.choice_question import ChoiceQuestion
from rella_cpp.prompts.question import Question
from rella_cpp.prompts.streams.text import Unshown, write_stream
from rella_cpp.prompts.yes_no import Order, Preference, write_prompt


@dataclass(frozen=True, slots=True)
class _TargetWriter:
    """Asks about one target at a time.

    Attributes
    ----------
    builder
        The model's and the domain's words.
    user
        What is known of the user.
    items
        The targets.

    """

    builder: PromptBuilder
    user: User
    items: Sequence[Item]

    @property
    def n_ctx(self) -> int:
        """Tokens that a prompt may have."""
        return self.builder.n_ctx

    def too_long(self, target: int, tokens: int) -> ContextError:
        """Say that the prompt with no history does not fit, and what makes it long."""
        items = {target: self.items[target]}
        return self.builder.too_long(items, tokens, f"item[{target}]", "raise --ctx, or shorten the item")


@dataclass(frozen=True, slots=True)
class YesNoWriter(_TargetWriter):
    """Asks of each target whether the user will like it (ReLLa).

    Attributes
    ----------
    order
        The behaviors' order in the prompt; only the wording depends on it.
    preferences
        For each target what its prompt says of the user beside the behaviors, if anything.

    """

    order: Order
    preferences: Sequence[Preference | None]

    def without(self, _behavior: Behavior) -> Self:
        """Return a writer for a user who never came upon a behavior: prompts say nothing of those they do not show."""
        return self

    def write(self, target: int, behaviors: Sequence[Behavior]) -> Question:
        """Write the prompt about one target; see `write_prompt`."""
        item, preference = self.items[target], self.preferences[target]
        text = write_prompt(self.builder.domain, self.user, behaviors, item, self.order, preference)
        return self.builder.question(text)


@dataclass(frozen=True, slots=True)
class StreamWriter(_TargetWriter):
    """Asks of each target which rating the user will give it: the next line of a stream.

    Attributes
    ----------
    rated
        For each target all rated behaviors that are not the target: of those that a prompt does not show its header
        says how many they are, and their mean rating.

    """

    rated: Sequence[Unshown]

    def without(self, behavior: Behavior) -> Self:
        """Return a writer for a user who never rated a behavior: headers say the same of the others."""
        rated = [Unshown(each.count - 1, each.total - (behavior.rating or 0.0)) for each in self.rated]
        return replace(self, rated=rated)

    def write(self, target: int, behaviors: Sequence[Behavior]) -> Question:
        """Write the prompt about one target; see `write_stream`."""
        every, shown = self.rated[target], sum(behavior.rating or 0.0 for behavior in behaviors)
        unshown = Unshown(every.count - len(behaviors), every.total - shown)
        text = write_stream(self.builder.domain, self.user, behaviors, self.items[target], unshown)
        return self.builder.stream(text)


QuestionWriter = YesNoWriter | StreamWriter
"""Writers about one target at a time."""


@dataclass(frozen=True, slots=True)
class ChoiceWriter:
    """Asks which of all candidates came next (DELRec): one prompt."""

    builder: PromptBuilder
    user: User
    items: Sequence[Item]
    names: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        """Name the candidates: their names are the answers."""
        object.__setattr__(self, "names", [self.builder.domain.name_item(item) for item in self.items])

    @property
    def n_ctx(self) -> int:
        """Tokens that the prompt may have, with an answer."""
        return self.builder.n_ctx

    def write(self, _target: int, behaviors: Sequence[Behavior]) -> ChoiceQuestion:
        """Write the prompt; see `write_choice`."""
        text = write_choice(self.builder.domain, self.user, behaviors, self.items)
        return self.builder.choice(text, self.names)

    def too_long(self, _target: int, tokens: int) -> ContextError:
        """Say that the prompt with no history does not fit, and what makes it long."""
        remedy = "raise --ctx, or give fewer candidates, or shorter names"
        return self.builder.too_long(dict(enumerate(self.items)), tokens, None, remedy)
