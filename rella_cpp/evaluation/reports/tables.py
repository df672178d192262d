"""Compared runs as a table for other programs: CSV with full precision, and LaTeX for a paper."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rella_cpp.evaluation.reports.comparison import compare_runs
from rella_cpp.evaluation.runs import Run
from rella_cpp.metrics.bootstrap import METRICS
from rella_cpp.metrics.ranking import metric_title
from rella_cpp.pages.page import refuse_output
from rella_gguf.files import new_file
from rella_gguf.shown import harmless

_CSV, _LATEX = "run,predictor,k,", r"\begin{tabular}{llr"
"""How the tables begin."""
_ESCAPED = {each: f"\\{each}" for each in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def write_csv(runs: Sequence[Run], path: Path, *, force: bool = False) -> None:
    """Write one line for each run and predictor: every metric with the ends of its interval.

    Raises
    ------
    InputError
        The runs cannot be compared, the file is there already and `force` is False, or it cannot be written.

    """
    rows = compare_runs(runs)
    metrics = list(rows[0]["metrics"])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    ends = [f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high")]
    table.writerow(["run", "predictor", "k", _counted(rows[0]), *ends])
    for row in rows:
        figures = [row["metrics"][metric][end] for metric in metrics for end in ("value", "low", "high")]
        table.writerow([harmless(row["run"]), row["predictor"], row["k"], row[_counted(row)], *figures])
    _save(path, text.getvalue(), force=force)


def write_latex(runs: Sequence[Run], path: Path, *, force: bool = False) -> None:
    """Write a table (booktabs) of the same; the best figure of each metric is bold. Raises as `write_csv` does."""
    rows = compare_runs(runs)
    metrics = [metric for metric in rows[0]["metrics"] if metric != "user_auc" or _counted(rows[0]) == "samples"]
    best = {metric: _best(metric, rows) for metric in metrics}
    lines = [
        f"{_LATEX}{'r' * len(metrics)}}}",
        r"\toprule",
        " & ".join(["run", "predictor", "K", *(_escaped(_title(metric)) for metric in metrics)]) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        cells = [_escaped(row["run"]), _escaped(row["predictor"]), "--" if row["k"] is None else str(row["k"])]
        for metric in metrics:
            value = row["metrics"][metric]["value"]
            shown = "--" if value is None else f"{value:.4f}"
            cells.append(rf"\textbf{{{shown}}}" if value is not None and value == best[metric] else shown)
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", ""]
    _save(path, "\n".join(lines), force=force)


def _counted(row: dict[str, Any]) -> str:
    """Return what a row counts: samples, or users with candidates."""
    return "samples" if "samples" in row else "users"


def _best(metric: str, rows: Sequence[dict[str, Any]]) -> float | None:
    values = [row["metrics"][metric]["value"] for row in rows if row["metrics"][metric]["value"] is not None]
    if not values:
        return None
    return float(min(values) if metric in ("log_loss", "ece", "brier") else max(values))


def _title(metric: str) -> str:
    return METRICS[metric] if metric in METRICS else metric_title(metric)


def _escaped(text: str) -> str:
    return "".join(_ESCAPED.get(each, each) for each in harmless(text))


def refuse_table(path: Path, *, force: bool = False) -> None:
    """Refuse a table that cannot be written: where something is that is no such table, `force` or not.

    Raises
    ------
    InputError
        Saying what is there.

    """
    refuse_output(path, (_CSV, _LATEX), "table of compared runs", force=force)


def _save(path: Path, text: str, *, force: bool) -> None:
    refuse_table(path, force=force)
    with new_file(path) as file:
        file.write(text.encode())
