"""Domains from TOML files: the built-in ones beside this module, and a user's own."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from rella_cpp.domains.definition import Domain, Field, RatingScale, SummaryWords, Templates
from rella_cpp.errors import InputError
from rella_cpp.plain_text import read_text
from rella_cpp.records import describe

_Record = TypeVar("_Record", Field, RatingScale, SummaryWords, Templates, Domain)


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
        near = get_close_matches(name, names, n=2, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"unknown domain {name!r}", remedy=f"{hint}there are {', '.join(names)}, or give a TOML file")
    return resources.files("rella_cpp.domains").joinpath(f"{name}.toml").read_text(encoding="utf-8")


def load_domain(name: str | Path) -> Domain:
    """Load a built-in domain by its name, or a user's own from a TOML file (`*.toml`).

    Raises
    ------
    InputError
        There is no such domain or file, or the file is no TOML, or holds an unknown key or a wrong value.

    """
    if isinstance(name, str) and not name.endswith(".toml"):
        return _parse({"name": name, **tomllib.loads(domain_source(name))}, f"domain {name}")
    text = read_text(name, "give a TOML file in UTF-8")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # no TOML, a number of thousands of digits, lists nested as deep
        raise InputError(f"is no TOML: {error}", source=name, remedy="mend the file") from None
    return _parse({"name": Path(name).stem, **table}, name)


def _parse(table: Mapping[str, Any], source: str | Path) -> Domain:
    known = dict(table)
    known["item"] = _fields(known.get("item", {}), "item", "text", source)
    known["user"] = _fields(known.get("user", {}), "user", "value", source)
    if "rating" in known:
        known["rating"] = _build(RatingScale, known["rating"], "[rating]", source)
    if "summary" in known:
        known["summary"] = _build(SummaryWords, known["summary"], "[summary]", source)
    if "answers" in known:
        answers = known["answers"]
        known["answers"] = tuple(answers) if isinstance(answers, list) else answers
    known["templates"] = _build(Templates, known.pop("template", {}), "[template]", source)
    if known["templates"] != Templates():
        try:
            known["templates"].check()
        except InputError as error:
            raise error.located(source, "[template]") from None
    return _build(Domain, known, None, source)


def _fields(table: object, kind: str, default: str, source: str | Path) -> tuple[Field, ...]:
    if not isinstance(table, dict):
        raise InputError(f"{kind} is {describe(table)}", source=source, remedy=f"give tables such as [{kind}.title]")
    return tuple(
        _build(Field, {"type": default, **entry, "name": name}, f"[{kind}.{name}]", source)
        if isinstance(entry, dict)
        else _refuse(entry, f"[{kind}]", name, source)
        for name, entry in table.items()
    )


def _refuse(entry: object, place: str, name: str, source: str | Path) -> Field:
    raise InputError(
        f"{name} is {describe(entry)}",
        source=source,
        place=place,
        remedy='give a table such as {show = "{}"}',
    )


_TYPES = {"str": str, "bool": bool, "float": int | float}
_WANTED = {str: "text", bool: "true or false", int | float: "a number"}


def _build(kind: type[_Record], table: object, place: str | None, source: str | Path) -> _Record:
    """Make a record of a table: unknown and missing keys and wrong types are refused by name."""
    if not isinstance(table, dict):
        raise InputError(f"is {describe(table)}", source=source, place=place, remedy="give a table")
    known = {entry.name: entry for entry in fields(kind)}
    for key, value in table.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise InputError(f"unknown key {key}", source=source, place=place, remedy=remedy)
        wanted = _TYPES.get(getattr(known[key].type, "__name__", ""))
        if wanted is not None and (not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool))):
            raise InputError(
                f"{key} is {describe(value)}", source=source, place=place, remedy=f"give {_WANTED[wanted]}"
            )
    for entry in known.values():
        if entry.name not in table and entry.default is MISSING and entry.default_factory is MISSING:
            raise InputError(f"has no {entry.name}", source=source, place=place, remedy="add it")
    try:
        return kind(**table)
    except InputError as error:
        raise error.located(source, place) from None
