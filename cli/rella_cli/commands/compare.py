"""`rella compare`: runs side by side, in the terminal and as a page."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.output import Force, Json


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Runs, or folders of sweeps.")],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write a page with plots (needs the extra plot)."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare runs: metrics with intervals, paired differences where two share their samples."""
    from rella_cli.views.reports import show_comparison
    from rella_cli.views.terminal import note, print_json
    from rella_cpp import compare_runs, open_runs, write_page

    opened = open_runs(runs)
    if html is not None:
        write_page(opened, html, force=force)
        note(f"written: {html}")
    if as_json:
        for row in compare_runs(opened):
            print_json(row)
    else:
        show_comparison(opened)
