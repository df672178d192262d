"""`rella lora`: adapters."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.commands.merge import merge
from rella_cli.options.gguf import PeftFolder, base_option
from rella_cli.options.output import Force, Json, out_option

app = typer.Typer(help="Convert LoRA adapters, and merge them.")


@app.callback()
def group() -> None:
    """Convert LoRA adapters, and merge them."""


app.command("merge")(merge)


@app.command()
def convert(
    peft: PeftFolder,
    out: Annotated[Path, out_option("GGUF", "The adapter to write.")],
    base: Annotated[
        Path | None, base_option("The model that it adapts; names and sizes are checked against it.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Convert a LoRA adapter that PEFT saved to a GGUF adapter, for --lora."""
    from rella_gguf import convert_adapter

    done = convert_adapter(peft, out, base=base, force=force)
    from rella_cli.views.conversions import show_adapter

    show_adapter(done, as_json=as_json)
