"""Items found by name, however people write it: articles, case, punctuation, other titles in brackets, years."""

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

logger = logging.getLogger("rella_cpp")

_YEAR = re.compile(r"^(.*\S)\s*\((\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\)\s*$", re.DOTALL)
_BRACKETS = re.compile(r"\(([^()]*)\)")
_ALIAS = re.compile(r"^a\s?k\s?a\s")
_BEHIND = re.compile(
    r"^(.*\S),\s*(the|an?|il|lo|la|le|les|el|los|las|das|der|die|l'|une?)\s*$", re.IGNORECASE | re.DOTALL
)
"""A title with its article behind it, `Matrix, The`."""
_DROPPED = tuple(f"{word} " for word in "the a an il lo le les el los der das un une".split())
"""Articles that people leave out; others may be words of an English title (`Die Hard`, `L.A. Confidential`)."""
_SIGNS = "#+"
"""What tells a title from another one (`C++`), besides letters and digits."""


class Name(NamedTuple):
    """A name taken apart; its titles are in small letters and digits, with their articles in front.

    Attributes
    ----------
    whole, bare
        Its title, and the same without `the`, `a` or `an`.
    others
        The same as `bare` of what stands in brackets behind it: another title, or what tells it from its namesakes.
    year
        The year at its end, of several the first; None: there is none.

    """

    whole: str
    bare: str
    others: frozenset[str]
    year: int | None

    @classmethod
    def of(cls, text: str) -> "Name":
        """Take a name apart: `Postino, Il (The Postman) (1994)` is `il postino`, else `postman`, of 1994."""
        dated = _YEAR.match(text)
        title, year = (dated[1], int(dated[2])) if dated else (text, None)
        whole = _plain(_BRACKETS.sub(" ", title)) or _plain(title)
        others = (_ALIAS.sub("", _plain(other)) for other in _BRACKETS.findall(title))
        return cls(whole, _bare(whole), frozenset(_bare(other) for other in others if other), year)

    def may_be(self, other: "Name") -> bool:
        """Tell whether another name may mean the same, whatever their years.

        Two of one title are two where each has brackets of its own: `Che (Part 1)` and `Che (Part 2)`.
        """
        if self.bare == other.bare:
            return not (self.others and other.others) or bool(self.others & other.others)
        return self.bare in other.others or other.bare in self.others


class Finder:
    """Finds rows by name.

    Parameters
    ----------
    names
        One a row: a title, and a year in brackets where it is known.

    Examples
    --------
    >>> finder = Finder(["The Matrix (1999)", "Heat (1995)", "Heat (1986)", "Il Postino (The Postman) (1994)"])
    >>> finder.find("matrix, the (1999)"), finder.find("The Matrix (1998)"), finder.find("The Postman (1994)")
    (0, 0, 3)
    >>> finder.find("Heat"), finder.meant("Heat")  # which one?
    (None, [1, 2])

    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [Name.of(name) for name in names]
        self._by_title: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(self._names):
            for title in {name.bare, *name.others}:
                self._by_title[title].append(row)

    def find(self, name: str) -> int | None:
        """Return the row that a name means; None where it means none, or several."""
        rows = self.meant(name)
        return rows[0] if len(rows) == 1 else None

    def meant(self, text: str) -> list[int]:
        """Return the rows that a name may mean, several where it does not tell them apart.

        They are those of its title and year; else of a title in brackets and its year; else one of the same title,
        article included, whose year is off by one, if it is the only one. Of the same year with another article and of
        the same article with another year, either may be meant.
        """
        name = Name.of(text)
        if not name.bare:
            return []
        sought = (name.bare, *sorted(name.others))
        alike = [*dict.fromkeys(row for title in sought for row in self._by_title.get(title, ()))]
        alike = [row for row in alike if name.may_be(self._names[row])]
        main = [row for row in alike if self._names[row].bare == name.bare]
        near = [row for row in main if self._names[row].whole == name.whole and self._near_year(row, name)]
        for rows in (main, alike):
            if same := [row for row in rows if self._same_year(row, name)]:
                years = {self._names[row].year for row in same}
                exact = [row for row in same if self._names[row].whole == name.whole]
                if exact and len(years) == 1:
                    return exact if len(exact) == 1 else same
                return same if exact else [*same, *near]
        return near if len(near) == 1 else []

    def _same_year(self, row: int, name: Name) -> bool:
        year = self._names[row].year
        return year is None or name.year is None or year == name.year

    def _near_year(self, row: int, name: Name) -> bool:
        year = self._names[row].year
        return year is not None and name.year is not None and abs(year - name.year) == 1


class Sought(NamedTuple):
    """A name that was looked for, and the names that it may mean: one where it was found."""

    name: str
    meant: Sequence[str]


class FoundNames:
    """Logs how many names were found: the first time, and later where some were not.

    Parameters
    ----------
    place
        Where they are looked for.

    """

    def __init__(self, place: str) -> None:
        self._place, self._told = place, False

    def tell(self, sought: Sequence[Sought]) -> None:
        """Log one line on names: how many were found, which were not, and which could be several's."""
        distinct = {each.name: each for each in sought}.values()
        missing = [each.name for each in distinct if not each.meant]
        several = [each for each in distinct if len(each.meant) > 1]
        if not distinct or (self._told and not missing and not several):
            return
        self._told = True
        found = len(distinct) - len(missing) - len(several)
        line = f"found by title and year: {found} of {len(distinct)} items"
        if missing:
            line += f"; not there: {len(missing)} (the first: {missing[0][:60]})"
        if several:
            first = several[0]
            line += (
                f"; not taken, since it may be several: {len(several)} (the first: {first.name[:60]}, which may be "
                f"{' or '.join(name[:60] for name in first.meant[:3])})"
            )
        logger.log(logging.WARNING if missing or several else logging.INFO, "%s: %s", self._place, line)


def _plain(text: str) -> str:
    """Write a text in small letters and digits, its article in front, one blank between words; apostrophes join."""
    if behind := _BEHIND.match(text.strip()):
        text = f"{behind[2]} {behind[1]}"
    text = unicodedata.normalize("NFKD", text.casefold().replace("&", " and "))
    kept = (each for each in text if not unicodedata.combining(each) and each not in "'’`´.")
    words = "".join(each if each.isalnum() or each in _SIGNS else " " for each in kept).split()
    if len(words) > 1 and words[-1] == "the" and words[0] != "the":  # `matrix the`
        words = ["the", *words[:-1]]
    return " ".join(words)


def _bare(text: str) -> str:
    """Leave out an article that people leave out; a title that is one stays."""
    return next((text.removeprefix(article) for article in _DROPPED if text.startswith(article)), text)
