"""The words of a stream: a line per behavior that ends in its rating; the target's line comes next."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rella_cpp.domains.rating import RatingScale
from rella_cpp.domains.values import describe, quoted
from rella_cpp.errors import InputError, refuse

AVERAGE = "average"
"""The name of the field with an item's mean rating, which a line may show beside the domain's own fields."""

_MOST_LEVELS = 9
_FINEST = 0.01  # what ratings differ by, at least
_HEADER = ("profile", "averages", "unshown")
_LINE = ("item", "rating")
_PLACE = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True, slots=True)
class Level:
    """One of the labels that ratings are written as.

    Attributes
    ----------
    label
        What a line ends with.
    low
        The lowest rating that is written so; the next level's begins where it ends.
    value
        What the label counts for in an expected rating; None: `low`.

    """

    label: str
    low: float
    value: float | None = None

    def __post_init__(self) -> None:
        """Refuse a label that a line cannot end with, and what is no rating."""
        refuse(self._faults())

    def _faults(self) -> Iterator[InputError]:
        label: object = self.label
        if not isinstance(label, str) or not label or label != label.strip() or "\n" in label:
            shown = quoted(label) if isinstance(label, str) else describe(label)
            yield InputError(f"label is {shown}", remedy='give a short text without blanks, such as "4"')
        for name, value in (("low", self.low), ("value", self.rating)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                yield InputError(f"{name} is {describe(value)}", remedy="give a rating")
                return

    @property
    def rating(self) -> float:
        """The rating that the label counts for."""
        return self.low if self.value is None else self.value


@dataclass(frozen=True, slots=True)
class StreamWords:
    """How a domain writes a stream.

    Attributes
    ----------
    header
        The first line. `{profile}`, `{averages}` and `{unshown}` stand where the texts of these names go; each is left
        out where there is nothing to say.
    line
        A behavior's line: `{item}`, then `{rating}`. The target's ends before `{rating}`.
    fields
        The fields of an item that a line shows, in order, as the domain shows them; `average` is the mean rating,
        unless the domain has a field of its own that is called so.
    levels
        The labels that ratings are written as, from the lowest rating to the highest; two to nine.
    profile
        What the header says of a user, with `{}` for what is known.
    averages
        What the header says of averages, where lines show some.
    unshown
        What the header says of rated behaviors that no line shows, with `{count}` and `{mean}`.
    average
        How a line shows an average, with `{}` for the number, which has one decimal.

    """

    header: str
    line: str
    fields: tuple[str, ...]
    levels: tuple[Level, ...]
    profile: str = " ({})"
    averages: str = ""
    unshown: str = ""
    average: str = ", {}"

    def __post_init__(self) -> None:
        """Refuse words that make no stream."""
        refuse(self._faults())

    def _faults(self) -> Iterator[InputError]:
        wanted = {"header": _HEADER, "line": _LINE, "unshown": ("count", "mean"), "profile": ("",), "average": ("",)}
        for name, known in wanted.items():
            for place in _PLACE.findall(getattr(self, name)):
                if place not in known:
                    marks = ", ".join(f"{{{each}}}" for each in known)
                    yield InputError(f"{name} has {{{place}}}", remedy=f"it may have {marks}")
        if _PLACE.findall(self.line) != list(_LINE) or "\n" in self.line:
            yield InputError(
                f"line is {quoted(self.line)}", remedy='give {item}, then {rating}, as in "{item}: {rating}"'
            )
        if not self.fields or not all(isinstance(name, str) for name in self.fields):
            yield InputError("fields names none", remedy='name the fields that a line shows: ["title", "year"]')
        labels, lows = [level.label for level in self.levels], [level.low for level in self.levels]
        if not 2 <= len(labels) <= _MOST_LEVELS:
            yield InputError(f"there are {len(labels)} levels", remedy=f"give 2 to {_MOST_LEVELS}")
        if len(set(labels)) < len(labels):
            yield InputError(f"levels are labeled {', '.join(labels)}", remedy="give each label once")
        values = [level.rating for level in self.levels]
        for name, found in (("low", lows), ("value", values)):
            if any(lower >= higher for lower, higher in pairwise(found)):
                yield InputError("the levels do not ascend", remedy=f"give each a {name} above that of the one before")
                return

    @property
    def around(self) -> tuple[str, str, str]:
        """What a line has before the item, between item and rating, and behind the rating."""
        before, _, rest = self.line.partition("{item}")
        lead, _, behind = rest.partition("{rating}")
        return before, lead, behind

    def level_of(self, rating: float) -> int:
        """Return the index of the level that a rating is written as."""
        return max(0, sum(level.low <= rating for level in self.levels) - 1)

    def write_header(self, profile: list[str], *, averages: bool, count: int, mean: float) -> str:
        """Write the first line.

        Parameters
        ----------
        profile
            What is known of the user, field by field.
        averages
            Whether a line shows an average.
        count, mean
            How many rated behaviors no line shows, and their mean rating.

        """
        unshown = fill(self.unshown, {"count": str(count), "mean": f"{mean:.1f}"}) if count else ""
        texts = {
            "profile": fill(self.profile, {"": ", ".join(profile)}) if profile else "",
            "averages": self.averages if averages else "",
            "unshown": unshown,
        }
        return fill(self.header, texts) + "\n"


def level_faults(levels: Sequence[Level], scale: RatingScale) -> Iterator[InputError]:
    """Find what makes a stream's levels no cut of a rating scale into ratings that are liked and others."""
    ends = f"{scale.min:g} to {scale.max:g}"
    if levels[0].low > scale.min:
        remedy = f"give the first a low of {scale.min:g}"
        yield InputError(f"the levels begin above the lowest rating, {scale.min:g}", remedy=remedy)
    for number, level in enumerate(levels):
        for name, value in (("low", max(level.low, scale.min) if number == 0 else level.low), ("value", level.rating)):
            if not scale.min <= value <= scale.max:
                finding = f"the {name} of the level {quoted(level.label)} is {value:g}"
                yield InputError(finding, remedy=f"give a rating on the scale, {ends}")
                return
    liked = [scale.likes(level.rating) for level in levels]
    if all(liked) or not any(liked):
        finding = f"the levels are {'all' if liked[0] else 'none of them'} liked"
        yield InputError(finding, remedy="give levels on both sides of the lowest rating of what was liked")
    highest = [*(level.low - _FINEST for level in levels[1:]), scale.max]
    for level, likes, top in zip(levels, liked, highest, strict=True):
        if {scale.likes(level.low), scale.likes(max(level.low, top))} != {likes}:
            remedy = "let a level begin at the lowest rating of what was liked"
            finding = f"the level {quoted(level.label)} has ratings that are liked and others"
            yield InputError(finding, remedy=remedy)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values into the places of a text, `{name}`; what they hold is not read again."""
    return _PLACE.sub(lambda match: values[match[1]], text)
