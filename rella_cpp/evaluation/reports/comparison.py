"""Several runs beside each other, with paired differences where two share their samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rella_cpp.errors import InputError
from rella_cpp.evaluation.reports.ranking import rankings
from rella_cpp.evaluation.reports.report import report
from rella_cpp.evaluation.reports.verdicts import OWN
from rella_cpp.evaluation.runs import Run
from rella_cpp.metrics.bootstrap import Bootstrap, Interval
from rella_cpp.metrics.probabilities import Floats
from rella_cpp.metrics.ranking import RankingBootstrap


def compare_runs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return one row for each run and each of the model's predictors, and for the baselines of the first run.

    A row has `run`, `predictor`, `k`, `samples` (of runs with candidates `users`), `metrics` (see `report`),
    `difference` (AUC, or the protocol's deciding metric, more than the first row's, with a paired 95 % bootstrap
    interval; None where the samples differ or the figure is undefined) and `verdict`, that difference in a sentence,
    for the model's predictors; where the samples differ it says so, once a run.

    Raises
    ------
    InputError
        Some are of another protocol.

    """
    if len({run.ranking for run in runs}) > 1:
        other = next(run for run in runs if run.ranking != runs[0].ranking)
        raise InputError(
            f"is a run of --protocol {_protocol(other)}, {runs[0].folder} one of {_protocol(runs[0])}",
            source=other.folder,
            remedy="compare runs of one protocol",
        )
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


def _protocol(run: Run) -> str:
    return "clicks" if run.ranking is None else run.ranking.name


def _row(name: str, run: Run, predictor: str, found: dict[str, Any]) -> dict[str, Any]:
    reads = OWN if run.ranking else (*OWN, "similarity")
    counted = "users" if run.ranking else "samples"
    return {
        "run": name,
        "predictor": predictor,
        "k": run.settings.get("reading", {}).get("k") if predictor in reads else None,
        counted: found[counted],
        "metrics": found["metrics"][predictor],
    }


def _difference(
    row: dict[str, Any], first: dict[str, Any] | None, run: Run, scores: Floats, first_run: Run
) -> dict[str, Any]:
    nothing = {"difference": None, "verdict": ""}
    if first is None:
        return nothing
    if not _same_samples(run, first_run) or not _same_source(run, first_run):
        other = "users or candidates" if run.ranking else "samples"
        return nothing | {"verdict": f"{row['run']} and {first['run']} have other {other}: no paired difference."}
    found = _paired(run, {"this": scores, "first": first_run.predictors()[first["predictor"]]})
    if found.value is None or found.low is None:
        return nothing
    who, other = (f"{r['run']} {r['predictor']}" for r in (row, first))
    words = "above" if found.value > 0 else "below"
    metric = "AUC" if run.ranking is None else run.ranking.title
    shown = f"{metric} {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]."
    verdict = f"{who} is {words if found.excludes_zero else 'not distinguishable from'} {other}: {shown}"
    value = {"value": found.value, "low": found.low, "high": found.high, "distinguishable": found.excludes_zero}
    return {"difference": value, "verdict": verdict}


def _paired(run: Run, scores: dict[str, Floats]) -> Interval:
    """Return how much more `this` has than `first`, both over the samples of a run."""
    if run.ranking is None:
        return Bootstrap(run.labels, run.users, scores).difference("this", "first", "auc")
    positive, own = rankings(run)
    width = next(iter(own.values())).shape[1]
    shaped = {name: values.reshape(-1, width) for name, values in scores.items()}
    return RankingBootstrap(positive, shaped, [run.ranking.deciding]).difference("this", "first", run.ranking.deciding)


def _same_samples(a: Run, b: Run) -> bool:
    if a.samples != b.samples:
        return False
    # A candidate's number does not say which item was drawn.
    return not a.ranking or all(x["item"] == y["item"] for x, y in zip(a.lines, b.lines, strict=True))


def _same_source(a: Run, b: Run) -> bool:
    return all(a.settings.get(name) == b.settings.get(name) for name in ("data", "prompts"))


def _same_baselines(a: Run, b: Run) -> bool:
    """Tell whether a second run's baselines say nothing new."""
    if not _same_samples(a, b) or not _same_source(a, b):
        return False
    first, second = a.predictors(), b.predictors()
    names = [name for name in second if name not in OWN]
    return all(name in first and np.allclose(first[name], second[name]) for name in names)
