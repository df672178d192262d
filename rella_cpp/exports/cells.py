"""Single values as other services write them: ratings, dates, types of titles."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from rella_cpp.domains.values import is_absent, read_number, read_time
from rella_cpp.exports.formats import ISO, key

_STARS = re.compile(r"([★⭐*]*)\s*(½|1/2)?\s*[☆✩]*")
_SHARE = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:/|out of|von|sur)\s*(\d+(?:[.,]\d+)?)")
_PERCENT = re.compile(r"(\d+(?:[.,]\d+)?)\s*%")
_COMMA = re.compile(r"([-+]?\d+),(\d+)")
_HALF = re.compile(r"(\d*)\s*½")
_OF_STARS = 5.0
_UNIT = re.compile(r" stars?$", re.IGNORECASE)
_YEAR = re.compile(r"(?:19|20)\d\d")
_EPISODE = re.compile(
    r": (Limited Series|Miniserie|(Season|Series|Part|Volume|Vol\.|Book|Staffel|Teil|Saison|Partie|Temporada|Parte"
    r"|Stagione) \d+|[^:]*: Chapter \w+)[^:]*:",
    re.IGNORECASE,
)
_TYPES = {
    "tvseries": "TV series",
    "show": "TV series",
    "series": "TV series",
    "tvminiseries": "TV miniseries",
    "miniseries": "TV miniseries",
    "tvepisode": "TV episodes",
    "episode": "TV episodes",
    "season": "seasons of TV series",
    "tvspecial": "TV specials",
    "videogame": "video games",
    "musicvideo": "music videos",
    "podcastseries": "podcasts",
    "podcastepisode": "podcast episodes",
}


def read_rating(text: str) -> tuple[float, float | None] | None:
    """Return a rating, and out of how many it says that it is; None where there is none.

    `4.5`, `4,5` and `4½` say nothing of that; `★★★★½` is out of 5, `8/10` out of 10, `80 %` out of 100.

    Raises
    ------
    ValueError
        It is no rating.

    """
    text = _UNIT.sub("", text.strip())
    if is_absent(text):
        return None
    if found := _STARS.fullmatch(text):
        stars = len(found[1]) + (0.5 if found[2] else 0.0)
        return (stars, _OF_STARS) if stars else None  # empty stars are nobody's rating
    if found := _SHARE.fullmatch(text):
        share, whole = _plain(found[1]), _plain(found[2])
        if not 0 < whole:
            raise ValueError("out of nothing")
        return share, whole
    if found := _PERCENT.fullmatch(text):
        return _plain(found[1]), 100.0
    if found := _HALF.fullmatch(text):
        return float(found[1] or 0) + 0.5, None
    number = read_number(_COMMA.sub(r"\1.\2", text) if _COMMA.fullmatch(text) else text)
    return None if number is None else (number, None)


def _plain(text: str) -> float:
    return float(text.replace(",", "."))


def pattern_of(texts: Sequence[str], patterns: Sequence[str]) -> str:
    """Return how dates are written: the first pattern that reads all of them, else the one that reads most."""
    given = [text for text in texts if not is_absent(text)]
    best, most = patterns[0], -1
    for pattern in patterns:
        count = sum(_reads(text, pattern) for text in given)
        if count > most:
            best, most = pattern, count
        if count == len(given):
            break
    return best


def _reads(text: str, pattern: str) -> bool:
    try:
        read_date(text, pattern)
    except ValueError:
        return False
    return True


def read_date(text: str, pattern: str) -> datetime | None:
    """Return a time as a pattern says that it is written; a date without a time is a day in UTC.

    Raises
    ------
    ValueError
        It is written otherwise.

    """
    if is_absent(text):
        return None
    text = text.strip().removesuffix(" UTC")
    if _YEAR.fullmatch(text):  # Unix seconds of 1970 are nobody's
        return datetime(int(text), 1, 1, tzinfo=UTC)
    if pattern != ISO:
        return datetime.strptime(text, pattern).replace(tzinfo=UTC)
    try:
        seconds = read_time(text)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError):  # a year that no calendar has
        raise ValueError("no time") from None


def type_words(text: str) -> str:
    """Say what titles of a type are: `TV series` for `tvSeries`."""
    return _TYPES.get(key(text), f"of the type {text.strip()!r}")


def one_of(words: str) -> str:
    """Return the singular of what `type_words` says; of other words, themselves."""
    plural = words in _TYPES.values() and words.endswith("s") and not words.endswith("series")
    return words.removesuffix("s") if plural else words


def is_episode(title: str) -> bool:
    """Tell a title of Netflix that is an episode, `Show: Season 1: Pilot`, from one of a film: `Dune: Part Two`."""
    return _EPISODE.search(title) is not None


def list_of(text: str) -> list[str]:
    """Return the texts of a cell that lists some: between bars, else semicolons, else commas."""
    separator = next((mark for mark in ("|", ";") if mark in text), ",")
    return [part.strip() for part in text.split(separator) if part.strip()]
