"""Where results go, and how they are printed."""

from typing import Annotated, Any

import typer

from rella_cli.options.groups import group

OUT = ("--out", "-o")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Count = Annotated[int, typer.Option("-n", "--count", help="How many.", show_default=True)]


def out_option(metavar: str, text: str, panel: str | None = None, names: tuple[str, ...] = OUT) -> Any:
    """Declare --out: a file or a folder to make, called `metavar`."""
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel)


@group
class OutputOptions:
    """What a command that writes files does about those that are there, and how it prints its result."""

    force: Force = False
    as_json: Json = False
