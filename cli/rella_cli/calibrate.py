"""`rella calibrate`: fit probabilities on a validation run."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli import options


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN_VALID", help="A run on the validation split.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="JSON", help="The file to write.")],
    blend: Annotated[
        bool, typer.Option("--blend", help="Fit the gap together with the statistics of the user's and item's ratings.")
    ] = False,
    contrast: Annotated[
        bool, typer.Option("--contrast", help="Fit the gap above the empty one (a run made with --contrast).")
    ] = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Fit Platt scaling of the logit gap, or a blend of it with plain statistics, on a validation run."""
    from rella_cli.views.terminal import count, facts, note, print_json
    from rella_cpp import Run, fit_calibration
    from rella_gguf.files import check_output

    check_output(out, run.iterdir() if run.is_dir() else (), force=force)
    fitted = fit_calibration(Run.open(run), blend=blend, contrast=contrast)
    fitted.save(out)
    if as_json:
        print_json(
            {
                "calibration": str(out),
                "weights": dict(fitted.weights),
                "offset": fitted.offset,
                "fitted_on": dict(fitted.fitted_on),
            }
        )
        return
    if not fitted.certain:
        wanted, there = 50 * len(fitted.weights), int(fitted.fitted_on["samples"])
        note(f"warning: fitted on {count(there, 'sample')}: the weights are uncertain; give {wanted} or more")
    figures = fitted.fitted_on["figures"]
    facts(
        {
            "calibration": str(out),
            "kind": "blend" if fitted.blend else "Platt scaling",
            "samples": f"{fitted.fitted_on['samples']:,}",
            **{f"{name}, cross-validated": f"{was:.4f} → {now:.4f}" for name, (was, now) in figures.items()},
            **{f"weight of {name}": f"{weight:+.4f}" for name, weight in fitted.weights.items()},
        }
    )
