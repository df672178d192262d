"""`rella gguf`: the model file itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli.commands.quantize import advise, quantize
from rella_cli.options.output import Json

if TYPE_CHECKING:
    from rella_cpp.engine.trial.verdicts import Verdict

app = typer.Typer(help="Look into GGUF files; quantise them.")
app.command("quantize")(quantize)
app.command("advise")(advise)


@app.callback()
def group() -> None:
    """Look into GGUF files."""


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(metavar="GGUF", help="A model, an adapter, a soft prompt or a vocabulary.")],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a GGUF file holds: architecture, quantisation, context, tokenizer, chat template, size."""
    from rella_gguf import inspect as inspect_file

    found = inspect_file(model)
    trials = _trials(model) if found.kind == "model" else []
    from rella_cli.views.inspection import show_inspection

    show_inspection(found, trials, tensors=tensors, as_json=as_json)


def _trials(model: str) -> "list[tuple[Mapping[str, object], Verdict]]":
    """Return what trials on this machine found of a model; nothing where its fingerprint is not known yet."""
    from rella_cpp import Cache
    from rella_cpp.engine.trial.trial import found_here

    with Cache.default() as cache:
        fingerprint = cache.known_fingerprint(model)
    return [] if fingerprint is None else found_here(fingerprint)
