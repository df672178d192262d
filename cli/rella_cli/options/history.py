"""The files about a user: the history, the items asked about, and what else is known."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from rella_cli.options.domain import domain_option

if TYPE_CHECKING:
    from rella_cpp import Behavior, Domain, History, Item, User
    from rella_cpp.inputs import Places

_HISTORY = "The user's history, or - for standard input."


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


class Question(NamedTuple):
    """What is asked: of which items, for whom; and where the items stand."""

    past: "History"
    items: "tuple[Item, ...]"
    user: "User | None"
    places: "Places"

    @property
    def behaviors(self) -> "tuple[Behavior, ...]":
        """The history."""
        return self.past.behaviors


@dataclass(frozen=True, slots=True)
class QuestionOptions:
    """The files of a question: history and items are required unless a worker reads requests."""

    history: Annotated[str | None, history_option(_HISTORY)] = None
    item: Annotated[str | None, items_option("The target item, or a list of them.", "--item")] = None
    user: UserFile = None
    domain: Annotated[str, domain_option("What the items are: a built-in domain (`rella domains`) or a file.")] = (
        "movies"
    )

    def read(self, context: typer.Context, domain: "Domain", *, allow_empty: bool) -> Question:
        """Read the files; fail as Typer does where one is missing."""
        from rella_cpp.inputs import read_placed_items

        if self.history is None:
            context.fail("Missing option '--history'.")
        if self.item is None:
            context.fail("Missing option '--item' / '--items'.")
        _refuse_second_stdin(self.history, self.item, self.user)
        past, person = read_past(self.history, self.user, domain, allow_empty=allow_empty)
        items, places = read_placed_items(self.item, domain)
        return Question(past, items, person, places)


@dataclass(frozen=True, slots=True)
class UserOptions:
    """The user to recommend to."""

    history: Annotated[str, history_option(_HISTORY)]
    user: UserFile = None
    domain: Annotated[str | None, domain_option("What the items are; else the index's.")] = None


def read_past(
    history: str, user: str | None, domain: "Domain", *, allow_empty: bool = False
) -> "tuple[History, User | None]":
    """Read a history, and the user from it or from a file of its own."""
    from rella_cli.log import listen
    from rella_cpp import InputError, read_history, read_user

    listen(False)
    past = read_history(history, domain, allow_empty=allow_empty)
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
    from rella_cpp.lengths import located_in

    behaviors = None if past is None else past.places
    try:
        yield
    except InputError as error:
        for name, known in (("history", behaviors), ("item", items)):
            if known is not None:
                error = located_in(error, name, known.places, known.source)
        whole = behaviors if items is None or str(error.place).startswith("history") else items
        raise (error.located(whole.source) if isinstance(error, ContextError) and whole else error) from None


def _refuse_second_stdin(*files: str | None) -> None:
    """Refuse `-` for more than one file: standard input can be read only once."""
    from rella_cpp import InputError

    if files.count("-") > 1:
        raise InputError("- is named twice", source="standard input", remedy="read one of them from a file")
