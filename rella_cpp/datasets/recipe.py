"""The recipe of a table: its files, columns and rules, from a TOML file or from options."""

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rella_cpp.datasets.tables.delimiters import check_reading, delimiter_of
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.loading import load_domain
from rella_cpp.domains.plain_text import read_text
from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError, faults_of, refuse
from rella_gguf.near_names import unknown_key

_BY = ("time", "users")
_TEXTS = (
    "file",
    "user",
    "item",
    "rating",
    "timestamp",
    "label",
    "id",
    "separator",
    "by",
    "domain",
    "delimiter",
    "encoding",
)
_WHOLE = ("domain", "delimiter", "encoding")


@dataclass(frozen=True, slots=True)
class EventColumns:
    """The columns of the interactions; `file` is empty where the source is the file itself.

    A `timestamp` is Unix seconds (also ms, µs, ns) or ISO 8601, a `label` 0 or 1.
    """

    user: str = "user"
    item: str = "item"
    rating: str | None = None
    timestamp: str | None = None
    label: str | None = None
    file: str = ""

    def named(self) -> dict[str, str]:
        """Return the columns that are named, by role."""
        named = {name: getattr(self, name) for name in ("user", "item", "rating", "timestamp", "label")}
        return {role: column for role, column in named.items() if column}


@dataclass(frozen=True, slots=True)
class RecordColumns:
    """The columns of items or users: field name → column, besides those that are called like a field.

    `separator` stands between the texts of a list. Items without a `file` take their fields from the interactions.
    """

    id: str = ""
    file: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    separator: str = "|"


