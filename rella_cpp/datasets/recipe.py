"""The recipe of a table: its files, columns and rules, from a TOML file or from options."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from rella_cpp.datasets.options import check_reading, delimiter_of
from rella_cpp.datasets.sources import SourceFile
from rella_cpp.domains import Domain, load_domain
from rella_cpp.errors import InputError
from rella_cpp.plain_text import read_text
from rella_cpp.records import describe

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
_Part = TypeVar("_Part", "EventColumns", "RecordColumns", "SampleRules")


@dataclass(frozen=True, slots=True)
class EventColumns:
    """The columns of the interactions; `file` is empty where the source is the file itself.

    A `timestamp` is Unix seconds or ISO 8601, a `label` 0 or 1.
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
        if self.liked_above is not None and self.liked_from is not None:
            raise InputError("both liked_above and liked_from are given", remedy="give one of them")
        for name in ("liked_above", "liked_from"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise InputError(f"{name} is {describe(value)}", remedy="give a rating")
        least = self.min_history
        if least is not None and (isinstance(least, bool) or not isinstance(least, int) or least < 0):
            raise InputError(f"min_history is {describe(least)}", remedy="give a whole number from 0")
        if self.by is not None and self.by not in _BY:
            raise InputError(f"by is {describe(self.by)}", remedy=f"one of {', '.join(_BY)}")
        if self.split is not None and not _shares(self.split):
            raise InputError(
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
        domain = load_domain(self.domain)
        for part, known in (("items", domain.item), ("users", domain.user)):
            names = [entry.name for entry in known]
            for name in getattr(self, part).fields:
                _known(name, [*names, "file", "id", "separator"], f"[{part}]")
        if self.interactions.rating and domain.rating is None:
            raise InputError(
                f"a rating column is named, but the domain {domain.name} has no ratings",
                remedy="name a label column of 0 and 1 instead, or choose another domain",
            )
        if self.interactions.rating and self.interactions.label:
            return
        rules = self.rules
        liked = rules.liked_above is not None or rules.liked_from is not None
        if self.interactions.rating and not liked:
            raise InputError(
                "which ratings are liked is not said", remedy="give liked_above or liked_from, or a label column"
            )
        if liked and not self.interactions.rating:
            raise InputError("liked_above and liked_from need ratings", remedy="name the rating column")

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
    for key, value in table.items():
        _known(key, [entry.name for entry in fields(Recipe)], None)
        if key not in _WHOLE and not isinstance(value, dict):
            raise InputError(f"{key} is {describe(value)}", remedy=f"give a table [{key}]")
    rules = dict(table.get("rules", {}))
    if isinstance(rules.get("split"), list):
        rules["split"] = tuple(rules["split"])
    parts: dict[str, Any] = {
        "interactions": _part(EventColumns, table.get("interactions", {}), "[interactions]"),
        "items": _part(RecordColumns, _with_fields(table.get("items", {})), "[items]"),
        "users": _part(RecordColumns, _with_fields(table.get("users", {})), "[users]"),
        "rules": _part(SampleRules, rules, "[rules]"),
    }
    _check_texts(table, None)
    return Recipe(**{key: table[key] for key in _WHOLE if key in table}, **parts)


def _with_fields(table: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what is no setting: a domain's field and its column. `Recipe` refuses unknown ones."""
    own = ("id", "file", "separator")
    columns = {key: value for key, value in table.items() if key not in own}
    for key, value in columns.items():
        if not isinstance(value, str):
            raise InputError(f"{key} is {describe(value)}", remedy="give the name of a column")
    return {key: table[key] for key in own if key in table} | {"fields": columns}


def _part(kind: type[_Part], table: Mapping[str, Any], place: str) -> _Part:
    known = [entry.name for entry in fields(kind)]
    for key in table:
        _known(key, known, place)
    _check_texts(table, place)
    try:
        return kind(**table)
    except InputError as error:
        raise error.located(None, place) from None


def _check_texts(table: Mapping[str, Any], place: str | None) -> None:
    for key in _TEXTS:
        if key in table and not (isinstance(table[key], str) and table[key]):
            raise InputError(f"{key} is {describe(table[key])}", place=place, remedy="give text")


def _known(key: str, known: list[str], place: str | None) -> None:
    if key in known:
        return
    near = get_close_matches(key, known, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    raise InputError(f"unknown key {key}", place=place, remedy=remedy)
