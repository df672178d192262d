"""How what was fitted on samples looks: a calibration, a head."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rella_cli.views.terminal import count, facts, note, print_json

if TYPE_CHECKING:
    from rella_cpp import Calibration, Head

_USEFUL = 0.55  # AUC


def show_calibration(fitted: "Calibration", file: Path, *, as_json: bool) -> None:
    """Print a calibration's weights, and what it gains."""
    if as_json:
        print_json(
            {
                "calibration": str(file),
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
            "calibration": str(file),
            "kind": "blend" if fitted.blend else "Platt scaling",
            "samples": f"{fitted.fitted_on['samples']:,}",
            **{f"{name}, cross-validated": f"{was:.4f} → {now:.4f}" for name, (was, now) in figures.items()},
            **{f"worth of {name}": _worth(found) for name, found in fitted.fitted_on.get("parts", {}).items()},
            **{f"weight of {name}": f"{weight:+.4f}" for name, weight in fitted.weights.items()},
        }
    )


def _worth(found: Mapping[str, float | None]) -> str:
    """Say what AUC a part of a blend adds."""
    if found["low"] is None:
        return f"{found['value']:+.4f} AUC"
    return f"{found['value']:+.4f} AUC [{found['low']:+.4f}, {found['high']:+.4f}]"


def show_head(fitted: "Head", folder: Path, *, as_json: bool) -> None:
    """Print what a head was fitted on, and how well it does there."""
    found = fitted.fitted_on
    if found["cross_validated"]["AUC"] < _USEFUL:
        note("warning: hardly better than chance within the training rows: give more --shots")
    if as_json:
        print_json({"head": str(folder), "fitted_on": dict(found)})
        return
    facts(
        {
            "head": str(folder),
            "rows": f"{found['rows']:,}",
            "reads": ", ".join(found["parts"]),
            "strength": f"C = {found['strength']:.2g}",
            **{f"{name}, cross-validated": f"{value:.4f}" for name, value in found["cross_validated"].items()},
        }
    )
