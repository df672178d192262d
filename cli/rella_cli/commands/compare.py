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
    from rella_cpp import InputError, compare_runs, open_runs, write_page
    from rella_cpp.evaluation.reports.page import check_plotted_page
    from rella_cpp.evaluation.reports.tables import refuse_table, write_csv, write_latex

    for refuse, file in ((check_plotted_page, page), (refuse_table, csv), (refuse_table, latex)):
        if file is not None:
            refuse(file, force=force)
    if (named := [file for file in (page, csv, latex) if file is not None]) and len({*named}) < len(named):
        raise InputError("is named for two files", source=named[0], remedy="name each another")
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
