"""The scale of a domain's ratings, and of items' mean ratings."""

from collections.abc import Iterator
from dataclasses import dataclass

from rella_cpp.domains.values import describe, quoted
from rella_cpp.errors import InputError, refuse

LARGEST = 1e9
"""The largest end of a scale: far beyond any, far below what overflows."""


@dataclass(frozen=True, slots=True)
class RatingScale:
    """The scale of ratings, its ends included, and the word for one and for several points.

    From `liked` on a rating says that the item was liked; None: above the middle of the scale.
    """

    min: float
    max: float
    word: str = "point"
    plural: str = "points"
    liked: float | None = None

    def __post_init__(self) -> None:
        """Refuse an empty scale, and a `liked` that is no rating."""
        refuse(self._faults())

    def _faults(self) -> Iterator[InputError]:
        if not self.min < self.max or not all(abs(end) <= LARGEST for end in (self.min, self.max)):
            ends = f"{quoted(self.min)} to {quoted(self.max)}"
            yield InputError(f"the rating scale goes from {ends}", remedy="give min < max")
        liked: object = self.liked
        number = isinstance(liked, int | float) and not isinstance(liked, bool)
        if liked is None or (number and abs(self.liked or 0) <= LARGEST):
            return
        yield InputError(f"liked is {describe(liked)}", remedy="give the lowest rating of an item that was liked")

    def likes(self, rating: float) -> bool:
        """Tell whether an item rated so was liked."""
        return rating > (self.min + self.max) / 2 if self.liked is None else rating >= self.liked

    def check(self, name: str, value: float, domain: str, *, remedy: str = "another --domain may fit") -> None:
        """Refuse a rating, or a mean of ratings, that lies outside the scale; `name` says which, `domain` whose.

        `remedy` is what else may help.

        Raises
        ------
        InputError
            It does.

        """
        if not self.min <= value <= self.max:
            scale = f"the domain {domain} rates from {self.min:g} to {self.max:g} {self.plural}"
            raise InputError(f"{name} is '{value:.12g}'", remedy=f"{scale}; {remedy}")

    def text_of(self, rating: float) -> str:
        """Return a rating in words, such as `4.5 stars`."""
        return f"{rating:g} {self.word if rating == 1 else self.plural}"
