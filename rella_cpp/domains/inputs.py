"""Histories, items and users from JSON, checked against a domain before any model is loaded.

What is no JSON `exports/inputs` reads. Every refusal names the file and the place in it.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.field_names import missing_field
from rella_cpp.domains.plain_text import decode, is_python, read_bytes
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.stray_fields import warn_of_behaviors, warn_of_items, warn_of_user
from rella_cpp.domains.values import Unit, describe, quoted, unit_of
from rella_cpp.errors import InputError
from rella_gguf.near_names import unknown_key
from rella_gguf.regular import read_stream
from rella_gguf.strict_json import NotFinite, loads

STANDARD_INPUT = "-"
ALLOW_EMPTY = 'allow it (--allow-empty-history; "allow_empty_history": true in a request, =True in Python)'
"""How to score without a history, for messages."""

_HISTORY_KEYS = ("user", "history")


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of a file and where it stood."""

    value: object
    place: str | None


@dataclass(frozen=True, slots=True)
class Places:
    """Where records were read: the file's name for messages, and each one's place in it (None: all there is)."""

    source: str
    places: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class History:
    """A history file: its behaviors as they stand in it, the user where it names one, and where they stood."""

    behaviors: tuple[Behavior, ...]
    user: User | None = None
    places: Places | None = field(default=None, compare=False, repr=False)


def history_of(entries: list[Entry], source: str, domain: Domain, *, allow_empty: bool = False) -> History:
    """Make a history of a file's values: a list of behaviors, one behavior each, or `{"user": {…}, "history": [ … ]}`.

    Raises
    ------
    InputError
        A record in it does not fit the domain.

    """
    user: User | None = None
    value = entries[0].value if len(entries) == 1 else None
    if isinstance(value, dict) and "history" in value:
        if unknown := sorted(set(value) - set(_HISTORY_KEYS)):
            raise unknown_key(unknown[0], _HISTORY_KEYS).located(source)
        if not isinstance(value["history"], list):
            raise InputError(
                f"history is {describe(value['history'])}", source=source, remedy="give a list of behaviors"
            )
        with _at(source, "user"):
            user = None if value.get("user") is None else take_user(value["user"], domain)
        if user is not None:
            warn_of_user(source, "user", user, domain)
        entries = _numbered(value["history"], "history")
    elif isinstance(value, list):
        entries = _numbered(value, "history")
    elif isinstance(value, dict):
        _refuse_misnamed_history(value, domain, source)
    behaviors = _behaviors(entries, domain, source, allow_empty=allow_empty)
    in_file_order = tuple(behavior for _, behavior in sorted(behaviors, key=lambda pair: pair[0]))
    places = _places(source, entries)
    warn_of_behaviors(source, places.places, in_file_order, domain)
    return History(in_file_order, user, places)


def items_of(entries: list[Entry], source: str, domain: Domain) -> tuple[tuple[Item, ...], Places]:
    """Make target items of a file's values, one object each or a list of them; return where they stood, too.

    Raises
    ------
    InputError
        There is no item, or one does not fit the domain.

    """
    if len(entries) == 1 and isinstance(entries[0].value, list):
        entries = _numbered(entries[0].value, "item")
    items = _items(entries, domain, source)
    places = _places(source, entries)
    warn_of_items(source, places.places, items, domain)
    return items, places


def read_user(path: str | Path, domain: Domain) -> User:
    """Read a user: one object.

    Raises
    ------
    InputError
        It cannot be read, or a field does not fit the domain.

    """
    source, entries = _read(path)
    if len(entries) != 1:
        raise InputError(f"holds {len(entries)} values", source=source, remedy="give one object")
    with _at(source, entries[0].place):
        user = take_user(entries[0].value, domain)
    warn_of_user(source, entries[0].place, user, domain)
    return user


