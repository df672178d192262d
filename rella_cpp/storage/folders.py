"""Where the things of one user lie: the cache, and what trials found."""

import os
from collections.abc import Callable
from pathlib import Path

from rella_cpp.errors import InputError


def own_folder(variable: str, usual: Callable[[], Path]) -> Path:
    """Return the folder that an environment variable names (`~` is the home folder), else the usual one.

    Raises
    ------
    InputError
        There is no such user, or nobody knows this one's home folder.

    """
    remedy = f"name a folder in {variable}"
    if chosen := os.environ.get(variable):
        path = os.path.expanduser(chosen)  # Path's own raises where there is no such user
        if path.startswith("~"):
            raise InputError(f"{variable} is {chosen!r}, and there is no such user", remedy=remedy)
        return Path(path)
    try:
        folder = usual()
    except RuntimeError:  # newer versions of platformdirs say so
        folder = Path("~")
    if folder.parts[:1] == ("~",):
        raise InputError("there is no home folder (HOME)", remedy=remedy)
    return folder
