"""`rella data import-ranking`: what another recommender expects next, as a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options

if TYPE_CHECKING:
    from rella_cpp import RankingsSummary


def import_ranking(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="CSV, TSV, JSON, JSONL or Parquet, a zip of one, or a saved `datasets`."),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The prepared data set that it is of.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The folder to make.")],
    name: Annotated[str, typer.Option("--name", help="What the recommender is called: SASRec.")] = "",
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Take what another recommender (SASRec, GRU4Rec, …) expects next, from a table.

    A row is user, position, item and score, or user, position and the lists items and scores. Users and items are ids
    of the data set; position is the index of the target among the user's interactions, from 0: the list was made from
    what stands before it.
    """
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import DataSet, import_rankings, summarize_rankings

    known = DataSet.open(data)
    with ProgressBar() as progress:
        rankings = import_rankings(table, known, out, name=name, force=force, progress=progress)
    _show(summarize_rankings(rankings, known), out, as_json=as_json)


def _show(summary: "RankingsSummary", folder: Path, *, as_json: bool) -> None:
    from rella_cli.views.terminal import facts, note, print_json

    if as_json:
        print_json({"folder": str(folder), **summary.as_dict()})
        return
    depth = (
        f"{summary.shortest:,}" if summary.shortest == summary.longest else f"{summary.shortest:,}–{summary.longest:,}"
    )
    lines = {
        "folder": str(folder),
        "rankings": f"{summary.name or 'without a name'}, for {summary.data}",
        "lists": f"{summary.lists:,} of {summary.users:,} users, of {depth} items",
    }
    for split, share in (("test", summary.test), ("valid", summary.valid)):
        lines[f"{split} targets"] = "none in the data" if share is None else f"{share:.1%} have a list"
    if summary.first is not None and summary.near is not None:
        lines["test targets listed"] = f"{summary.first:.1%} first, {summary.near:.1%} among the first 10 of all items"
    facts(lines)
    if summary.test == 0:
        note("no test target has a list: give lists for users' last positions, or mend positions that are too low")
