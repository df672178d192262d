"""`rella compare`: runs side by side, in the terminal and as a page."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.output import Force, Json, Page


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Runs, or folders of sweeps.")],
    page: Page = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write a table of full precision.")
    ] = None,
    latex: Annotated[
        Path | None, typer.Option("--latex", metavar="FILE", help="Also write a table for a paper (booktabs).")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare runs: metrics with intervals, paired differences where two share their samples.

    A page (--html) has plots, too, and needs the extra plot.
    """
    from rella_cli.views.reports import show_comparison
    from rella_cli.views.terminal import note, print_json
    from rella_cpp import compare_runs, open_runs, write_page
    from rella_cpp.evaluation.reports.tables import write_csv, write_latex

    opened = open_runs(runs)
    for write, file in ((write_page, page), (write_csv, csv), (write_latex, latex)):
        if file is not None:
            write(opened, file, force=force)
            note(f"written: {file}")
    if as_json:
        for row in compare_runs(opened):
            print_json(row)
    else:
        show_comparison(opened)
