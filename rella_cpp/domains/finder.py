"""Items found by name, however people write it: articles, case, punctuation, other titles in brackets, years."""

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

logger = logging.getLogger("rella_cpp")

_YEAR = re.compile(r"^(.*\S)\s*\((\d{4})\)\s*$", re.DOTALL)
_BRACKETS = re.compile(r"\(([^()]*)\)")
_ALIAS = re.compile(r"^a\s?k\s?a\s")
_ARTICLES = frozenset("the a an il lo la le les el los las das der die l un une".split())


class Name(NamedTuple):
    """A name taken apart.

    Attributes
    ----------
    whole
        Its title in small letters and digits, with its article where it stood.
    titles
        The same without articles: the title, then those that stand in brackets behind it.
    year
        The year at its end; None: there is none.

    """

    whole: str
    titles: tuple[str, ...]
    year: int | None

    @classmethod
    def of(cls, text: str) -> "Name":
        """Take a name apart: `Postino, Il (The Postman) (1994)` has the titles `postino` and `postman`."""
        dated = _YEAR.match(text)
        title, year = (dated[1], int(dated[2])) if dated else (text, None)
        main = _BRACKETS.sub(" ", title)
        others = [_ALIAS.sub("", _plain(other)) for other in _BRACKETS.findall(title)]
        whole = _plain(main) or _plain(title)
        bare = (_without_article(each) for each in (whole, *others) if each)
        return cls(whole, tuple(dict.fromkeys(bare)), year)


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
            for title in name.titles:
                self._by_title[title].append(row)

    def find(self, name: str) -> int | None:
        """Return the row that a name means; None where it means none, or several."""
        rows = self.meant(name)
        return rows[0] if len(rows) == 1 else None

    def meant(self, text: str) -> list[int]:
        """Return the rows that a name may mean, several where it does not tell them apart.

        They are those of its title and year; else of a title in brackets and its year; else one whose year is off by
        one, if it is the only one.
        """
        name = Name.of(text)
        if not name.titles:
            return []
        main = [row for row in self._by_title.get(name.titles[0], ()) if self._names[row].titles[0] == name.titles[0]]
        every = [*dict.fromkeys(row for title in name.titles for row in self._by_title.get(title, ()))]
        for rows in (main, every):
            if same := [row for row in rows if self._same_year(row, name)]:
                years = {self._names[row].year for row in same}
                exact = [row for row in same if self._names[row].whole == name.whole] if len(years) == 1 else []
                return exact if len(exact) == 1 else same
        near = [row for row in every if self._near_year(row, name)]
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
    """Write a text in small letters and digits, one blank between words; apostrophes join."""
    text = unicodedata.normalize("NFKD", text.casefold().replace("&", " and "))
    kept = (each for each in text if not unicodedata.combining(each) and each not in "'’`´.")
    return " ".join("".join(each if each.isalnum() else " " for each in kept).split())


def _without_article(text: str) -> str:
    """Take an article off the front, or off the end; a title that is one stays."""
    words = text.split()
    if len(words) > 1 and words[0] in _ARTICLES:
        return " ".join(words[1:])
    if len(words) > 1 and words[-1] in _ARTICLES:
        return " ".join(words[:-1])
    return text
