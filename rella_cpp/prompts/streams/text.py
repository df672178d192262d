"""A user, rated behaviors and a target item → the text of a stream, by a domain's words.

A stream is one text: a header, a line per behavior that ends in its rating, and the target's line up to its rating:

    A person (age 25-34) rated these movies from 1 to 5 stars, here behind what people give on average.
    Alien (1979), 4.1: 5
    Notting Hill (1999), 3.6: 2
    Aliens (1986), 4.0:

So a user's next prompt begins with the last one, at run time as in tuning, where each rating is a label (the idea of
DTI, arXiv 2503.01001: many targets in one sequence).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.errors import InputError
from rella_cpp.prompts.rendering import profile_of


@dataclass(frozen=True, slots=True)
class Unshown:
    """Rated behaviors that a stream does not show: how many they are, and the sum of their ratings."""

    count: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float:
        """Their mean rating; 0 where there are none."""
        return round(self.total / self.count, 6) if self.count else 0.0


NOTHING_UNSHOWN = Unshown()


class Line(NamedTuple):
    """One behavior of a stream: its item as it is shown, and its rating's label."""

    item: str
    label: str


@dataclass(frozen=True, slots=True)
class StreamText:
    """The text of a stream, in the parts between which it is cut; `target` is the item as its line shows it."""

    header: str
    lines: tuple[Line, ...]
    target: str


def write_stream(
    domain: Domain, user: User, behaviors: Sequence[Behavior], item: Item, unshown: Unshown = NOTHING_UNSHOWN
) -> StreamText:
    """Write the stream whose last line is the target's.

    Parameters
    ----------
    behaviors
        Those to show, each with a rating, in the order to show them.
    unshown
        What the header says of others.

    Raises
    ------
    InputError
        The domain does not say how a stream is written, or a record does not fit it.

    """
    words = domain.stream_words()
    average = domain.average_of(item)
    header = words.write_header(
        profile_of(domain, user),
        averages=average is not None or any(domain.average_of(behavior) is not None for behavior in behaviors),
        count=unshown.count,
        mean=unshown.mean,
    )
    lines = tuple(write_line(domain, behavior) for behavior in behaviors)
    return StreamText(header, lines, domain.stream_item(item, average))


def write_line(domain: Domain, behavior: Behavior) -> Line:
    """Write the line of one behavior.

    Raises
    ------
    InputError
        It has no rating, or does not fit the domain.

    """
    words = domain.stream_words()
    if behavior.rating is None:
        raise InputError("a behavior in a stream has no rating", remedy="leave it out, or give it one")
    shown = domain.stream_item(behavior.item, domain.average_of(behavior))
    return Line(shown, words.levels[words.level_of(behavior.rating)].label)
