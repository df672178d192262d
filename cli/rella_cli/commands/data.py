"""`rella data`: data sets from the files as they are downloaded."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.commands.rankings import import_ranking
from rella_cli.options.groups import with_groups
from rella_cli.options.output import Json, OutputOptions
from rella_cli.options.prepare import (
    ColumnOptions,
    FileOptions,
    RecipeFile,
    RowOptions,
    RuleOptions,
    TextOptions,
    export_of,
)

app = typer.Typer(help="Prepare data sets for tuning and evaluation, and look into them.")
app.command("import-ranking")(import_ranking)


@app.command()
@with_groups
def prepare(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help="ml-1m, ml-25m, bookcrossing, amazon or table.")],
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="The zip as downloaded, or its folder; of table, the file.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    *,
    output: OutputOptions,
    kept: RowOptions,
    texts: TextOptions,
    recipe: RecipeFile = None,
    files: FileOptions,
    columns: ColumnOptions,
    rules: RuleOptions,
) -> None:
    """Prepare a data set: tables of users, items, interactions and samples in one format, and a manifest.

    ml-1m, ml-25m (or another set in its layout), bookcrossing and amazon are taken as downloaded, with the papers'
    rules for labels, filters and splits. table takes CSV, TSV, JSON, JSONL and Parquet files, folders that `datasets`
    saved, and exports of other services (Letterboxd, IMDb, Goodreads, …). --texts adds what the items lack, such as
    the plots of movies, to any of them.
    """
    from rella_cli.log import listen
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import prepare as prepare_data
    from rella_cpp import summarize

    listen(False)
    with (
        export_of(format_name, source, recipe, files, columns, rules, texts) as (table, read),
        ProgressBar() as progress,
    ):
        chosen = kept.settings(read, texts)
        data = prepare_data(format_name, table, out, options=chosen, force=output.force, progress=progress)
    from rella_cli.views.data import show_data

    show_data(summarize(data), out, as_json=output.as_json, full=False)


@app.command()
def info(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared data set.")], as_json: Json = False
) -> None:
    """Show what is in a prepared data set: counts, label rates, ratings, lengths of histories, rules."""
    from rella_cli.views.data import show_data
    from rella_cpp import DataSet, summarize

    show_data(summarize(DataSet.open(folder)), folder, as_json=as_json, full=True)
