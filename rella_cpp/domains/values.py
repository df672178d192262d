"""One way to read a single value, whatever wrote it: what is absent, ids, numbers, times.

Tables read whole columns by the same rules: `datasets/columns.py`, `datasets/ids.py`, `datasets/times.py`.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from numbers import Integral, Real

ABSENT_WORDS = ("nan", "none", "null", "na", "<na>", "nat", r"\n")
"""What Python, R, pandas and databases write for no value, where a number is meant; a title may be called so."""
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\s*$"
WHOLE = r"^-?(0|[1-9]\d*)(\.0)?$"
WHOLE_FLOAT = r"^(-?(0|[1-9]\d*))\.0$"
"""A whole number as a table writes it whose column is of floats: `128.0`; the number itself is the first group."""
TIMES_TAKEN = "Unix seconds (also ms, µs, ns) or ISO 8601"

_NUMBER = re.compile(NUMBER, re.ASCII)
_WHOLE_FLOAT = re.compile(WHOLE_FLOAT, re.ASCII)
_WHOLE = re.compile(WHOLE, re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 60
_NO_VALUES = ("NAType", "NaTType")  # pandas' own


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of Unix times: how many make a second, and the least size that no time in it has."""

    name: str
    a_second: int
    below: float


UNITS = (
    Unit("seconds", 1, 1e11),
    Unit("milliseconds", 1_000, 1e14),
    Unit("microseconds", 1_000_000, 1e17),
    Unit("nanoseconds", 1_000_000_000, 1e20),
)
"""Told apart by size alone: the times from March 1973 to the year 5138 are read right in each."""


def is_missing(value: object) -> bool:
    """Tell whether a value is none: None, NaN, or pandas' NA and NaT."""
    if value is None or type(value).__name__ in _NO_VALUES:
        return True
    return isinstance(value, Real) and not isinstance(value, Integral) and math.isnan(value)


def is_absent(value: object) -> bool:
    """Tell whether a value is none where a number is meant: missing, blank, or a word for it."""
    return is_missing(value) or (isinstance(value, str) and value.strip().casefold() in ("", *ABSENT_WORDS))


def plain(value: object) -> object:
    """Return a value as JSON has it: None for what is missing, Python's own for numpy's numbers and arrays."""
    if is_missing(value):
        return None
    return value.tolist() if type(value).__module__ == "numpy" and hasattr(value, "tolist") else value


def as_whole(text: str) -> str:
    """Return `128` for `128.0`, and any other text as it is."""
    found = _WHOLE_FLOAT.match(text)
    return text if found is None else found[1].replace("-0", "0") if found[2] == "0" else found[1]


def id_text(value: object) -> str | None:
    """Return an id as text, `128` for the number 128.0; None where there is none. A text stays as it is."""
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, Real) and not isinstance(value, Integral):
        return as_whole(repr(float(value)))
    return str(value).strip()


def settled_ids(values: Sequence[object]) -> list[str | None]:
    """Return the ids of one catalog as texts; those of a table that wrote all of them as `128.0` are numbers."""
    texts = [id_text(value) for value in values]
    numbers = [text is None or _WHOLE.match(text) is not None for text in texts]
    return [None if text is None else as_whole(text) for text in texts] if all(numbers) else texts


def same_id(one: str, other: str) -> bool:
    """Tell whether two texts are one id: `128.0` that a table wrote is 128."""
    return one == other or as_whole(one) == as_whole(other)


def read_number(value: object) -> float | None:
    """Return a number, which may come as text; None where it is absent.

    Raises
    ------
    ValueError
        It is no finite number.

    """
    if is_absent(value):
        return None
    written = isinstance(value, str) and _NUMBER.match(value)
    if isinstance(value, bool) or not (written or isinstance(value, Real)):
        raise ValueError("no number")
    try:
        number = float(value)  # type: ignore[arg-type]  # a text that is a number, or a number
    except OverflowError:  # an integer beyond every float
        raise ValueError("no number") from None
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def unit_of(value: object) -> Unit | None:
    """Return the unit of a time that is a number, by its size; None of any other, and of 0.

    Raises
    ------
    ValueError
        It is too large for a time.

    """
    try:
        number = read_number(value)
    except ValueError:
        return None
    if not number:
        return None
    unit = next((unit for unit in UNITS if abs(number) < unit.below), None)
    if unit is None:
        raise ValueError("no time")
    return unit


def read_time(value: object) -> float | None:
    """Return Unix seconds of a number in any of the `UNITS`, of ISO 8601 text or of a datetime; None where absent.

    Times without an offset are UTC.

    Raises
    ------
    ValueError
        It is no time.

    """
    if is_absent(value):
        return None
    if isinstance(value, datetime):
        return _aware(value).timestamp()
    if isinstance(value, date):
        return _aware(datetime.combine(value, time())).timestamp()
    if isinstance(value, str) and not _NUMBER.match(value):
        return _aware(datetime.fromisoformat(value.strip())).timestamp()
    number, unit = read_number(value), unit_of(value)
    if number is not None and is_date(number):
        raise ValueError("a date in eight digits")
    if number is None or unit is None:
        return number
    return float(_exact(value, number) / unit.a_second)


def iso_moment(text: str) -> tuple[int, int] | None:
    """Return the seconds and the nanoseconds of a time in ISO 8601; None where it is none."""
    try:
        since = _aware(datetime.fromisoformat(text.strip())) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return since.days * 86_400 + since.seconds, since.microseconds * 1000


def quoted(value: object) -> str:
    """Show a value in quotes, for messages: text as it is, others as JSON; of what is long, the beginning."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…")
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (TypeError, ValueError, RecursionError):  # no JSON's: keys that are no texts, an endless list, a huge number
        text = f"<{type(value).__name__}>"
    return f"'{text if len(text) <= _SHOWN else f'{text[: _SHOWN - 1]}…'}'"


def is_date(number: float) -> bool:
    """Tell a number such as 20240501, which somebody meant for a date, and nobody for a day of August 1970."""
    year, month, day = int(number) // 10_000, int(number) // 100 % 100, int(number) % 100
    return number == int(number) and 1900 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= 31


def _exact(value: object, number: float) -> int | float:
    """Return a whole number as it is written: a float does not hold all digits of nanoseconds."""
    text = str(value).strip()
    whole = isinstance(value, str | Integral) and text.lstrip("+-").isdecimal()
    return int(text) if whole else number


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def encodable(text: str) -> str:
    """Return a text without halves of surrogate pairs, which JSON may hold and no encoding has."""
    return text.encode(errors="replace").decode()


def describe(value: object) -> str:
    """Name a JSON value's type and show its beginning in quotes, for messages."""
    names = {type(None): "null", bool: "true/false", str: "text", list: "a list", dict: "an object"}
    kind = names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
    return kind if value is None else f"{kind} ({quoted(value)})"
