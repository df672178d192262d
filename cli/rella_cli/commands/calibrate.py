"""`rella calibrate`: fit probabilities on a validation run."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.output import Force, Json, out_option
from rella_cli.options.selection import contrast_option


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN_VALID", help="A run on the validation split.")],
    out: Annotated[Path, out_option("JSON", "The file to write.")],
    blend: Annotated[
        bool, typer.Option("--blend", help="Fit the gap together with the statistics of the user's and item's ratings.")
    ] = False,
    contrast: Annotated[bool, contrast_option("Fit the gap above the empty one (a run made with --contrast).")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fit Platt scaling of the logit gap, or a blend of it with plain statistics, on a validation run."""
    from rella_cpp import Run, fit_calibration
    from rella_gguf.files import check_output

    check_output(out, run.iterdir() if run.is_dir() else (), force=force)
    fitted = fit_calibration(Run.open(run), blend=blend, contrast=contrast)
    fitted.save(out)
    from rella_cli.views.fits import show_calibration

    show_calibration(fitted, out, as_json=as_json)
