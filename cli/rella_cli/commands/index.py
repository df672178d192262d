"""`rella index build|add|search|info`: a catalog's vectors in a folder."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.bundle import with_bundle
from rella_cli.options.catalog import Catalog, StorageOptions, read_catalog
from rella_cli.options.domain import domain_of, domain_option
from rella_cli.options.encoder import EncoderOptions
from rella_cli.options.groups import with_groups, without
from rella_cli.options.history import placed_in_files
from rella_cli.options.index import IndexFolder, open_index
from rella_cli.options.output import Count, Json, OutputOptions, out_option

app = typer.Typer(help="Make, extend and search a catalog's index.", no_args_is_help=True)


@app.command()
@with_bundle
@with_groups
def build(
    catalog: Catalog,
    out: Annotated[Path, out_option("DIR", "The folder to make.")],
    storage: StorageOptions,
    encoder: EncoderOptions,
    output: OutputOptions,
    domain: Annotated[str | None, domain_option("What the items are; else the data set's, or movies.")] = None,
) -> None:
    """Embed every item of a catalog and write its index. Killed, the same command goes on where it was."""
    from rella_cli.views.progress import resumable
    from rella_cpp import build_index

    settings = storage.settings()
    encoder.check()
    words, items, places = read_catalog(catalog, domain)
    start, there = time.monotonic(), (out / "manifest.json").is_file() and not output.force
    with encoder.open(words) as rella, encoder.progress() as bar:
        with placed_in_files(items=places), nullcontext() if encoder.no_cache else resumable():
            index = build_index(rella.vectors, items, out, settings=settings, force=output.force, progress=bar)
        asked, computed = rella.vectors.tokens(settings.pool)
    seconds = round(time.monotonic() - start, 1)
    from rella_cli.views.index import show_index
    from rella_cli.views.terminal import note

    if there:
        note("there already, made of the same items with the same settings")
    spent = {"tokens_asked": asked, "tokens_computed": computed, "seconds": seconds}
    show_index(index, spent, as_json=output.as_json)


@app.command()
@with_bundle
@with_groups
def add(
    folder: IndexFolder,
    catalog: Catalog,
    encoder: Annotated[EncoderOptions, without("ctx")],
    domain: Annotated[str | None, domain_option("As for build.")] = None,
    as_json: Json = False,
) -> None:
    """Add new items to an index. Those that are there already, unchanged, are left as they are."""
    from rella_cpp import add_to_index

    index = open_index(folder, no_cache=encoder.no_cache)
    words, items, places = read_catalog(catalog, domain, index)
    encoder.check()
    with encoder.open(words) as rella, encoder.progress() as bar, placed_in_files(items=places):
        index, added = add_to_index(index, rella.vectors, items, progress=bar)
    from rella_cli.views.index import show_index

    show_index(index, {"added": added}, as_json=as_json)


@app.command()
@with_bundle
@with_groups
def search(
    folder: IndexFolder,
    text: Annotated[str, typer.Argument(help="A title, or any words.")],
    encoder: Annotated[EncoderOptions, without("ctx")],
    count: Count = 10,
    domain: Annotated[str | None, domain_option("The index's domain, if of your own.")] = None,
    as_json: Json = False,
) -> None:
    """Find the items nearest to a text, read as if it were an item's title."""
    from rella_cpp import search_text

    index = open_index(folder, no_cache=encoder.no_cache)
    words = domain_of(index.folder, index.manifest.domain, domain)
    encoder.check()
    with encoder.open(words) as rella, encoder.progress() as index.progress:
        found = search_text(index, rella.vectors, text, count)
    from rella_cli.views.index import show_found

    show_found(found, words, as_json=as_json)


@app.command()
def info(folder: IndexFolder, as_json: Json = False) -> None:
    """Show what an index holds and what made it."""
    from rella_cli.views.index import show_index
    from rella_cpp import ItemIndex

    show_index(ItemIndex.open(folder), {}, as_json=as_json)
