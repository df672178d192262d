"""JSON of Trakt (ratings, history, watchlist) as rows."""

from collections.abc import Sequence
from typing import Any

from rella_cpp.domains.inputs import Entry
from rella_cpp.exports.records import Row

_THINGS = ("movie", "show", "season", "episode")
_TIMES = ("rated_at", "watched_at", "last_watched_at", "listed_at")


def _values(entries: Sequence[Entry]) -> list[Any]:
    """Return the values of a list, or of lines."""
    if len(entries) == 1 and isinstance(entries[0].value, list):
        return entries[0].value
    return [entry.value for entry in entries]


def is_trakt(entries: Sequence[Entry]) -> bool:
    """Tell whether JSON is Trakt's: its first entry holds a movie or a show, and a time of Trakt's."""
    values = _values(entries)
    first = values[0] if values else None
    if not isinstance(first, dict) or "title" in first or not any(name in first for name in _TIMES):
        return False
    return any(isinstance(first.get(name), dict) and "title" in first[name] for name in ("movie", "show"))


def trakt_rows(entries: Sequence[Entry]) -> list[Row]:
    """Return the entries as rows, whose columns are Trakt's own names but for `average`, what others rate."""
    return [_row(f"entry {number}", value) for number, value in enumerate(_values(entries), 1)]


def _row(place: str, value: object) -> Row:
    if not isinstance(value, dict):
        return Row(place, broken="no object")
    kind = value.get("type") or next((name for name in reversed(_THINGS) if isinstance(value.get(name), dict)), "")
    owner = "movie" if isinstance(value.get("movie"), dict) else "show"
    thing = value.get(owner)
    if not isinstance(thing, dict):
        return Row(place, broken="no movie and no show")
    ids = thing.get("ids")
    cells = {"trakt": _text(ids.get("trakt")) if isinstance(ids, dict) else "", "type": _text(kind)}
    cells |= {name.replace("_", ""): _text(value[name]) for name in (*_TIMES, "rating") if value.get(name) is not None}
    cells |= {name: _text(thing.get(name)) for name in ("title", "year", "overview", "genres")}
    return Row(place, cells | {"average": _text(thing.get("rating"))})


def _text(value: object) -> str:
    if isinstance(value, list):
        return "|".join(map(str, value))
    return "" if value is None else str(value)
