"""`rella soft`: soft prompts."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.gguf import PeftFolder, base_option
from rella_cli.options.output import Force, Json, out_option

app = typer.Typer(help="Convert soft prompts.")


@app.callback()
def group() -> None:
    """Convert soft prompts."""


@app.command()
def convert(
    peft: PeftFolder,
    out: Annotated[Path, out_option("GGUF", "The soft prompt to write.")],
    base: Annotated[
        Path | None, base_option("The model that it was trained for; checked, and recorded by its SHA-256.")
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="start|marker",
            help="Where it stands: before the first token, as in PEFT; or where the domain's template has {{ soft }}.",
        ),
    ] = "start",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Convert a soft prompt that PEFT saved (prompt tuning, p-tuning) to a GGUF file, for --soft."""
    from rella_gguf import convert_soft_prompt

    done = convert_soft_prompt(peft, out, base=base, at=at, force=force)
    from rella_cli.views.conversions import show_soft_prompt

    show_soft_prompt(done, as_json=as_json)
