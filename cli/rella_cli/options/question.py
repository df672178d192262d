"""What is asked, and how answers come out: the options of `rella score` and `rella rank`."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from rella_cli.options.domain import domain_option
from rella_cli.options.groups import group
from rella_cli.options.history import HISTORY, Series, UserFile, history_option, items_option, read_past
from rella_cli.options.output import Force, Json, Page, Why

if TYPE_CHECKING:
    from rella_cpp import Behavior, Domain, History, Item, User
    from rella_cpp.domains.inputs import Places


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


@group
class QuestionOptions:
    """The files of a question: history and items are required unless a worker reads requests."""

    history: Annotated[str | None, history_option(HISTORY)] = None
    item: Annotated[
        str | None, items_option('The target item, or a list of them; or a title, "Aliens (1986)".', "--item")
    ] = None
    user: UserFile = None
    domain: Annotated[str, domain_option("What the items are: a built-in domain (`rella domains`) or a file.")] = (
        "movies"
    )
    series: Series = False

    def read(self, context: typer.Context, domain: "Domain", *, allow_empty: bool) -> Question:
        """Read the files; fail as Typer does where one is missing."""
        from rella_cpp.exports.inputs import read_target

        if self.history is None:
            context.fail("Missing option '--history'.")
        if self.item is None:
            context.fail("Missing option '--item' / '--items'.")
        _refuse_second_stdin(self.history, self.item, self.user)
        past, person = read_past(self.history, self.user, domain, allow_empty=allow_empty, series=self.series)
        items, places = read_target(self.item, domain, series=self.series)
        return Question(past, items, person, places)


@group
class AnswerOptions:
    """How scores come out: for a person or as JSON, with their prompts, or request by request."""

    as_json: Json = False
    why: Why = False
    page: Page = None
    force: Force = False
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="Show the prompt with each score.")] = False
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Answer requests on standard input, one JSON object a line.")
    ] = False
    concurrent: Annotated[
        int | None,
        typer.Option(
            "--concurrent",
            metavar="N",
            help="With --jsonl: plan up to N waiting requests together, large ones in parts.",
            show_default=False,
        ),
    ] = None
    unordered: Annotated[
        bool, typer.Option("--unordered", help="With --concurrent: results as soon as they are there.")
    ] = False


def _refuse_second_stdin(*files: str | None) -> None:
    """Refuse `-` for more than one file: standard input can be read only once."""
    from rella_cpp import InputError

    if files.count("-") > 1:
        raise InputError("- is named twice", source="standard input", remedy="read one of them from a file")
