"""A page that compares runs: one HTML file with its plots inside, nothing to fetch."""

import json
from collections.abc import Sequence
from pathlib import Path

from rella_cpp.errors import InputError
from rella_cpp.evaluation.reports.comparison import compare_runs, run_names
from rella_cpp.evaluation.reports.plots import plots_of
from rella_cpp.evaluation.reports.report import report, warnings_of
from rella_cpp.evaluation.runs import Run
from rella_cpp.metrics.bootstrap import METRICS
from rella_cpp.metrics.ranking import metric_title
from rella_cpp.pages.page import Cell, details, number_cell, page, preformatted, refuse_page, save_page, table, text


def write_page(runs: Sequence[Run], path: str | Path, *, force: bool = False) -> None:
    """Write the page: a table, plots, what the figures say in words, and each run's settings.

    Of clicks the plots are AUC with its interval, ROC, reliability, score histograms by label, and AUC against K; of
    rankings the deciding metric with its interval, and each metric against where lists are cut.

    Raises
    ------
    InputError
        Some are of another protocol, matplotlib is not installed, the file is there already and `force` is False, or it
        cannot be written.

    """
    path = Path(path)
    check_plotted_page(path, force=force)
    parts = [
        _table(runs),
        f'<div class="plots">{"".join(f"<figure>{plot}</figure>" for plot in plots_of(runs))}</div>',
        "<h2>What the figures say</h2>",
        *(f"<p>{text(row['verdict'])}</p>" for row in compare_runs(runs) if row["verdict"]),
        *(_said(name, run) for name, run in zip(run_names(runs), runs, strict=True)),
        "<h2>Settings</h2>",
        _configuration(runs),
        *(_settings(name, run) for name, run in zip(run_names(runs), runs, strict=True)),
    ]
    save_page(path, page("Runs compared" if len(runs) > 1 else "Evaluation", parts))


def check_plotted_page(path: Path, *, force: bool) -> None:
    """Refuse a page that cannot be written, before any work is done for it; see `write_page`."""
    refuse_page(path, force=force)
    try:
        import matplotlib  # noqa: F401  # the extra plot
    except ImportError:
        raise InputError("a page needs matplotlib", remedy="pip install 'rella-cpp[plot]'") from None


def _table(runs: Sequence[Run]) -> str:
    protocol = runs[0].ranking
    metrics = METRICS if protocol is None else {name: metric_title(name) for name in protocol.metrics}
    counted = "samples" if protocol is None else "users"
    rows = []
    for row in compare_runs(runs):
        cells = [Cell(text(row["run"])), Cell(text(row["predictor"]))]
        cells += [number_cell(row["k"] or None, str(row["k"])), number_cell(row[counted], f"{row[counted]:,}")]
        for metric in metrics:
            found = row["metrics"][metric]
            shown = "" if found["value"] is None else f"{found['value']:.4f}"
            ends = "" if found["low"] is None else f"{found['low']:.3f}–{found['high']:.3f}"
            cells.append(number_cell(found["value"], shown, ends))
        rows.append(cells)
    heads = ("run", "predictor", "K", counted, *metrics.values())
    return table(heads, rows, numbers=range(2, len(heads)))


def _said(name: str, run: Run) -> str:
    found = report(run)
    sentences = "".join(
        f"<li>{text(sentence)}</li>" for sentence in [*found["verdicts"], *found["notes"], *warnings_of(found)]
    )
    facts = (
        f"{found['users']:,} users, each with one item and {found['candidates'] - 1:,} others"
        if run.ranking
        else (
            f"{found['samples']:,} samples of {found['users']:,} users, {found['label_rate']:.1%} liked; "
            f"user AUC over {found['users_with_both_labels']:,} users with both labels"
        )
    )
    facts += f"; answer mass {found['answer_mass']['mean']:.2f}" if "answer_mass" in found else ""
    return f"<h3>{text(name)}</h3><p>{facts}</p><ul>{sentences}</ul>"


def _configuration(runs: Sequence[Run]) -> str:
    """Show what tells runs apart; all settings stand below it."""
    rows = []
    for name, run in zip(run_names(runs), runs, strict=True):
        settings = run.settings
        judge, reading = settings.get("judge") or {}, settings.get("reading") or {}
        model, samples = judge.get("model") or {}, settings["samples"]
        adapters = "".join(f" + {adapter['name']} × {adapter['scale']:g}" for adapter in model.get("adapters", ()))
        adapters += f" + {model['soft']['name']}" if "soft" in model else ""
        source = (settings.get("data") or settings.get("prompts") or {}).get("name", "")
        drawn = f"{samples['count']:,} of {source} {samples.get('split', '')}".strip()
        cells = (
            name,
            f"{model['name']} ({model['fingerprint'][:12]}){adapters}" if model else "baselines only",
            judge.get("chat_format", "–"),
            f"K = {reading['k']}, {reading['retrieval']}, {reading['order']}" if reading else "–",
            f"{drawn}, seed {samples['seed']}" if samples.get("limit") or samples.get("limit_users") else drawn,
            (settings.get("index") or {}).get("model", "–"),
        )
        rows.append([Cell(text(cell)) for cell in cells])
    return table(("run", "model", "chat format", "reading", "samples", "index"), rows)


def _settings(name: str, run: Run) -> str:
    return details(name, preformatted(json.dumps(run.settings, ensure_ascii=False, indent=1)))
