"""Requests to a worker: one line of JSON each, checked against the domain before anything is computed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.field_names import meant_field
from rella_cpp.domains.inputs import parse_json, take_history, take_items, take_user
from rella_cpp.domains.records import Item
from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError
from rella_cpp.prompts.layout import Layout
from rella_cpp.retrieval.selection import Selection
from rella_cpp.scoring.query import Query
from rella_cpp.summarization.settings import SummarySettings
from rella_gguf.near_names import unknown_key

LONGEST_LINE = 1 << 26
"""Bytes that a line may have."""

_DEEPEST = 64  # levels of lists and objects; far deeper, writing an answer would fail
_SETTINGS = ("k", "retrieval", "order", "allow_empty_history", "window")
_OWN = ("recommend", "candidates", "by", "context", "contrast", "why", "layout", "deadline")
_KEYS = ("id", "user", "history", "item", "items", *_SETTINGS, *_OWN)
_WANTED = 'give {"history": [ … ], "item": { … }}'
_MOST = 10_000
"""Items that a request may want recommended, or looked at for that."""
_LONGEST_WAIT = 86_400.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request wants besides scores of its items.

    Attributes
    ----------
    recommend, candidates
        How many items of the index in place of the request's own, and how many of it are scored for that; None: the
        request's own items.
    by
        `yes-no`: is each liked; `likelihood`: which comes next.
    contrast
        Whether the gap with no history is subtracted; None: as the worker does.
    why
        Whether to say what each behavior did to each score.
    deadline
        Seconds within which it is to be read; None: however long.

    """

    recommend: int | None = None
    candidates: int = 30
    by: str = "yes-no"
    contrast: bool | None = None
    why: bool = False
    deadline: float | None = None

    @property
    def plain(self) -> bool:
        """Whether it is scores alone, which are read together with those of other requests."""
        return self.recommend is None and self.by == "yes-no" and self.contrast is None and not self.why


@dataclass(frozen=True, slots=True)
class Request:
    """What a worker is asked.

    Attributes
    ----------
    id
        Any JSON value; the result has it, too.
    one
        Whether `item` was given, not `items`.
    query
        History, targets and user, checked; the selection is the worker's but for what the request says.
    wanted
        What else it says.

    """

    id: object
    one: bool
    query: Query
    wanted: Wanted = Wanted()


def parse_line(line: bytes) -> object:
    """Parse one line of UTF-8 JSON.

    Raises
    ------
    InputError
        It is too long, not UTF-8, not JSON, holds a number that is infinite, or is nested too deeply.

    """
    if len(line) > LONGEST_LINE:
        raise InputError(f"has more than {LONGEST_LINE >> 20} MiB", remedy="send a shorter history, or fewer items")
    try:
        value = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8", place=f"byte {error.start + 1}", remedy="send UTF-8") from None
    if _is_deep(value):
        raise InputError(f"is nested more than {_DEEPEST} levels deep", remedy="send it flatter")
    return value


def take_request(
    value: object,
    domain: Domain,
    defaults: Selection,
    summary: SummarySettings | None = None,
    layout: Layout | None = None,
) -> Request:
    """Check a request; a key that is null counts as left out.

    Parameters
    ----------
    value
        A JSON value: `{"id", "user", "history", "item", "items" or "recommend", "k", "retrieval", "order",
        "allow_empty_history", "window", "candidates", "by", "context", "contrast", "why", "layout", "deadline"}`.
    domain
        What the items are.
    defaults
        How histories are read unless the request says otherwise.
    summary
        Of the query: a summary, in whose place a request may not choose behaviors.
    layout
        The worker's, which a request may name; None: it is not looked at.

    Raises
    ------
    InputError
        A key is unknown or missing, or a value does not fit; its place is `history[3]`, `items[2]`, `item`, `k`, …

    """
    given = _given(value)
    wanted, summary = take_wanted(given), _take_context(given, summary)
    _check_layout(given, layout)
    selection, one = _take_selection(given, defaults), "item" in given
    if summary is not None and (own := [key for key in ("k", "retrieval", "order", "window") if key in given]):
        raise InputError(
            "chooses behaviors, and the worker shows summaries", place=own[0], remedy=f"leave {own[0]} out"
        )
    behaviors = take_history(given["history"], domain, allow_empty=selection.allow_empty_history)
    items: tuple[Item, ...] = ()
    if wanted.recommend is None:
        if not one and not isinstance(given["items"], list):
            raise InputError(f"is {describe(given['items'])}", place="items", remedy="give a list of items")
        with placed_in_request(one):
            items = take_items([given["item"]] if one else given["items"], domain)
    with _at("user"):
        user = take_user(given.get("user"), domain)
    history = tuple(behavior for _, behavior in sorted(behaviors, key=lambda pair: pair[0]))
    return Request(given.get("id"), one, Query(history, items, user, selection, summary), wanted)


