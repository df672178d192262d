"""What goes in (items, behaviors, users) and what comes out (scores)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rella_cpp.domains.values import TIMES_TAKEN, describe, plain, read_number, read_time
from rella_cpp.errors import InputError

_BEHAVIOR_KEYS = ("rating", "timestamp")


@dataclass(frozen=True, slots=True)
class Item:
    """Something to recommend: its fields by name, as the domain names them (`title`, `genres`, …).

    Fields that the domain does not show (an `id`, a link) may be there too; they never reach a prompt. NaN is None.
    """

    fields: Mapping[str, object]

    @property
    def average(self) -> float | None:
        """The item's mean rating, if it is known; to be asked where the domain reads it alone: `Domain.average_of`.

        Raises
        ------
        InputError
            It is no number.

        """
        return _number(self.fields.get("average"), "average", "give the item's mean rating, or leave it out")

    @classmethod
    def of(cls, value: "Item | Mapping[str, object]") -> "Item":
        """Take an item as it is, or a plain mapping of fields as in an item file.

        Raises
        ------
        InputError
            `value` is neither.

        """
        if isinstance(value, Item) and isinstance(value.fields, Mapping):
            fields = _plain(value.fields)
            return value if fields is value.fields else cls(fields)
        if not isinstance(value, Mapping):
            raise InputError(f"an item is an object, found {describe(value)}", remedy='give {"title": "…"}')
        return cls(dict(_plain(value)))


@dataclass(frozen=True, slots=True)
class Behavior:
    """One item of a user's history, with its rating on the domain's scale and its time (Unix seconds).

    `average` is the item's mean rating as it was known then; None: what the item itself says.
    """

    item: Item
    rating: float | None = None
    timestamp: float | None = None
    average: float | None = None

    @classmethod
    def of(cls, value: "Behavior | Mapping[str, object]") -> "Behavior":
        """Take a behavior as it is, or a plain mapping: an item's fields, `rating` and `timestamp`.

        A timestamp is a number (Unix seconds; also ms, µs or ns, told by size), ISO 8601 text or a datetime (without
        an offset: UTC). Numbers may come as text; NaN and blanks are no value.

        Raises
        ------
        InputError
            `value` is neither, or its rating, timestamp or average is of the wrong type.

        """
        if isinstance(value, Behavior):
            return replace(
                value,
                item=Item.of(value.item),
                rating=_number(value.rating, "rating", "give a number"),
                timestamp=_time(value.timestamp),
                average=_number(value.average, "average", "give a number"),
            )
        if not isinstance(value, Mapping):
            raise InputError(f"a behavior is an object, found {describe(value)}", remedy='give {"title": "…"}')
        return cls(
            Item.of({key: entry for key, entry in value.items() if key not in _BEHAVIOR_KEYS}),
            _number(value.get("rating"), "rating", "give a number"),
            _time(value.get("timestamp")),
        )


@dataclass(frozen=True, slots=True)
class User:
    """What is known of a user, by field name (`age`, `occupation`, …)."""

    fields: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, value: "User | Mapping[str, object] | None") -> "User":
        """Take a user as it is, a plain mapping of fields, or None for somebody unknown.

        Raises
        ------
        InputError
            `value` is none of these.

        """
        if isinstance(value, User) and isinstance(value.fields, Mapping):
            fields = _plain(value.fields)
            return value if fields is value.fields else cls(fields)
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            raise InputError(f"a user is an object, found {describe(value)}", remedy='give {"age": "25-34"}')
        return cls(dict(_plain(value)))


def _plain(fields: Mapping[str, object]) -> Mapping[str, object]:
    """Return fields with None for what is missing (NaN) and Python's own numbers for numpy's: themselves, mostly."""
    known = {name: plain(value) for name, value in fields.items()}
    return fields if all(known[name] is value for name, value in fields.items()) else known


def _number(value: object, name: str, remedy: str) -> float | None:
    try:
        return read_number(value)
    except ValueError:
        raise InputError(f"{name} is {describe(value)}, not a number", remedy=remedy) from None


def _time(value: object) -> float | None:
    try:
        return read_time(value)
    except (ValueError, OverflowError):
        kind = "a time" if isinstance(value, str) else "a number that is a time"
        raise InputError(
            f"timestamp is {describe(value)}, not {kind}", remedy=f"give {TIMES_TAKEN} such as 2024-05-01T20:15:00"
        ) from None
