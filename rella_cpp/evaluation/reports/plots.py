"""Plots of runs, as SVG: curves that are told apart by dashes and marks, too, not by color alone."""

import io
from collections.abc import Callable, Sequence
from typing import Any
from warnings import catch_warnings, filterwarnings

import numpy as np

from rella_cpp.evaluation.reports.comparison import compare_runs, run_names
from rella_cpp.evaluation.reports.report import report
from rella_cpp.evaluation.reports.verdicts import OWN
from rella_cpp.evaluation.runs import Run
from rella_cpp.metrics.probabilities import Floats, Reliability
from rella_cpp.metrics.ranking import metric_title
from rella_gguf.shown import harmless

_MOST = 8  # curves in one plot
_DASHES = ("-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_MARKS = "osD^vP*X"


def plots_of(runs: Sequence[Run]) -> list[str]:
    """Draw what belongs to runs of one protocol."""
    several = len({run.settings.get("reading", {}).get("k") for run in runs}) > 1
    if runs[0].ranking is not None:
        return [_intervals(runs, runs[0].ranking.deciding), *_cuts(runs)]
    found = _curves(runs)
    plots = [_intervals(runs, "auc"), _roc(found), _reliability(found), *_histograms(found)]
    return [*plots, _against_k(runs)] if several else plots


class Curve:
    """One predictor of one run."""

    def __init__(self, name: str, run: Run, predictor: str, scores: Floats) -> None:
        self.name, self.run, self.predictor, self.scores = name, run, predictor, scores
        self.labels = run.labels
        self.own = predictor in OWN


def _curves(runs: Sequence[Run]) -> list[Curve]:
    """Choose what is drawn: the model's predictors of every run, and the strongest baseline of the first."""
    curves = [
        Curve(name if predictor == "model" else f"{name} {predictor}", run, predictor, scores)
        for name, run in zip(run_names(runs), runs, strict=True)
        for predictor, scores in run.predictors().items()
        if predictor in OWN
    ]
    metrics = report(runs[0])["metrics"]
    baselines = {name: values["auc"]["value"] or 0 for name, values in metrics.items() if name not in OWN}
    if baselines:
        best = max(baselines, key=lambda name: baselines[name])
        curves = [*curves[: _MOST - 1], Curve(f"baseline {best}", runs[0], best, runs[0].predictors()[best])]
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
    for label, (_, name) in zip(legend.get_texts(), named, strict=True):
        label.set_text(harmless(name))


def _style(number: int) -> tuple[Any, str]:
    """Return dashes and a mark, other ones for each of eight curves."""
    return _DASHES[number % len(_DASHES)], _MARKS[number % len(_MARKS)]


def _roc(curves: Sequence[Curve]) -> str:
    def paint(axes: Any) -> None:
        named = [(axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")[0], "chance")]
        for curve in curves:
            order = np.argsort(-curve.scores, kind="stable")
            ends = np.r_[np.flatnonzero(np.diff(curve.scores[order])), len(order) - 1]
            ends = ends[np.unique(np.linspace(0, len(ends) - 1, min(len(ends), 300)).astype(int))]
            positive = np.r_[0, np.cumsum(curve.labels[order])[ends]]
            negative = np.r_[0, np.cumsum(1 - curve.labels[order])[ends]]
            if positive[-1] and negative[-1]:
                dashes, mark = _style(len(named) - 1)
                spaced = {"marker": mark, "markevery": max(1, len(ends) // 8), "markersize": 4}
                line = axes.plot(negative / negative[-1], positive / positive[-1], linestyle=dashes, **spaced)
                named.append((line[0], curve.name))
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        _legend(axes, named)

    return _draw("ROC", paint, square=True)


def _reliability(curves: Sequence[Curve]) -> str:
    def paint(axes: Any) -> None:
        named = [(axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")[0], "perfectly calibrated")]
        for curve in curves:
            mass, predicted, observed = Reliability(curve.labels, curve.scores).table()
            full = mass > 0
            dashes, mark = _style(len(named) - 1)
            line = axes.plot(predicted[full], observed[full], linestyle=dashes, marker=mark, markersize=4)
            named.append((line[0], curve.name))
        axes.set_xlabel("predicted probability, mean of each bin")
        axes.set_ylabel("share that was liked")
        _legend(axes, named)

    return _draw("Reliability", paint, square=True)


def _histograms(curves: Sequence[Curve]) -> list[str]:
    def painter(curve: Curve) -> Callable[[Any], None]:
        def paint(axes: Any) -> None:
            bins = np.linspace(0, 1, 31)
            for label, words, colour, hatch in ((1, "liked", "tab:green", ""), (0, "not liked", "tab:red", "//")):
                values = curve.scores[curve.labels == label]
                if len(values):
                    axes.hist(
                        values,
                        bins,
                        density=True,
                        alpha=0.5,
                        color=colour,
                        hatch=hatch,
                        label=f"{words} ({len(values):,})",
                    )
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


def _intervals(runs: Sequence[Run], metric: str) -> str:
    """Draw one metric of every predictor with its interval, the greatest on top; baselines are hollow."""
    title = "AUC" if metric == "auc" else metric_title(metric)

    def paint(axes: Any) -> None:
        rows = [row for row in compare_runs(runs) if row["metrics"][metric]["value"] is not None]
        rows.sort(key=lambda row: row["metrics"][metric]["value"])
        for place, row in enumerate(rows):
            found, own = row["metrics"][metric], row["predictor"] in OWN
            value = found["value"]
            low, high = (value if end is None else end for end in (found["low"], found["high"]))
            ends = [[max(0.0, value - low)], [max(0.0, high - value)]]  # rounding may put an end on the other side
            fill = {} if own else {"markerfacecolor": "white"}
            axes.errorbar([value], [place], xerr=ends, fmt="o" if own else "s", capsize=3, color="tab:blue", **fill)
        axes.set_yticks(range(len(rows)), [harmless(f"{row['run']} {row['predictor']}") for row in rows], fontsize=7)
        axes.set_xlabel(f"{title}, 95 % interval; squares are baselines")

    return _draw(title, paint)


def _cuts(runs: Sequence[Run]) -> list[str]:
    """Draw each metric of rankings against where the list is cut; chance is dotted."""
    protocol = runs[0].ranking
    assert protocol is not None
    kinds: dict[str, list[int]] = {}
    for metric in protocol.metrics:
        kind, _, cut = metric.partition("@")
        if cut:
            kinds.setdefault(kind, []).append(int(cut))

    def painter(kind: str, cuts: list[int]) -> Callable[[Any], None]:
        def paint(axes: Any) -> None:
            by_chance = report(runs[0])["chance"]
            named = [(axes.plot(cuts, [by_chance[f"{kind}@{cut}"] for cut in cuts], ":", color="0.6")[0], "chance")]
            for row in compare_runs(runs):
                if len(named) <= _MOST:
                    dashes, mark = _style(len(named) - 1)
                    values = [row["metrics"][f"{kind}@{cut}"]["value"] for cut in cuts]
                    line = axes.plot(cuts, values, linestyle=dashes, marker=mark, markersize=4)
                    named.append((line[0], f"{row['run']} {row['predictor']}"))
            axes.set_xticks(cuts)
            axes.set_xlabel("the list is cut at")
            _legend(axes, named)

        return paint

    return [
        _draw(metric_title(f"{kind}@{max(cuts)}").partition("@")[0], painter(kind, cuts))
        for kind, cuts in kinds.items()
        if len(cuts) > 1
    ]
