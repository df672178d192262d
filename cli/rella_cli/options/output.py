"""Where results go, and how they are printed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.groups import group

if TYPE_CHECKING:
    from rella_cli.views.scores import Scoring

OUT = ("--out", "-o")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Why = Annotated[
    bool,
    typer.Option(
        "--why", help="Say what each behavior did to each score: a prompt more for each of them that is read."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Do not say how far it is where there is no terminal.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Page = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Also write a page: one file, for a browser, that fetches nothing."),
]
Count = Annotated[int, typer.Option("-n", "--count", help="How many.", show_default=True)]


def out_option(metavar: str, text: str, panel: str | None = None, names: tuple[str, ...] = OUT) -> Any:
    """Declare --out: a file or a folder to make, called `metavar`."""
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel)


@group
class OutputOptions:
    """What a command that writes files does about those that are there, and how it prints its result."""

    force: Force = False
    as_json: Json = False


def check_page(page: Path, *, force: bool) -> None:
    """Refuse a page that cannot be written, before anything is scored for it."""
    from rella_cpp.pages.page import refuse_page

    refuse_page(page, force=force)


def save_score_page(page: Path, title: str, view: "Scoring") -> None:
    """Write a page of scores, and say so."""
    from rella_cli.views.score_page import write_score_page
    from rella_cli.views.terminal import note

    write_score_page(page, title, view)
    note(f"written: {page}")
