"""`rella cache`: what is remembered between runs."""

from dataclasses import asdict

import typer

from rella_cli import options

app = typer.Typer(help="Show or clear the cache of item vectors and file fingerprints.")


@app.command()
def info(as_json: options.Json = False) -> None:
    """Show where the cache lies and what is in it."""
    from rella_cli.terminal import print_json
    from rella_cpp import Cache

    with Cache.default() as cache:
        found = cache.info()
    if as_json:
        print_json(asdict(found))
    else:
        typer.echo(found.folder)
        typer.echo(f"{found.vectors:,} item vectors of {found.models} models, {found.bytes / 1e6:,.1f} MB")


@app.command()
def clear() -> None:
    """Forget everything."""
    from rella_cpp import Cache

    with Cache.default() as cache:
        cache.clear()
