"""Requests to a worker: one line of JSON each, checked against the domain before anything is computed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.field_names import meant_field
from rella_cpp.domains.inputs import parse_json, take_history, take_items, take_user
from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError
from rella_cpp.retrieval.selection import Selection
from rella_cpp.scoring.query import Query
from rella_cpp.summarization.settings import SummarySettings
from rella_gguf.near_names import unknown_key

LONGEST_LINE = 1 << 26
"""Bytes that a line may have."""

_DEEPEST = 64  # levels of lists and objects; far deeper, writing an answer would fail
_SETTINGS = ("k", "retrieval", "order", "allow_empty_history", "window")
_KEYS = ("id", "user", "history", "item", "items", *_SETTINGS)
_WANTED = 'give {"history": [ … ], "item": { … }}'


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

    """

    id: object
    one: bool
    query: Query


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


def take_request(value: object, domain: Domain, defaults: Selection, summary: SummarySettings | None = None) -> Request:
    """Check a request; a key that is null counts as left out.

    Parameters
    ----------
    value
        A JSON value: `{"id", "user", "history", "item" or "items", "k", "retrieval", "order", "allow_empty_history",
        "window"}`.
    domain
        What the items are.
    defaults
        How histories are read unless the request says otherwise.
    summary
        Of the query: a summary, in whose place a request may not choose behaviors.

    Raises
    ------
    InputError
        A key is unknown or missing, or a value does not fit; its place is `history[3]`, `items[2]`, `item`, `k`, …

    """
    if not isinstance(value, dict):
        raise InputError(f"a request is an object, found {describe(value)}", remedy=_WANTED)
    for key in value:
        if key not in _KEYS:
            raise unknown_key(key, _KEYS, meant=meant_field(key, _KEYS))
    given = {key: entry for key, entry in value.items() if entry is not None}
    if "history" not in given:
        raise InputError("has no history", remedy=_WANTED)
    if ("item" in given) == ("items" in given):
        raise InputError("has both item and items" if "item" in given else "has no item", remedy="give item or items")
    if isinstance(given["history"], dict) and "history" in given["history"]:
        remedy = "send the file's user and history as two keys of the request"
        raise InputError("is a history file's object", place="history", remedy=remedy)
    selection, one = _take_selection(given, defaults), "item" in given
    if summary is not None and (own := [key for key in ("k", "retrieval", "order", "window") if key in given]):
        raise InputError(
            "chooses behaviors, and the worker shows summaries", place=own[0], remedy=f"leave {own[0]} out"
        )
    behaviors = take_history(given["history"], domain, allow_empty=selection.allow_empty_history)
    if not one and not isinstance(given["items"], list):
        raise InputError(f"is {describe(given['items'])}", place="items", remedy="give a list of items")
    with placed_in_request(one):
        items = take_items([given["item"]] if one else given["items"], domain)
    with _at("user"):
        user = take_user(given.get("user"), domain)
    history = tuple(behavior for _, behavior in sorted(behaviors, key=lambda pair: pair[0]))
    return Request(given.get("id"), one, Query(history, items, user, selection, summary))


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
