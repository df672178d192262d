"""Titles of MovieLens: the year taken off the end, an article at the end brought to the front."""

import re

_YEAR = re.compile(r"^(.*\S)\s*\((\d{4})\)\s*$", re.DOTALL)
_ARTICLE = re.compile(r"^(a\.k\.a\. )?(.+), (The|A|An|Il|La|Le|Les|El|Los|Das|Der|Die|L')$", re.DOTALL)
_PARENTHESES = re.compile(r"\(([^()]*)\)")


def split_title(text: str) -> tuple[str, int | None]:
    """Make `("The Matrix", 1999)` of `Matrix, The (1999)`; the year is None where none is given.

    Alternative titles stay in their parentheses: `Postino, Il (Postman, The) (1994)` is `Il Postino (The Postman)`.
    """
    dated = _YEAR.match(text)
    title, year = (dated[1], int(dated[2])) if dated else (text.strip(), None)
    name, opening, rest = title.partition(" (")
    others = _PARENTHESES.sub(lambda found: f"({_article_first(found[1])})", opening + rest)
    return _article_first(name) + others, year


def _article_first(name: str) -> str:
    found = _ARTICLE.match(name)
    if found is None:
        return name
    alias, bare, article = found.groups()
    gap = "" if article.endswith("'") else " "
    return f"{alias or ''}{article}{gap}{bare}"
