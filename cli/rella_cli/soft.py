"""`rella soft`: soft prompts."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options

if TYPE_CHECKING:
    from rella_gguf import SoftConversion

app = typer.Typer(help="Convert soft prompts.")


@app.callback()
def group() -> None:
    """Convert soft prompts."""


@app.command()
def convert(
    peft: Annotated[
        Path, typer.Argument(metavar="PEFT_DIR", help="Folder with adapter_config.json and adapter_model.safetensors.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="GGUF", help="The soft prompt to write.")],
    base: Annotated[
        Path | None,
        typer.Option(
            "--base", metavar="GGUF", help="The model that it was trained for; checked, and recorded by its SHA-256."
        ),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="start|marker",
            help="Where it stands: before the first token, as in PEFT; or where the domain's template has {{ soft }}.",
        ),
    ] = "start",
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Convert a soft prompt that PEFT saved (prompt tuning, p-tuning) to a GGUF file, for --soft."""
    from rella_cli.views.terminal import note, print_json
    from rella_gguf import convert_soft_prompt

    done = convert_soft_prompt(peft, out, base=base, at=at, force=force)
    if as_json:
        print_json(asdict(done))
        return
    for text in done.notes:
        note(f"note: {text}")
    _show(done)


def _show(done: "SoftConversion") -> None:
    from rella_cli.gguf import record_facts, soft_size
    from rella_cli.views.terminal import facts

    facts(
        {
            "soft prompt": done.out,
            "trained for": done.base or "-",
            "architecture": done.architecture or "-",
            "size": soft_size(done.tokens, done.width),
            "trained as": done.kind,
            "stands at": done.at,
            **dict(record_facts(done.record)),
        }
    )
