"""A page that compares runs: one HTML file with its plots inside, nothing to fetch."""

import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

import numpy as np

from rella_cpp.errors import InputError
from rella_cpp.evaluation.reports.comparison import compare_runs, run_names
from rella_cpp.evaluation.reports.report import report
from rella_cpp.evaluation.reports.verdicts import OWN
from rella_cpp.evaluation.runs import Run
from rella_cpp.metrics.bootstrap import METRICS
from rella_cpp.metrics.probabilities import Floats, Reliability
from rella_gguf.files import new_file, refuse_existing
from rella_gguf.shown import harmless

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number small { display: block; } small { opacity: .7; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
.plots { margin-top: 1.5rem; display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1.2rem; }
.plots figure { margin: 0; background: #fff; border-radius: .5rem; border: 1px solid var(--line); }
.plots svg { width: 100%; height: auto; display: block; }
"""
_MOST = 8  # curves in one plot


def write_page(runs: Sequence[Run], path: str | Path, *, force: bool = False) -> None:
    """Write the page: a table, ROC, reliability, score histograms by label, AUC against K, and each run's settings.

    Raises
    ------
    InputError
        One is a ranking run, matplotlib is not installed, the file is there already and `force` is False, or it cannot
        be written.

    """
    path = Path(path)
    if path.is_dir():
        raise InputError("is a folder", source=path, remedy="name a file")
    if not force:
        refuse_existing(path)
    try:
        import matplotlib  # noqa: F401  # the extra plot
    except ImportError:
        raise InputError("a page needs matplotlib", remedy="pip install 'rella-cpp[plot]'") from None
    for protocol in (run.ranking for run in runs):
        if protocol is not None:
            raise InputError(f"a page cannot show runs of --protocol {protocol.name} yet", remedy="leave out --html")
    curves = _curves(runs)
    plots = [_roc(curves), _reliability(curves), *_histograms(curves)]
    if len({run.settings.get("reading", {}).get("k") for run in runs}) > 1:
        plots.append(_against_k(runs))
    parts = [
        "<h1>Runs compared</h1>",
        _table(runs),
        f'<div class="plots">{"".join(f"<figure>{plot}</figure>" for plot in plots)}</div>',
        "<h2>What the figures say</h2>",
        *(f"<p>{_text(row['verdict'])}</p>" for row in compare_runs(runs) if row["verdict"]),
        *(_said(name, run) for name, run in zip(run_names(runs), runs, strict=True)),
        "<h2>Settings</h2>",
        _configuration(runs),
        *(_settings(name, run) for name, run in zip(run_names(runs), runs, strict=True)),
    ]
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Runs compared</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    with new_file(path) as file:
        file.write(text.encode())


class _Curve:
    """One predictor of one run."""

    def __init__(self, name: str, run: Run, predictor: str, scores: Floats) -> None:
        self.name, self.run, self.predictor, self.scores = name, run, predictor, scores
        self.labels = run.labels
        self.own = predictor in OWN


def _curves(runs: Sequence[Run]) -> list[_Curve]:
    """Choose what is drawn: the model's predictors of every run, and the strongest baseline of the first."""
    curves = [
        _Curve(name if predictor == "model" else f"{name} {predictor}", run, predictor, scores)
        for name, run in zip(run_names(runs), runs, strict=True)
        for predictor, scores in run.predictors().items()
        if predictor in OWN
    ]
    metrics = report(runs[0])["metrics"]
    baselines = {name: values["auc"]["value"] or 0 for name, values in metrics.items() if name not in OWN}
    if baselines:
        best = max(baselines, key=lambda name: baselines[name])
        curves = [*curves[: _MOST - 1], _Curve(f"baseline {best}", runs[0], best, runs[0].predictors()[best])]
    return curves[:_MOST]


def _draw(title: str, paint: Callable[[Any], None], *, square: bool = False) -> str:
    """Draw one plot; return it as SVG, the same bytes for the same data."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rc = {"svg.fonttype": "none", "svg.hashsalt": "rella", "font.size": 10, "text.parse_math": False}  # $ is no formula
    with rc_context(rc), catch_warnings():
        filterwarnings("ignore", message="Glyph")  # the text stays text: a reader's own fonts show it
        figure = Figure(figsize=(5.6, 4.4), layout="constrained")
        axes = figure.subplots()
        paint(axes)
        axes.set_title(harmless(title))
        axes.spines[["top", "right"]].set_visible(False)
        if square:
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def _legend(axes: Any, named: Sequence[tuple[Any, str]]) -> None:
    """Name what was drawn. Matplotlib would leave out what is called `_…`, so the names come after their places."""
    legend = axes.legend([drawn for drawn, _ in named], [str(place) for place in range(len(named))], fontsize=8)
    for text, (_, name) in zip(legend.get_texts(), named, strict=True):
        text.set_text(harmless(name))


def _roc(curves: Sequence[_Curve]) -> str:
    def paint(axes: Any) -> None:
        named = [(axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")[0], "chance")]
        for curve in curves:
            order = np.argsort(-curve.scores, kind="stable")
            ends = np.r_[np.flatnonzero(np.diff(curve.scores[order])), len(order) - 1]
            ends = ends[np.unique(np.linspace(0, len(ends) - 1, min(len(ends), 300)).astype(int))]
            positive = np.r_[0, np.cumsum(curve.labels[order])[ends]]
            negative = np.r_[0, np.cumsum(1 - curve.labels[order])[ends]]
            if positive[-1] and negative[-1]:
                style = "-" if curve.own else "--"
                line = axes.plot(negative / negative[-1], positive / positive[-1], style)
                named.append((line[0], curve.name))
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        _legend(axes, named)

    return _draw("ROC", paint, square=True)


def _reliability(curves: Sequence[_Curve]) -> str:
    def paint(axes: Any) -> None:
        named = [(axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")[0], "perfectly calibrated")]
        for curve in curves:
            mass, predicted, observed = Reliability(curve.labels, curve.scores).table()
            full = mass > 0
            style = "o-" if curve.own else "o--"
            line = axes.plot(predicted[full], observed[full], style, markersize=4)
            named.append((line[0], curve.name))
        axes.set_xlabel("predicted probability, mean of each bin")
        axes.set_ylabel("share that was liked")
        _legend(axes, named)

    return _draw("Reliability", paint, square=True)


def _histograms(curves: Sequence[_Curve]) -> list[str]:
    def painter(curve: _Curve) -> Callable[[Any], None]:
        def paint(axes: Any) -> None:
            bins = np.linspace(0, 1, 31)
            for label, words, colour in ((1, "liked", "tab:green"), (0, "not liked", "tab:red")):
                values = curve.scores[curve.labels == label]
                if len(values):
                    axes.hist(values, bins, density=True, alpha=0.5, color=colour, label=f"{words} ({len(values):,})")
            axes.set_xlim(0, 1)
            axes.set_xlabel("predicted probability")
            axes.set_ylabel("density")
            axes.legend(fontsize=8)

        return paint

    return [_draw(f"Scores by label: {curve.name}", painter(curve)) for curve in curves]


def _against_k(runs: Sequence[Run]) -> str:
    def paint(axes: Any) -> None:
        lines: dict[str, list[tuple[int, Any]]] = {}
        for run in runs:
            reading = run.settings.get("reading", {})
            for predictor, metrics in report(run)["metrics"].items():
                if predictor in (*OWN, "similarity") and reading.get("k") and metrics["auc"]["value"] is not None:
                    lines.setdefault(f"{reading['retrieval']} {predictor}", []).append((reading["k"], metrics["auc"]))
        for name, points in sorted(lines.items()):
            points.sort(key=lambda point: point[0])
            ks, values = [k for k, _ in points], [auc["value"] for _, auc in points]
            low = [auc["value"] - auc["low"] if auc["low"] is not None else 0 for _, auc in points]
            high = [auc["high"] - auc["value"] if auc["high"] is not None else 0 for _, auc in points]
            axes.errorbar(ks, values, [low, high], fmt="o-", capsize=3, label=name)
            axes.set_xticks(sorted({*axes.get_xticks(), *ks} & set(ks)))
        axes.set_xlabel("K, behaviors in the prompt")
        axes.set_ylabel("AUC, 95 % interval")
        if lines:
            axes.legend(fontsize=8)

    return _draw("AUC against K", paint)


def _table(runs: Sequence[Run]) -> str:
    head = "".join(f'<th class="number">{title}</th>' for title in ("K", "samples", *METRICS.values()))
    rows = []
    for row in compare_runs(runs):
        cells = [f'<td class="number">{row["k"] or "–"}</td><td class="number">{row["samples"]:,}</td>']
        for metric in METRICS:
            found = row["metrics"][metric]
            shown = "–" if found["value"] is None else f"{found['value']:.4f}"
            ends = "" if found["low"] is None else f" <small>{found['low']:.3f}–{found['high']:.3f}</small>"
            cells.append(f'<td class="number">{shown}{ends}</td>')
        rows.append(f"<tr><td>{_text(row['run'])}</td><td>{_text(row['predictor'])}</td>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><tr><th>run</th><th>predictor</th>{head}</tr>{"".join(rows)}</table></div>'


def _said(name: str, run: Run) -> str:
    found = report(run)
    sentences = "".join(f"<li>{_text(sentence)}</li>" for sentence in [*found["verdicts"], *found["notes"]])
    facts = f"{found['samples']:,} samples of {found['users']:,} users, {found['label_rate']:.1%} liked"
    return f"<h3>{_text(name)}</h3><p>{facts}</p><ul>{sentences}</ul>"


def _configuration(runs: Sequence[Run]) -> str:
    """Show what tells runs apart; all settings stand below it."""
    head = "".join(f"<th>{title}</th>" for title in ("run", "model", "chat format", "reading", "samples", "index"))
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
        rows.append(f"<tr>{''.join(f'<td>{_text(str(cell))}</td>' for cell in cells)}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _settings(name: str, run: Run) -> str:
    shown = json.dumps(run.settings, ensure_ascii=False, indent=1)
    return f"<details><summary>{_text(name)}</summary><pre>{html.escape(harmless(shown, lines=True))}</pre></details>"


def _text(text: str) -> str:
    return html.escape(harmless(text))
