"""Where results go, and how they are printed."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

OUT = ("--out", "-o")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Count = Annotated[int, typer.Option("-n", "--count", help="How many.", show_default=True)]


def out_option(metavar: str, text: str, panel: str | None = None, names: tuple[str, ...] = OUT) -> Any:
    """Declare --out: a file or a folder to make, called `metavar`."""
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel)


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What a command that writes files does about those that are there, and how it prints its result."""

    force: Force = False
    as_json: Json = False


@dataclass(frozen=True, slots=True)
class ScoreOutputOptions:
    """How scores come out: for a person or as JSON, with their prompts, or request by request."""

    as_json: Json = False
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="Show the prompt with each score.")] = False
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Answer requests on standard input, one JSON object a line (score only).")
    ] = False
