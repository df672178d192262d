"""Several runs beside each other, with paired differences where two share their samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rella_cpp.evaluation.bootstrap import Bootstrap
from rella_cpp.evaluation.report import OWN, report
from rella_cpp.evaluation.runs import Run


def compare_runs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return one row for each run and each of the model's predictors, and for the baselines of the first run.

    A row has `run`, `predictor`, `k`, `samples`, `metrics` (see `report`), `difference` (AUC more than the first row's,
    with a paired 95 % bootstrap interval; None where the samples differ or the figure is undefined) and `verdict`, that
    difference in a sentence, for the model's predictors; where the samples differ it says so, once a run.
    """
    names = run_names(runs)
    rows: list[dict[str, Any]] = []
    for number, (name, run) in enumerate(zip(names, runs, strict=True)):
        found, predictors = report(run), run.predictors()
        said = any(_same_baselines(earlier, run) for earlier in runs[:number])
        for predictor in predictors:
            if predictor in OWN or not said:
                row = _row(name, run, predictor, found)
                first = rows[0] if rows else None
                row |= _difference(row, first, run, predictors[predictor], runs[0])
                if predictor not in OWN and (row["difference"] or (rows and rows[-1]["run"] == name)):
                    row["verdict"] = ""
                rows.append(row)
    return rows


def run_names(runs: Sequence[Run]) -> list[str]:
    """Name runs as shortly as tells them apart: by folder, with its parents where two are called alike."""
    for depth in range(1, 20):
        names = ["/".join(run.folder.resolve().parts[-depth:]) for run in runs]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in runs]


def _row(name: str, run: Run, predictor: str, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": name,
        "predictor": predictor,
        "k": run.settings.get("reading", {}).get("k") if predictor in (*OWN, "similarity") else None,
        "samples": found["samples"],
        "metrics": found["metrics"][predictor],
    }


def _difference(
    row: dict[str, Any], first: dict[str, Any] | None, run: Run, scores: Any, first_run: Run
) -> dict[str, Any]:
    nothing = {"difference": None, "verdict": ""}
    if first is None:
        return nothing
    if run.samples != first_run.samples or not _same_source(run, first_run):
        return nothing | {"verdict": f"{row['run']} and {first['run']} have other samples: no paired difference."}
    both = Bootstrap(run.labels, run.users, {"this": scores, "first": first_run.predictors()[first["predictor"]]})
    found = both.difference("this", "first", "auc")
    if found.value is None or found.low is None:
        return nothing
    who, other = (f"{r['run']} {r['predictor']}" for r in (row, first))
    words = "above" if found.value > 0 else "below"
    verdict = (
        f"{who} is {words} {other}: AUC {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]."
        if found.excludes_zero
        else f"{who} is not distinguishable from {other}: AUC {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]."
    )
    value = {"value": found.value, "low": found.low, "high": found.high, "distinguishable": found.excludes_zero}
    return {"difference": value, "verdict": verdict}


def _same_source(a: Run, b: Run) -> bool:
    return all(a.settings.get(name) == b.settings.get(name) for name in ("data", "prompts"))


def _same_baselines(a: Run, b: Run) -> bool:
    """Tell whether a second run's baselines say nothing new."""
    if a.samples != b.samples or not _same_source(a, b):
        return False
    first, second = a.predictors(), b.predictors()
    names = [name for name in second if name not in OWN]
    return all(name in first and np.allclose(first[name], second[name]) for name in names)