@dataclass(frozen=True, slots=True)
class SampleRules:
    """Which interactions become samples. None stands for what fits the data, see `prepare_table`."""

    liked_above: float | None = None
    liked_from: float | None = None
    min_history: int | None = None
    split: tuple[int, ...] | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        """Refuse rules that contradict themselves."""
        refuse(self._faults())

    def _faults(self) -> Iterator[InputError]:
        if self.liked_above is not None and self.liked_from is not None:
            yield InputError("both liked_above and liked_from are given", remedy="give one of them")
        for name in ("liked_above", "liked_from"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                yield InputError(f"{name} is {describe(value)}", remedy="give a rating")
        least = self.min_history
        if least is not None and (isinstance(least, bool) or not isinstance(least, int) or least < 0):
            yield InputError(f"min_history is {describe(least)}", remedy="give a whole number from 0")
        if self.by is not None and self.by not in _BY:
            yield InputError(f"by is {describe(self.by)}", remedy=f"one of {', '.join(_BY)}")
        if self.split is not None and not _shares(self.split):
            yield InputError(
                f"split is {describe(list(self.split) if isinstance(self.split, tuple) else self.split)}",
                remedy="give three whole numbers from 0, such as 8, 1, 1: train, valid, test",
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _shares(split: object) -> bool:
    if not isinstance(split, tuple) or len(split) != 3:
        return False
    return all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s <= 1_000_000 for s in split) and sum(split) > 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a table becomes a data set. Files are relative to the source; `domain` is a name or a TOML file.

    `delimiter` and `encoding` are those of all files; None: what each file's header and mark say.
    """

    domain: str = "movies"
    interactions: EventColumns = field(default_factory=EventColumns)
    items: RecordColumns = field(default_factory=RecordColumns)
    users: RecordColumns = field(default_factory=RecordColumns)
    rules: SampleRules = field(default_factory=SampleRules)
    delimiter: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        """Refuse fields that the domain does not know and ratings where it has none."""
        check_reading(self.delimiter, self.encoding)
        refuse(self._faults())

    def _faults(self) -> Iterator[InputError]:
        domain = load_domain(self.domain)
        for part, known in (("items", domain.item), ("users", domain.user)):
            names = [entry.name for entry in known]
            yield from _unknown(getattr(self, part).fields, [*names, "file", "id", "separator"], f"[{part}]")
        if self.interactions.rating and domain.rating is None:
            yield InputError(
                f"a rating column is named, but the domain {domain.name} has no ratings",
                remedy="name a label column of 0 and 1 instead, or choose another domain",
            )
        if self.interactions.rating and self.interactions.label:
            return
        rules = self.rules
        liked = rules.liked_above is not None or rules.liked_from is not None
        if self.interactions.rating and not liked:
            yield InputError(
                "which ratings are liked is not said", remedy="give liked_above or liked_from, or a label column"
            )
        if liked and not self.interactions.rating:
            yield InputError("liked_above and liked_from need ratings", remedy="name the rating column")

    def loaded_domain(self) -> Domain:
        """Load the domain."""
        return load_domain(self.domain)

    def files(self, source: Path) -> tuple[SourceFile, ...]:
        """Return the files of the interactions, the items and the users; of the latter only those that are named.

        Raises
        ------
        InputError
            One is not there.

        """
        folder = source if source.is_dir() else source.parent
        if not source.exists():
            raise InputError("no such file or folder", source=source, remedy="give a file, or the folder of the files")
        first = folder / self.interactions.file if self.interactions.file else source
        paths = [first, *(folder / part.file for part in (self.items, self.users) if part.file)]
        for path in paths:
            if not path.exists():
                raise InputError("no such file", source=path, remedy="files are looked for beside the source")
        names = [path.resolve().name for path in paths]
        if len(set(names)) < len(names):
            names = [f"{path.resolve().parent.name}/{path.name}" for path in paths]
        delimiter = None if self.delimiter is None else delimiter_of(self.delimiter)
        return tuple(
            SourceFile(name, str(path), delimiter=delimiter, encoding=self.encoding)
            for name, path in zip(names, paths, strict=True)
        )


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a TOML file.

    Raises
    ------
    InputError
        It cannot be read, has an unknown key, or contradicts itself.
    FaultsError
        It has several faults: all are named.

    """
    text = read_text(path, "give a TOML file in UTF-8")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no TOML: {error}", source=path, remedy="mend the file") from None
    try:
        return _parse(table)
    except InputError as error:
        raise error.located(path) from None


def _parse(table: Mapping[str, Any]) -> Recipe:
    """Make the recipe of a table; all faults of the parts are found together, then those of the whole."""
    faults: list[InputError] = list(_unknown(table, [entry.name for entry in fields(Recipe)], None))
    faults += _wrong_texts(table, None)
    tables: dict[str, dict[str, Any]] = {name: {} for name in _PARTS}
    for name in _PARTS:
        if isinstance(part := table.get(name, {}), dict):
            tables[name] = dict(part)
        else:
            faults.append(InputError(f"{name} is {describe(part)}", remedy=f"give a table [{name}]"))
    if isinstance(split := tables["rules"].get("split"), list):
        tables["rules"]["split"] = tuple(split)
    parts: dict[str, Any] = {name: _part(kind, tables[name], f"[{name}]", faults) for name, kind in _PARTS.items()}
    refuse(faults)
    return Recipe(**{key: table[key] for key in _WHOLE if key in table}, **parts)


_PARTS: dict[str, type[EventColumns | RecordColumns | SampleRules]] = {
    "interactions": EventColumns,
    "items": RecordColumns,
    "users": RecordColumns,
    "rules": SampleRules,
}


def _part(
    kind: type[EventColumns | RecordColumns | SampleRules], table: dict[str, Any], place: str, faults: list[InputError]
) -> EventColumns | RecordColumns | SampleRules:
    """Make a part of a recipe; in place of one with a fault, one that stands for it."""
    found: list[InputError] = []
    if kind is RecordColumns:
        table = _with_fields(table, place, found)
    else:
        found += _unknown(table, [entry.name for entry in fields(kind)], place)
    found += _wrong_texts(table, place)
    known = {entry.name for entry in fields(kind)}
    try:
        made = kind(**{key: value for key, value in table.items() if key in known})
    except InputError as error:
        found += (fault.located(None, place) for fault in faults_of(error))
    faults += found
    return kind() if found else made


def _with_fields(table: Mapping[str, Any], place: str, faults: list[InputError]) -> dict[str, Any]:
    """Gather what is no setting: a domain's field and its column. `Recipe` refuses unknown ones."""
    own = ("id", "file", "separator")
    columns = {key: value for key, value in table.items() if key not in own}
    for key, value in columns.items():
        if not isinstance(value, str):
            fault = InputError(f"{key} is {describe(value)}", place=place, remedy="give the name of a column")
            faults.append(fault)
    return {key: table[key] for key in own if key in table} | {"fields": columns}


def _wrong_texts(table: Mapping[str, Any], place: str | None) -> Iterator[InputError]:
    for key in _TEXTS:
        if key in table and not (isinstance(table[key], str) and table[key]):
            yield InputError(f"{key} is {describe(table[key])}", place=place, remedy="give text")


def _unknown(keys: Iterable[str], known: list[str], place: str | None) -> Iterator[InputError]:
    return (unknown_key(key, known, place=place) for key in keys if key not in known)
