"""`rella index build|add|search|info`: a catalog's vectors in a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options

if TYPE_CHECKING:
    from rella_cpp import Domain, Item, ItemIndex
    from rella_cpp.inputs import Places

app = typer.Typer(help="Make, extend and search a catalog's index.", no_args_is_help=True)

_SAME = 0.999  # cosine of an item with itself, stored in half precision

Catalog = Annotated[
    str, typer.Argument(metavar="DATA|ITEMS", help="A prepared data set, or a file of items (JSON, JSON Lines, -).")
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The index.")]
EmbedModel = Annotated[
    str | None,
    typer.Option(
        "--embed-model",
        "--model",
        "-m",
        metavar="GGUF",
        help="The model that embeds. Else RELLA_MODEL, else the packaged SmolLM2-135M.",
    ),
]


@app.command()
def build(
    catalog: Catalog,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to make.")],
    domain: Annotated[
        str | None,
        typer.Option("--domain", "-d", metavar="NAME|TOML", help="What the items are; else the data set's, or movies."),
    ] = None,
    embed_model: EmbedModel = None,
    dim: Annotated[int, typer.Option("--dim", help="Dimensions after PCA, at most.")] = 512,
    pool: Annotated[
        str, typer.Option("--pool", metavar="prompt|item", help="Average the whole text, or the item's own words.")
    ] = "prompt",
    dtype: Annotated[str, typer.Option("--dtype", metavar="f16|f32", help="How vectors are stored.")] = "f16",
    ctx: options.Ctx = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    no_trial: options.NoTrial = False,
    no_cache: options.NoCache = False,
    verbose: options.Verbose = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Embed every item of a catalog and write its index. Killed, the same command goes on where it was."""
    import time
    from contextlib import nullcontext

    from rella_cli.loading import engine_settings, open_rella, placed_in_files, resumable
    from rella_cli.views.progress import ProgressBar
    from rella_cli.views.terminal import note
    from rella_cpp import IndexSettings, build_index

    settings = IndexSettings(dim, pool, dtype)  # type: ignore[arg-type]  # it checks them
    engine = engine_settings(ctx, threads, gpu_layers, "auto", "f16")
    words, items, places = read_catalog(catalog, domain)
    start, there = time.monotonic(), (out / "manifest.json").is_file() and not force
    with (
        open_rella(embed_model, words, [], None, engine, no_cache, verbose, no_trial=no_trial) as rella,
        ProgressBar() as bar,
    ):
        with placed_in_files(items=places), nullcontext() if no_cache else resumable():
            index = build_index(rella.vectors, items, out, settings=settings, force=force, progress=bar)
        asked, computed = rella.vectors.tokens(settings.pool)
    if there:
        note("there already, made of the same items with the same settings")
    _show(index, as_json, tokens_asked=asked, tokens_computed=computed, seconds=round(time.monotonic() - start, 1))


@app.command()
def add(
    folder: Folder,
    catalog: Catalog,
    domain: Annotated[str | None, typer.Option("--domain", "-d", metavar="NAME|TOML", help="As for build.")] = None,
    embed_model: EmbedModel = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    no_trial: options.NoTrial = False,
    no_cache: options.NoCache = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Add new items to an index. Those that are there already, unchanged, are left as they are."""
    from rella_cli.loading import engine_settings, open_index, open_rella, placed_in_files
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import add_to_index

    index = open_index(folder, no_cache)
    words, items, places = read_catalog(catalog, domain, index)
    settings = engine_settings(None, threads, gpu_layers, "auto", "f16")
    with (
        open_rella(embed_model, words, [], None, settings, no_cache, verbose, no_trial=no_trial) as rella,
        ProgressBar() as bar,
        placed_in_files(items=places),
    ):
        index, added = add_to_index(index, rella.vectors, items, progress=bar)
    _show(index, as_json, added=added)


@app.command()
def search(
    folder: Folder,
    text: Annotated[str, typer.Argument(help="A title, or any words.")],
    count: options.Count = 10,
    domain: Annotated[
        str | None, typer.Option("--domain", "-d", metavar="NAME|TOML", help="The index's domain, if of your own.")
    ] = None,
    embed_model: EmbedModel = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    no_trial: options.NoTrial = False,
    no_cache: options.NoCache = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Find the items nearest to a text, read as if it were an item's title."""
    from rich.table import Table

    from rella_cli.loading import domain_of, engine_settings, open_index, open_rella
    from rella_cli.views.progress import ProgressBar
    from rella_cli.views.terminal import console, line, note, print_json
    from rella_cpp import search_text

    index = open_index(folder, no_cache)
    words = domain_of(index.folder, index.manifest.domain, domain)
    settings = engine_settings(None, threads, gpu_layers, "auto", "f16")
    with (
        open_rella(embed_model, words, [], None, settings, no_cache, verbose, no_trial=no_trial) as rella,
        ProgressBar() as index.progress,
    ):
        found = search_text(index, rella.vectors, text, count)
    table = Table(box=None, pad_edge=False)
    for name in ("", "cosine", "item"):
        table.add_column(name)
    for rank, (item, cosine) in enumerate(found, start=1):
        if as_json:
            print_json({"rank": rank, "cosine": cosine, "item": dict(item.fields)})
        table.add_row(str(rank), f"{cosine:.3f}", line(words.show_item(item)))
    if not as_json:
        console().print(table)
    if found and found[0][1] < _SAME:
        note(
            "note: no item is called so, so the words themselves were embedded: whole titles find more, and so does an "
            "index built with --pool item"
        )


@app.command()
def info(folder: Folder, as_json: options.Json = False) -> None:
    """Show what an index holds and what made it."""
    from rella_cpp import ItemIndex

    _show(ItemIndex.open(folder), as_json)


def read_catalog(
    catalog: str, domain: str | None, index: "ItemIndex | None" = None
) -> "tuple[Domain, list[Item], Places]":
    """Read items from a prepared data set or a file, and where they stood; first the domain: for an index, its own."""
    from rella_cli.loading import domain_of, listen
    from rella_cpp import DataSet, load_domain
    from rella_cpp.inputs import Places, read_placed_items

    listen(False)
    data = DataSet.open(catalog) if catalog != "-" and Path(catalog).is_dir() else None
    if index is not None:
        words = domain_of(index.folder, index.manifest.domain, domain)
    elif data is not None:
        words = domain_of(data.folder, data.domain, domain)
    else:
        words = load_domain(domain or "movies")
    if data is not None:
        items = data.all_items()
        return words, items, Places(str(data.folder), tuple(f"the item {item.fields['id']}" for item in items))
    found, places = read_placed_items(catalog, words)
    return words, list(found), places


def _show(index: "ItemIndex", as_json: bool, **more: object) -> None:
    from dataclasses import asdict

    from rella_cli.views.terminal import facts, print_json

    manifest = asdict(index.manifest)
    size = sum(file.stat().st_size for file in index.folder.iterdir())
    if as_json:
        print_json({"folder": str(index.folder), **manifest, "bytes": size, **more})
        return
    facts(
        {
            "index": str(index.folder),
            "items": f"{len(index):,}",
            "vectors": f"{manifest['dim']} dimensions, {manifest['dtype']}; PCA keeps {manifest['explained']:.1%}",
            "model": f"{manifest['model']} ({manifest['fingerprint'][:12]})",
            "domain": f"{manifest['domain']} ({manifest['template'][:12]}), averaged over the {manifest['pool']}",
            "size": f"{size / 1e6:,.1f} MB",
            **{name.replace("_", " "): f"{value:,}" for name, value in more.items()},
        }
    )