def read_values(path: str | Path) -> tuple[str, list[tuple[str, object]]]:
    """Read a JSON list or JSON Lines as they are: the file's name for messages, and each value with its place.

    Raises
    ------
    InputError
        It cannot be read, or is empty.

    """
    source, entries = _read(path)
    if len(entries) == 1 and entries[0].place is None:
        value = entries[0].value
        if not isinstance(value, list) or not value:
            raise InputError(f"is {describe(value)}", source=source, remedy="give a list that is not empty")
        entries = _numbered(value, "entry")
    return source, [(str(entry.place), entry.value) for entry in entries]


def take_history(
    values: Sequence[Behavior | Mapping[str, object]], domain: Domain, *, allow_empty: bool = False
) -> list[tuple[int, Behavior]]:
    """Check behaviors (records or mappings); return them oldest first, each with its place in the input.

    Raises
    ------
    InputError
        One does not fit the domain, only some have a timestamp, or there are none.

    """
    return _behaviors(_numbered(values, "history"), domain, None, allow_empty=allow_empty)


def take_items(values: Sequence[Item | Mapping[str, object]], domain: Domain) -> tuple[Item, ...]:
    """Check items (records or mappings) against a domain.

    Raises
    ------
    InputError
        One does not fit the domain, or there are none.

    """
    return _items(_numbered(values, "item"), domain, None)


def take_user(value: object, domain: Domain) -> User:
    """Check a user (a record, a mapping, or None) against a domain.

    Raises
    ------
    InputError
        A field does not fit the domain.

    """
    user = User.of(value)  # type: ignore[arg-type]  # `of` refuses what it does not take
    domain.user_fields(user)
    return user


def _refuse_misnamed_history(value: Mapping[str, object], domain: Domain, source: str) -> None:
    """Refuse what would be one behavior, but holds a list by a name near to `history` in place of an item's fields."""
    required = {field.name for field in domain.item if field.required}
    lists = {key: entry for key, entry in value.items() if isinstance(entry, list)}
    refusal = missing_field("history", lists, (), "")
    if not required & value.keys() and refusal.finding != "has no history":
        raise refusal.located(source)


def _places(source: str, entries: Sequence[Entry]) -> Places:
    return Places(source, tuple(entry.place for entry in entries))


def _behaviors(
    entries: Sequence[Entry], domain: Domain, source: str | None, *, allow_empty: bool
) -> list[tuple[int, Behavior]]:
    if not entries and not allow_empty:
        raise InputError(
            "the history is empty",
            source=source,
            remedy=f"give behaviors, or {ALLOW_EMPTY}",
        )
    behaviors: list[Behavior] = []
    for entry in entries:
        with _at(source, entry.place):
            behaviors.append(Behavior.of(entry.value))  # type: ignore[arg-type]
            domain.check_behavior(behaviors[-1])
    timed = [behavior.timestamp is not None for behavior in behaviors]
    if any(timed) and not all(timed):
        untimed = timed.index(False)
        refusal = missing_field("timestamp", behaviors[untimed].item.fields, (), "give every behavior one, or none")
        raise InputError(
            f"{refusal.finding}, but {sum(timed)} of {len(timed)} behaviors have one",
            source=source,
            place=entries[untimed].place,
            remedy=refusal.remedy,
        )
    _refuse_mixed_units(entries, source)
    return sorted(enumerate(behaviors), key=lambda pair: pair[1].timestamp or 0.0)


def _refuse_mixed_units(entries: Sequence[Entry], source: str | None) -> None:
    """Refuse a history whose times, as numbers, are of several units."""
    first: tuple[object, Unit] | None = None
    for entry in entries:
        value = entry.value
        time = value.timestamp if isinstance(value, Behavior) else value.get("timestamp")  # type: ignore[attr-defined]
        unit = unit_of(time)
        if first is None and unit is not None:
            first = (time, unit)
        if first is not None and unit not in (None, first[1]):
            raise InputError(
                f"timestamp is {quoted(time)}, {unit.name}, but {quoted(first[0])} before it, {first[1].name}",
                source=source,
                place=entry.place,
                remedy="give all times of a history in one unit",
            )


