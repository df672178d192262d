"""A package's public names, each imported when it is first asked for: all together take as long as a small model."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def public(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__` (PEP 562).

    Parameters
    ----------
    package
        Its name.
    homes
        The public names, with blanks between them, by the module that defines them.

    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def find(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(home_of[name]), name)
        setattr(sys.modules[package], name, found)  # not to be asked again
        return found

    def names() -> list[str]:
        return sorted(home_of)

    return find, names
