"""`rella data import-ranking`: what another recommender expects next, as a table."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.output import OUT, Force, Json, out_option


def import_ranking(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="CSV, TSV, JSON, JSONL or Parquet, a zip of one, or a saved `datasets`."),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The prepared data set that it is of.")],
    out: Annotated[Path, out_option("DIR", "The folder to make.", names=OUT[::-1])],
    name: Annotated[str, typer.Option("--name", help="What the recommender is called: SASRec.")] = "",
    force: Force = False,
    as_json: Json = False,
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
    from rella_cli.views.rankings import show_rankings

    show_rankings(summarize_rankings(rankings, known), out, as_json=as_json)
