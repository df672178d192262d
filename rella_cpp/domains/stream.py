"""The words of a stream: a line per behavior that ends in its rating; the target's line comes next."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rella_cpp.domains.values import quoted
from rella_cpp.errors import InputError, refuse

AVERAGE = "average"
"""The name of the field with an item's mean rating, which a line may show beside the domain's own fields."""

_MOST_LEVELS = 9
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
        """Refuse a label that a line cannot end with."""
        if not self.label or self.label != self.label.strip() or "\n" in self.label:
            raise InputError(f"label is {quoted(self.label)}", remedy='give a short text without blanks, such as "4"')

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
        if any(low >= high for low, high in zip(lows, lows[1:], strict=False)):
            yield InputError("the levels do not ascend", remedy="give each a low above that of the one before")

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


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values into the places of a text, `{name}`; what they hold is not read again."""
    return _PLACE.sub(lambda match: values[match[1]], text)
