"""Domains from TOML files: the built-in ones beside this module, and a user's own."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args

from rella_cpp.domains.domain import Domain, Field
from rella_cpp.domains.plain_text import read_text
from rella_cpp.domains.rating import RatingScale
from rella_cpp.domains.stream import Level, StreamWords
from rella_cpp.domains.values import describe
from rella_cpp.domains.wording import SummaryWords, Templates
from rella_cpp.errors import InputError, faults_of, refuse
from rella_gguf.near_names import nearest, unknown_key, unknown_name

_Record = TypeVar("_Record", Field, RatingScale, SummaryWords, Level, StreamWords, Templates, Domain)


def builtin_domains() -> tuple[str, ...]:
    """Names of the built-in domains, sorted."""
    files = resources.files("rella_cpp.domains").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def domain_source(name: str) -> str:
    """Return the TOML text of a built-in domain.

    Raises
    ------
    InputError
        There is no such domain; the nearest names are suggested.

    """
    names = builtin_domains()
    if name not in names:
        raise unknown_name("domain", name, names, more=", or give a TOML file")
    return resources.files("rella_cpp.domains").joinpath(f"{name}.toml").read_text(encoding="utf-8")


def load_domain(name: str | Path) -> Domain:
    """Load a built-in domain by its name, or a user's own from a TOML file (`*.toml`).

    Raises
    ------
    InputError
        There is no such domain or file, or the file is no TOML, or holds an unknown key or a wrong value.
    FaultsError
        It has several faults: all are named.

    """
    if isinstance(name, str) and not name.endswith(".toml"):
        return _Reader(f"domain {name}").domain({"name": name, **tomllib.loads(domain_source(name))})
    text = read_text(name, "give a TOML file in UTF-8")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # no TOML, a number of thousands of digits, lists nested as deep
        raise InputError(f"is no TOML: {error}", source=name, remedy="mend the file") from None
    return _Reader(name).domain({"name": Path(name).stem, **table})


class _Reader:
    """Reads a domain's table, and gathers what is wrong with it.

    Parameters
    ----------
    source
        The file, or the domain's name, for messages.

    Attributes
    ----------
    faults
        What was found wrong so far.

    """

    def __init__(self, source: str | Path) -> None:
        self._source = source
        self.faults: list[InputError] = []

    def domain(self, table: Mapping[str, Any]) -> Domain:
        """Make the domain of a table.

        Raises
        ------
        InputError
            It has a fault.
        FaultsError
            It has several.

        """
        known = {key: value for key, value in table.items() if key != "template"}
        known["item"] = self._fields(table.get("item", {}), "item", "text")
        known["user"] = self._fields(table.get("user", {}), "user", "value")
        for key, kind in (("rating", RatingScale), ("summary", SummaryWords)):
            if key in table:
                known[key] = self._record(kind, table[key], f"[{key}]")
        if "stream" in table:
            known["stream"] = self._stream(table["stream"])
        if isinstance(answers := table.get("answers"), list):
            known["answers"] = tuple(answers)
        if "templates" in table:  # a domain's own name for what a file calls [template]
            self._add(unknown_key("templates", ["template"]))
        known["templates"] = self._templates(table.get("template", {}))
        if "rating" in table and known["rating"] is None:
            known["stream"] = None  # without a scale there is nothing to hold its levels against
        domain = self._record(Domain, known, None)
        refuse(self.faults)
        assert domain is not None
        return domain

    def _fields(self, table: object, kind: str, default: str) -> tuple[Field, ...]:
        """Make the fields of an item or a user; where one has a fault, one that stands for all of them."""
        before = len(self.faults)
        if not isinstance(table, dict):
            self._add(InputError(f"{kind} is {describe(table)}", remedy=f"give tables such as [{kind}.title]"))
            table = {}
        made = []
        for name, entry in table.items():
            if isinstance(entry, dict):
                made.append(self._record(Field, {"type": default, **entry, "name": name}, f"[{kind}.{name}]"))
            else:
                fault = InputError(f"{name} is {describe(entry)}", remedy='give a table such as {show = "{}"}')
                self._add(fault, f"[{kind}]")
        if len(self.faults) > before:
            return (Field("title", required=True),)
        return tuple(field for field in made if field is not None)

    def _stream(self, table: object) -> StreamWords | None:
        """Make the words of a stream; None where they have a fault."""
        if not isinstance(table, dict):
            return self._record(StreamWords, table, "[stream]")
        before, known = len(self.faults), dict(table)
        for key, wanted in (("fields", 'a list of names: ["title", "year"]'), ("levels", "a list of levels")):
            if not isinstance(entries := table.get(key, []), list):
                self._add(InputError(f"{key} is {describe(entries)}", remedy=f"give {wanted}"), "[stream]")
                known[key] = []
        levels = known.get("levels", [])
        made = [self._record(Level, each, f"[stream] levels[{i}]") for i, each in enumerate(levels)]
        if len(self.faults) > before:
            return None
        known |= {key: tuple(made if key == "levels" else known[key]) for key in ("fields", "levels") if key in known}
        return self._record(StreamWords, known, "[stream]")

    def _templates(self, table: object) -> Templates:
        templates = self._record(Templates, table, "[template]") or Templates()
        if templates != Templates():
            with self._gathering("[template]"):
                templates.check()
        return templates

    def _record(self, kind: type[_Record], table: object, place: str | None) -> _Record | None:
        """Make a record of a table; keys that are unknown, missing or of a wrong type are faults.

        What is right is put to the record's own checks all the same; None where that cannot be.
        """
        if not isinstance(table, dict):
            self._add(InputError(f"is {describe(table)}", remedy="give a table"), place)
            return None
        known = {entry.name: entry for entry in fields(kind)}
        right: dict[str, Any] = {}
        meant: set[str] = set()
        for key, value in table.items():
            if key not in known:
                self._add(unknown_key(key, _FILE_KEYS if kind is Domain else known), place)
                meant.update(nearest(key, known))
            elif wanted := _wanted(known[key].type, value):
                self._add(InputError(f"{key} is {describe(value)}", remedy=f"give {wanted}"), place)
            else:
                right[key] = value
        for entry in known.values():
            if entry.default is not MISSING or entry.default_factory is not MISSING or entry.name in right:
                continue
            if entry.name not in table and entry.name not in meant:
                self._add(InputError(f"has no {entry.name}", remedy="add it"), place)
            if _name_of(entry.type) != "str":
                return None
            right[entry.name] = "?"
        with self._gathering(place):
            return kind(**right)
        return None

    def _add(self, fault: InputError, place: str | None = None) -> None:
        self.faults.append(fault.located(self._source, place))

    @contextmanager
    def _gathering(self, place: str | None) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            self.faults += (fault.located(self._source, place) for fault in faults_of(error))


_TYPES = {"str": str, "bool": bool, "float": int | float}
_WANTED = {"str": "text", "bool": "true or false", "float": "a number"}
_FILE_KEYS = [entry.name if entry.name != "templates" else "template" for entry in fields(Domain)]


def _name_of(kind: object) -> str:
    """Name the type of a record's entry; of one that may be None, the other."""
    if isinstance(kind, UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return getattr(kind, "__name__", "")


def _wanted(kind: object, value: object) -> str | None:
    """Say what a key takes where the value is none of it."""
    name = _name_of(kind)
    fits = name not in _TYPES or (isinstance(value, _TYPES[name]) and (name == "bool" or not isinstance(value, bool)))
    return None if fits else _WANTED[name]
