"""The files about a user: the history, and what else is known; and files of items beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rella_cpp import Domain, History, User
    from rella_cpp.domains.inputs import Places

HISTORY = "The user's history: JSON, or an export (Letterboxd, IMDb, …; CSV, zip). Or - for standard input."


def history_option(text: str) -> Any:
    """Declare --history."""
    return typer.Option("--history", metavar="FILE", help=text)


def items_option(text: str, *first: str, panel: str | None = None) -> Any:
    """Declare --items, a file; `first` are other names of it."""
    return typer.Option(*first, "--items", metavar="FILE", help=text, rich_help_panel=panel)


UserFile = Annotated[
    str | None,
    typer.Option("--user", metavar="FILE", help='What is known of the user: one object, {"age": "25-34"}.'),
]


Series = Annotated[bool, typer.Option("--series", help="Of an export, also take what is no film: series, episodes, ….")]


def read_past(
    history: str, user: str | None, domain: "Domain", *, allow_empty: bool = False, series: bool = False
) -> "tuple[History, User | None]":
    """Read a history, and the user from it or from a file of its own."""
    from rella_cli.log import listen
    from rella_cpp import InputError, read_history, read_user

    listen(False)
    past = read_history(history, domain, allow_empty=allow_empty, series=series)
    if user is None:
        return past, past.user
    person = read_user(user, domain)
    if past.user is not None:
        raise InputError("names a user, and so does --user", source=history, remedy="give one of them")
    return past, person


@contextmanager
def placed_in_files(past: "History | None" = None, items: "Places | None" = None) -> Iterator[None]:
    """Say of a behavior or an item that is refused only now, such as one too long, where in which file it stands."""
    from rella_cpp import ContextError, InputError
    from rella_cpp.prompts.lengths import located_in

    behaviors = None if past is None else past.places
    try:
        yield
    except InputError as error:
        for name, known in (("history", behaviors), ("item", items)):
            if known is not None:
                error = located_in(error, name, known.places, known.source)
        whole = behaviors if items is None or str(error.place).startswith("history") else items
        raise (error.located(whole.source) if isinstance(error, ContextError) and whole else error) from None
