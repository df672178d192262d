"""`rella lora`: adapters."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options
from rella_cli.merge import merge

if TYPE_CHECKING:
    from rella_gguf import Conversion

app = typer.Typer(help="Convert LoRA adapters, and merge them.")


@app.callback()
def group() -> None:
    """Convert LoRA adapters, and merge them."""


app.command("merge")(merge)


@app.command()
def convert(
    peft: Annotated[
        Path, typer.Argument(metavar="PEFT_DIR", help="Folder with adapter_config.json and adapter_model.safetensors.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="GGUF", help="The adapter to write.")],
    base: Annotated[
        Path | None,
        typer.Option(
            "--base", metavar="GGUF", help="The model that it adapts; names and sizes are checked against it."
        ),
    ] = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Convert a LoRA adapter that PEFT saved to a GGUF adapter, for --lora."""
    from rella_cli.views.terminal import note, print_json
    from rella_gguf import convert_adapter

    done = convert_adapter(peft, out, base=base, force=force)
    if as_json:
        print_json(asdict(done))
        return
    for text in done.notes:
        note(f"note: {text}")
    _show(done)


def _show(done: "Conversion") -> None:
    from rella_cli.gguf import record_facts
    from rella_cli.views.terminal import facts

    rescaled = f"; {done.rescaled} rescaled to that" if done.rescaled else ""
    facts(
        {
            "adapter": done.out,
            "base": done.base,
            "architecture": done.architecture,
            "adapts": f"{done.pairs} matrices: {', '.join(done.targets)}",
            "rank": ", ".join(map(str, done.ranks)),
            "alpha": f"{done.alpha:g}{rescaled}",
            **dict(record_facts(done.record)),
        }
    )