def _given(value: object) -> dict[str, Any]:
    """Return a request's keys that have a value; refuse unknown ones, and a request that lacks one."""
    if not isinstance(value, dict):
        raise InputError(f"a request is an object, found {describe(value)}", remedy=_WANTED)
    for key in value:
        if key not in _KEYS:
            raise unknown_key(key, _KEYS, meant=meant_field(key, _KEYS))
    given = {key: entry for key, entry in value.items() if entry is not None}
    if "history" not in given:
        raise InputError("has no history", remedy=_WANTED)
    named = [key for key in ("item", "items", "recommend") if key in given]
    if len(named) != 1:
        finding = f"has both {named[0]} and {named[1]}" if named else "has no item"
        raise InputError(finding, remedy="give item or items" if "recommend" not in named else "give one of them")
    if isinstance(given["history"], dict) and "history" in given["history"]:
        remedy = "send the file's user and history as two keys of the request"
        raise InputError("is a history file's object", place="history", remedy=remedy)
    return given


def take_wanted(given: Mapping[str, Any]) -> Wanted:
    """Check what a request wants besides scores of its items.

    Raises
    ------
    InputError
        A value is of the wrong type or out of its range, or two of them do not go together; its place is the key.

    """
    for key, kind, told in (("contrast", bool, "true or false"), ("why", bool, "true or false"), ("by", str, "text")):
        if not isinstance(given.get(key, kind()), kind):
            raise InputError(f"is {describe(given[key])}", place=key, remedy=f"give {told}")
    for key in ("recommend", "candidates"):
        count = given.get(key, 1)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST:
            raise InputError(f"is {describe(count)}", place=key, remedy=f"give a whole number, 1 to {_MOST:,}")
    by, count = given.get("by", "yes-no"), given.get("recommend")
    if by not in ("yes-no", "likelihood"):
        raise InputError(f"is {describe(by)}", place="by", remedy="one of yes-no, likelihood")
    for key, there in (("why", by == "likelihood"), ("contrast", by == "likelihood"), ("candidates", count is None)):
        if given.get(key) and there:
            beside = "without recommend" if key == "candidates" else "with by likelihood"
            raise InputError(f"does not go {beside}", place=key, remedy="leave it out")
    candidates = max(given.get("candidates", 30), 0 if "candidates" in given else count or 0)
    if count is not None and count > candidates:
        remedy = "give at least as many candidates"
        raise InputError(f"{count} recommendations of {candidates} candidates", place="candidates", remedy=remedy)
    return Wanted(count, candidates, by, given.get("contrast"), given.get("why", False), take_deadline(given))


def take_deadline(given: Mapping[str, Any]) -> float | None:
    """Return a request's deadline in seconds; None where it has none.

    Raises
    ------
    InputError
        It is no number of seconds from 0 to a day.

    """
    seconds = given.get("deadline")
    if seconds is None:
        return None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= _LONGEST_WAIT:
        raise InputError(f"is {describe(seconds)}", place="deadline", remedy="give seconds, 0 to 86,400")
    return float(seconds)


def _take_context(given: Mapping[str, Any], summary: SummarySettings | None) -> SummarySettings | None:
    context = given.get("context")
    if context is None:
        return summary
    if context not in ("history", "summary"):
        raise InputError(f"is {describe(context)}", place="context", remedy="one of history, summary")
    return None if context == "history" else summary or SummarySettings()


def _check_layout(given: Mapping[str, Any], layout: Layout | None) -> None:
    own = given.get("layout")
    if own is not None and layout is not None and own != layout:
        remedy = "leave it out, or start with that --layout"
        raise InputError(f"is {describe(own)}, and the worker's is {layout}", place="layout", remedy=remedy)


@contextmanager
def placed_in_request(one: bool) -> Iterator[None]:
    """Say of a refused item where it stands in the request, which may have `item` (`one`) or `items`."""
    try:
        yield
    except InputError as error:
        place = error.place or ""
        if not place.startswith("item["):
            raise
        place = "item" if one else f"items{place.removeprefix('item')}"
        raise type(error)(error.finding, source=error.source, place=place, remedy=error.remedy) from None


def _take_selection(given: Mapping[str, Any], defaults: Selection) -> Selection:
    own = {key: given[key] for key in _SETTINGS if key in given}
    for key, value in own.items():
        if (key == "allow_empty_history") != isinstance(value, bool):
            wanted = {"allow_empty_history": "true or false", "k": "a whole number, 1 to 1,000,000"}.get(key, "text")
            raise InputError(f"{key} is {describe(value)}", place=key, remedy=f"give {wanted}")
        with _at(key):
            Selection(**{key: value})  # one at a time, so that the place is known
    return Selection(**asdict(defaults) | own)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Say where a value stood that was refused."""
    try:
        yield
    except InputError as error:
        raise error.located(place=place) from None


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for entry in level
            if isinstance(entry, list | dict)
            for child in (entry.values() if isinstance(entry, dict) else entry)
        ]
    return any(isinstance(entry, list | dict) for entry in level)
