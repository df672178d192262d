"""`rella pull`: download a model. The one command that uses the network."""

from typing import Annotated

import typer

from rella_cli.options.output import Json


def pull(
    model: Annotated[str, typer.Argument(metavar="hf:OWNER/REPO[:QUANT]", help="A GGUF on the Hugging Face hub.")],
    as_json: Json = False,
) -> None:
    """Download a GGUF model from the Hugging Face hub into its own cache."""
    from rella_cli.views.terminal import note, print_json
    from rella_cpp import pull_model
    from rella_gguf.shown import harmless

    path = pull_model(model)
    if as_json:
        print_json({"model": model, "path": str(path)})
    else:
        typer.echo(harmless(str(path)))
        note(f"Use it with --model {model}, now offline too.")
