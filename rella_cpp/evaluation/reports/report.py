"""A run's metrics, with intervals, and what they say in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rella_cpp.evaluation.cost import read_cost
from rella_cpp.evaluation.reports.ranking import ranking_figures
from rella_cpp.evaluation.reports.verdicts import OWN, as_json, few_users, standing, subject
from rella_cpp.evaluation.runs import Run
from rella_cpp.metrics.bootstrap import METRICS, Bootstrap
from rella_cpp.scoring.results import LOW_ANSWER_MASS

_MUCH = 0.5
"""Share of the samples that is warned of."""


def report(run: Run) -> dict[str, Any]:
    """Return a run's metrics, computed from its predictions and kept in `metrics.json`.

    `metrics` has for each predictor AUC, LogLoss, accuracy, ECE, Brier score and the mean AUC within users, each with a
    95 % bootstrap interval over users; `differences` what the model's predictors have more than each baseline, over
    the same draws; `verdicts` the same in sentences. A metric that needs both labels is null where there is one only.
    Of runs with candidates the metrics are those of their protocol (`rella_cpp.evaluation.protocols`), `chance` what a
    random order gets.
    """
    known = run.metrics
    if known is None:
        protocol = run.ranking
        known = (_figures(run) if protocol is None else ranking_figures(run, protocol)) | _reading(run)
        run.save_metrics(known)
    cost = read_cost(run.folder)
    return known if cost is None else {**known, "cost": dict(cost)}


def measured(run: Run, name: str, own: Sequence[str] = OWN) -> dict[str, Any]:
    """Return a run's figures without intervals, for the card of a bundle: which samples, `metrics` and `baselines`.

    Parameters
    ----------
    name
        What the run is called there.
    own
        Which of the model's predictors to keep.

    """
    found = report(run)
    figures = {of: {metric: value["value"] for metric, value in its.items()} for of, its in found["metrics"].items()}
    return {
        "name": name,
        "data": run.settings.get("data"),
        "drawn": run.settings["samples"],
        **{size: found[size] for size in ("samples", "users", "label_rate") if size in found},
        "metrics": {of: its for of, its in figures.items() if of in own},
        "baselines": {of: its for of, its in figures.items() if of not in OWN},
    }


def _figures(run: Run) -> dict[str, Any]:
    labels, predictors = run.labels, run.predictors()
    boot = Bootstrap(labels, run.users, predictors) if predictors else None
    own = [name for name in OWN if name in predictors]
    others = [name for name in predictors if name not in own]
    differences: dict[str, dict[str, dict[str, Any]]] = {
        name: {
            other: {m: as_json(boot.difference(name, other, m), difference=True) for m in METRICS} for other in others
        }
        for name in own
        if boot is not None
    }
    return {
        "samples": len(labels),
        "users": len(np.unique(run.users)),
        "users_with_both_labels": 0 if boot is None else boot.users_with_both,
        "label_rate": float(labels.mean()),
        "metrics": {
            name: {metric: as_json(boot.interval(name, metric)) for metric in METRICS}
            for name in predictors
            if boot is not None
        },
        "differences": differences,
        "verdicts": _verdicts(differences, boot),
        "notes": _notes(run, labels, others),
    }


def _reading(run: Run) -> dict[str, Any]:
    """Return what the model's answers and prompts were like, where there is a model."""
    mass, tokens, dropped = (run.column(name) for name in ("answer_mass", "prompt_tokens", "dropped"))
    if dropped is not None and run.shared:
        dropped = dropped[:: run.width]  # prompts are counted, and not their candidates
    return {
        **({} if mass is None else {"answer_mass": _mass(mass)}),
        **({} if tokens is None else {"prompt_tokens": float(tokens.mean())}),
        **({} if dropped is None else {"shortened": int((dropped > 0).sum())}),
        **({"summaries": _summaries(run)} if "summary" in run.lines[0] else {}),
    }


def _summaries(run: Run) -> dict[str, int]:
    """Count preference summaries, one a sample or ranked user: written, empty, none (the history was too short)."""
    lines = run.lines[:: run.width]
    texts = [line["summary"]["text"] for line in lines]
    return {
        "written": sum(bool(text) for text in texts),
        "empty": texts.count(""),
        "none": texts.count(None),
        "item_texts_shortened": sum(line["summary"]["shortened"] for line in lines),
    }


def _mass(mass: Any) -> dict[str, float]:
    return {"mean": float(mass.mean()), "low_share": float((mass < LOW_ANSWER_MASS).mean())}


def warnings_of(found: Mapping[str, Any]) -> list[str]:
    """Return what a report warns of."""
    low = found.get("answer_mass", {}).get("low_share", 0)
    if low <= _MUCH:
        return []
    return [
        f"in {low:.0%} of the samples the two answers hold little of the model's whole answer: it does not answer in "
        "that form"
    ]


def _verdicts(differences: dict[str, dict[str, dict[str, Any]]], boot: Bootstrap | None) -> list[str]:
    """Say for each of the model's predictors which baselines it beats, which beat it, and which it equals, by AUC."""
    sentences = []
    for name, others in differences.items():
        if name.startswith("platt") and boot is not None:
            plain = "contrast" if name.endswith("contrast") else "head" if "head" in differences else "model"
            changes = ", ".join(
                f"{metric} {boot.interval(plain, key).value:.3f} → {boot.interval(name, key).value:.3f}"
                for metric, key in (("LogLoss", "log_loss"), ("ECE", "ece"))
            )
            sentences.append(f"The model's {name} keeps its ranking: {changes}.")
            continue
        by_area = {other: metrics["auc"] for other, metrics in others.items() if other != "base_rate"}
        sentences += standing(name, by_area, "AUC")
        if boot is not None:
            area = boot.interval(name, "auc")
            if area.low is not None and area.high is not None and area.low <= 0.5 <= area.high:
                sentences.append(f"{subject(name)} is not distinguishable from chance (AUC {area.value:.3f}).")
    return sentences


def _notes(run: Run, labels: Any, others: list[str]) -> list[str]:
    notes = few_users(len(np.unique(run.users)), "user" if "user" in run.lines[0] else "sample")
    if labels.min() == labels.max():
        notes.append(f"every label is {int(labels[0])}: AUC is undefined, and the other figures say little")
    if "data" in run.settings:
        if "logistic" not in others:
            notes.append("no fitted baselines: the training split is empty, has one label only, or has no ratings")
        else:
            if "similarity" not in others:
                notes.append("similarity baseline left out: it needs --index")
            if "boosting" in others and "factors" not in others:
                notes.append("bias and factors left out: there are too few training users")
        if "factors" in others and run.settings["samples"].get("split") == "train":
            notes.append("these are training samples: bias and factors have seen their ratings")
    return notes