def _items(entries: Sequence[Entry], domain: Domain, source: str | None) -> tuple[Item, ...]:
    if not entries:
        raise InputError("there is no item", source=source, remedy="give at least one")
    items: list[Item] = []
    for entry in entries:
        with _at(source, entry.place):
            items.append(Item.of(entry.value))  # type: ignore[arg-type]
            domain.check_item(items[-1])
    return tuple(items)


def _numbered(values: object, name: str) -> list[Entry]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence):
        raise InputError(f"{name} is {describe(values)}", remedy="give a list")
    return [Entry(value, f"{name}[{i}]") for i, value in enumerate(values)]


@contextmanager
def _at(source: str | None, place: str | None) -> Iterator[None]:
    """Say where a record stood that was refused."""
    try:
        yield
    except InputError as error:
        raise error.located(source, place) from None


def source_name(path: str | Path) -> str:
    """Name a file in messages."""
    return "standard input" if str(path) == STANDARD_INPUT else str(path)


def read_file(path: str | Path) -> bytes:
    """Read a file, a pipe that the shell opened, or standard input (`-`) whole.

    Raises
    ------
    InputError
        It cannot be read.

    """
    if str(path) == STANDARD_INPUT:
        return _standard_input()
    return read_bytes(path, "give a readable file", handed_down=True)


def _read(path: str | Path) -> tuple[str, list[Entry]]:
    source = source_name(path)
    return source, json_entries(decode(read_file(path), source), source)


def json_entries(text: str, source: str) -> list[Entry]:
    """Return a file's JSON values: the one of a JSON file, or one a line of a JSON Lines file.

    Raises
    ------
    InputError
        It is empty, or no JSON.

    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise InputError("is empty", source=source, remedy="give JSON or JSON Lines")
    if len(lines) > 1 and is_json(lines[0][1]):
        return [Entry(parse_json(line, source, number), f"line {number}") for number, line in lines]
    return [Entry(parse_json(text, source, 1), None)]


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise InputError("it is closed", source=source_name(STANDARD_INPUT), remedy="give a readable file")
    try:
        return read_stream(sys.stdin.buffer, source_name(STANDARD_INPUT))
    except OSError as error:  # a folder, say
        raise InputError(
            error.strerror or str(error), source=source_name(STANDARD_INPUT), remedy="give a readable file"
        ) from None


def is_json(line: str) -> bool:
    """Tell whether a text is one JSON value."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def parse_json(text: str, source: str | None = None, first_line: int | None = None) -> object:
    """Parse one JSON value. NaN, as Python writes a missing value, is null.

    Parameters
    ----------
    source
        Where it is from, for messages.
    first_line
        The number of its first line there; None: lines are not numbered.

    Raises
    ------
    InputError
        It is no JSON, or holds an infinity or a number beyond every float.

    """
    try:
        return loads(text, nan_is_null=True)
    except NotFinite as error:
        raise InputError(
            f"holds {error.name}, which is no number that can be used", source=source, remedy="leave the value out"
        ) from None
    except json.JSONDecodeError as error:
        if is_python(text):
            raise InputError(
                "is what Python prints, not JSON (its texts stand in single quotes)",
                source=source,
                place=None if first_line is None else f"line {first_line}",
                remedy="write it with json.dump",
            ) from None
        found = text[error.pos :].split("\n")[0].strip()[:20]
        line = "" if first_line is None else f"line {first_line + error.lineno - 1}, "
        raise InputError(
            f"is not JSON ({error.msg}){f' at {quoted(found)}' if found else ' at its end'}",
            source=source,
            place=f"{line}column {error.colno}",
            remedy="mend it there",
        ) from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # an integer of thousands of digits, nesting of thousands of levels
        raise InputError(f"is not JSON that can be read ({error})", source=source, remedy="mend it") from None
