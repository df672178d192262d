"""`rella cache`: what is remembered between runs."""

from dataclasses import asdict

import typer

from rella_cli.options.output import Json

app = typer.Typer(help="Show or clear the cache: item vectors, summaries, file fingerprints, converted adapters.")


@app.command()
def info(as_json: Json = False) -> None:
    """Show where the cache lies and what is in it."""
    from rella_cli.views.terminal import count, print_json
    from rella_cpp import Cache
    from rella_gguf.shown import harmless

    with Cache.default() as cache:
        found = cache.info()
    if as_json:
        print_json(asdict(found))
    else:
        typer.echo(harmless(found.folder))
        vectors, models = count(found.vectors, "item vector"), count(found.models, "model")
        adapters, texts = count(found.adapters, "converted adapter"), count(found.summaries, "text")
        typer.echo(f"{vectors} of {models}, {texts} of summaries, {adapters}, {found.bytes / 1e6:,.1f} MB")


@app.command()
def clear() -> None:
    """Forget everything."""
    from rella_cli.views.terminal import note
    from rella_cpp import Cache

    with Cache.default() as cache:
        cache.clear()
    note("The cache is empty.")
