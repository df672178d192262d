"""`rella compare`: runs side by side, in the terminal and as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options

if TYPE_CHECKING:
    from rella_cpp import Run

_SHOWN = ("log_loss", "accuracy", "ece")  # what fits beside AUC; --json and the page have all


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Runs, or folders of sweeps.")],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write a page with plots (needs the extra plot)."),
    ] = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Compare runs: metrics with intervals, paired differences where two share their samples."""
    from rella_cli.terminal import note, print_json
    from rella_cpp import compare_runs, open_runs, write_page

    opened = open_runs(runs)
    if html is not None:
        write_page(opened, html, force=force)
        note(f"written: {html}")
    if as_json:
        for row in compare_runs(opened):
            print_json(row)
    else:
        comparison_table(opened)


def comparison_table(runs: "Sequence[Run]") -> None:
    """Print one row a run, and the differences from the first."""
    from rich.table import Table
    from rich.text import Text

    from rella_cli.reports import METRICS, between, figure
    from rella_cli.terminal import console
    from rella_cpp import compare_runs

    out, table = console(), Table(box=None, pad_edge=False)
    for title in ("run", "", "K", "AUC", "95 %", *(METRICS[metric] for metric in _SHOWN)):
        table.add_column(title, justify="left" if title in ("run", "", "95 %") else "right", no_wrap=title != "run")
    rows = compare_runs(runs)
    for row in rows:
        values = row["metrics"]
        table.add_row(
            Text(row["run"]),
            Text(row["predictor"]),
            str(row["k"] or "–"),
            figure(values["auc"]["value"]),
            between(values["auc"]),
            *(figure(values[metric]["value"]) for metric in _SHOWN),
        )
    out.print()
    out.print(table)
    out.print()
    for row in rows:
        if row["verdict"]:
            out.print(Text(row["verdict"]))
