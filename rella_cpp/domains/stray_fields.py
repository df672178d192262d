"""Warnings of fields that are not read, though another was probably meant by them: `genre`, `date`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.field_names import meant_field
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.stream import AVERAGE
from rella_gguf.near_names import nearest, shown_name

logger = logging.getLogger("rella_cpp")

Record = tuple[str | None, Mapping[str, object]]
"""Where a record stands, and its fields by name."""


@dataclass(frozen=True, slots=True)
class UnreadField:
    """A field that is not read, though another was probably meant by it, which is not there.

    `place` is that of the first record that has it, `count` how many have it.
    """

    name: str
    meant: str
    place: str | None
    count: int = 1

    def warn(self, source: str | None) -> None:
        """Log one line. All that varies but the known field is an argument: a listener may drop what it has heard."""
        where = ", ".join(part for part in (source, self.place) if part)
        more = f" and {self.count - 1:,} more" if self.count > 1 else ""
        meant = self.meant.replace("%", "%%")
        alike = nearest(self.name, [self.meant], closely=True)
        remedy = f"did you mean {meant}?" if alike else f"{meant} is"
        logger.warning(f"%s%s is not read; {remedy}", f"{where}{more}: " if where else "", shown_name(self.name))


def unread_fields(records: Iterable[Record], known: Iterable[str]) -> list[UnreadField]:
    """Find fields that are not known, but probably meant for one that is, and that the same record lacks.

    What is near to no known name is nobody's mistake: records may have more than prompts show.
    """
    known = tuple(dict.fromkeys(known))
    names = frozenset(known)
    found: dict[tuple[str, str], UnreadField] = {}
    for place, fields in records:
        if fields.keys() <= names:
            continue
        for name in fields:
            meant = None if name in names else meant_field(str(name), known)
            if meant is None or fields.get(meant) is not None:
                continue
            first = found.get((str(name), meant), UnreadField(str(name), meant, place, 0))
            found[str(name), meant] = UnreadField(first.name, meant, first.place, first.count + 1)
    return list(found.values())


def unshown_fields(items: Sequence[Item], domain: Domain, *, long: bool, stream: bool = False) -> list[str]:
    """Return the fields of items that prompts never show, but for those that were meant for another: `Genre`."""
    told = {field.name for field in unread_fields(((None, item.fields) for item in items), _of_items(domain))}
    return [name for name in domain.unshown(items, long=long, stream=stream) if name not in told]


def warn_of_behaviors(
    source: str | None, places: Iterable[str | None], behaviors: Iterable[Behavior], domain: Domain
) -> None:
    """Log fields of behaviors that are not read; `source` and the places say where they stand."""
    own = ("timestamp",) if domain.rating is None else ("rating", "timestamp")
    records = zip(places, map(_fields_of, behaviors), strict=True)
    _warn(source, records, (*_of_items(domain), *own))


def warn_of_items(source: str | None, places: Iterable[str | None], items: Iterable[Item], domain: Domain) -> None:
    """Log fields of items that are not read."""
    _warn(source, zip(places, (item.fields for item in items), strict=True), _of_items(domain))


def warn_of_user(source: str | None, place: str | None, user: User, domain: Domain) -> None:
    """Log fields of a user that are not read."""
    _warn(source, [(place, user.fields)], [field.name for field in domain.user])


def warn_of_mappings(history: Sequence[object], items: Sequence[object], user: object, domain: Domain) -> None:
    """Log fields that are not read of what a program gave as plain mappings; records were made by somebody who knew."""
    past = {f"history[{i}]": Behavior.of(value) for i, value in enumerate(history) if isinstance(value, Mapping)}
    warn_of_behaviors(None, past.keys(), past.values(), domain)
    targets = {f"item[{i}]": Item.of(value) for i, value in enumerate(items) if isinstance(value, Mapping)}
    warn_of_items(None, targets.keys(), targets.values(), domain)
    if isinstance(user, Mapping):
        warn_of_user(None, "user", User.of(user), domain)


def _warn(source: str | None, records: Iterable[Record], known: Iterable[str]) -> None:
    for field in unread_fields(records, known):
        field.warn(source)


def _of_items(domain: Domain) -> tuple[str, ...]:
    averages = (AVERAGE,) if domain.reads_averages else ()
    return (*(field.name for field in domain.item), "id", *averages)


def _fields_of(behavior: Behavior) -> Mapping[str, object]:
    own = {"rating": behavior.rating, "timestamp": behavior.timestamp}
    return {**behavior.item.fields, **{name: value for name, value in own.items() if value is not None}}
