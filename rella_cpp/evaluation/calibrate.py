"""Calibration: from the model's logit gap to a probability that holds, fitted on a validation run.

Platt scaling fits a slope and an offset for the gap; a blend fits what the model says together with what ratings say:
six plain statistics, trees on them, offsets and factors (`rella_cpp.scoring.ratings.models`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rella_cpp.engine.machine.address_space import warm_scipy
from rella_cpp.errors import InputError
from rella_cpp.evaluation.lines import rating_features
from rella_cpp.evaluation.reports.verdicts import as_json
from rella_cpp.evaluation.runs import Run
from rella_cpp.metrics.bootstrap import Bootstrap
from rella_cpp.metrics.probabilities import Floats, Losses, Ranked, Reliability
from rella_cpp.scoring.calibration import Calibration, made_for, model_features
from rella_cpp.scoring.logistic import Logistic
from rella_cpp.scoring.ratings.statistics import STATISTICS

_LEAST = 20  # samples: fewer say nothing
_DRAWS = 200  # of the intervals of what parts are worth
_BLEND = "blend"


def fit_calibration(run: Run, *, blend: bool = False, contrast: bool = False) -> Calibration:
    """Fit Platt scaling of a validation run's logit gaps, or a blend with what ratings say, by maximum likelihood.

    Of a blend `fitted_on` says what each part is worth (`parts`): the AUC that a blend without it has less.

    Raises
    ------
    InputError
        The run is a ranking run, on the test split, has one label only, fewer than 20 samples, no model, or not what
        is asked for.

    """
    if run.ranking is not None:
        raise InputError(
            f"is a run of --protocol {run.ranking.name}, whose share of liked items is made up",
            source=run.folder,
            remedy="calibrate on one of --protocol clicks: rella evaluate --split valid",
        )
    split = run.settings.get("samples", {}).get("split", "")
    if split != "valid":
        raise InputError(
            f"is a run on the split {split or 'of ready prompts'}",
            source=run.folder,
            remedy="calibrate on validation only: rella evaluate --split valid",
        )
    labels = run.labels
    if len(labels) < _LEAST or labels.min() == labels.max():
        finding = f"has {len(labels)} samples" if len(labels) < _LEAST else "has one label only"
        raise InputError(finding, source=run.folder, remedy=f"give at least {_LEAST} samples of both labels")
    own, ratings = _of_model(run, contrast=contrast, levels=blend), _of_ratings(run) if blend else {}
    columns = {**own, **ratings}
    features = np.stack(list(columns.values()), axis=1)
    fitted, chances = _fit(features, labels), _cross_validated(features, labels)
    settings = run.settings
    predictors = run.predictors()
    before = predictors["contrast" if contrast else "head" if "head" in predictors else "model"]
    figures = {
        "LogLoss": [float(Losses.of(labels, p).log_loss.mean()) for p in (before, chances)],
        "ECE": [Reliability(labels, p).ece() for p in (before, chances)],
        "AUC": [Ranked(labels, p).auc() for p in (before, chances)],
    }
    facts = {"samples": len(labels), "data": settings["data"], "draw": settings["samples"], "figures": figures}
    return Calibration(
        dict(zip(columns, map(float, fitted.weights), strict=True)),
        fitted.offset,
        contrast,
        made_for(settings["judge"], settings["reading"]),
        facts | ({"parts": _worth(run, columns, len(own), chances)} if blend else {}),
        run.ratings() if blend else None,
        {name: (float(v.min()), float(v.mean()), float(v.max())) for name, v in ratings.items()} if blend else None,
        {name: float(values.mean()) for name, values in own.items()},
    )


def _of_model(run: Run, *, contrast: bool, levels: bool) -> dict[str, Floats]:
    """Return what the model says, by feature: the gap; with `levels`, of a stream, what it says of each level."""
    gaps = run.gaps
    if contrast:
        empty = run.column("empty_gap")
        if empty is None:
            raise InputError("was made without --contrast", source=run.folder, remedy="evaluate with --contrast")
        gaps = gaps - empty
    if not levels or contrast or "levels" not in run.lines[0] or "head" in run.lines[0]:
        return {"gap": gaps}
    rows = [model_features(0.0, line["levels"]) for line in run.lines]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _of_ratings(run: Run) -> dict[str, Floats]:
    """Return what ratings say, by feature."""
    rows = [rating_features(line) for line in run.lines]
    if rows[0] is None:
        raise InputError("has no statistics to blend", source=run.folder, remedy="calibrate without --blend")
    return {name: np.array([(row or {})[name] for row in rows]) for name in rows[0]}


def _worth(run: Run, columns: Mapping[str, Floats], own: int, chances: Floats) -> dict[str, dict[str, Any]]:
    """Say what AUC each part of a blend adds: how much less a blend of the others has, cross-validated.

    The first `own` columns are the model's.
    """
    names = list(columns)
    parts = {"model": names[:own], "statistics": list(STATISTICS)}
    parts |= {name: [name] for name in names[own:] if name not in STATISTICS}
    without = {}
    for part, dropped in parts.items():
        left = np.stack([column for name, column in columns.items() if name not in dropped], axis=1)
        without[part] = _cross_validated(left, run.labels)
    draws = Bootstrap(run.labels, run.users, {_BLEND: chances, **without}, draws=_DRAWS)
    return {part: as_json(draws.difference(_BLEND, part, "auc"), difference=True) for part in parts}


def _cross_validated(features: Floats, labels: Floats) -> Floats:
    """Return the probability of each sample by a fit on the other four fifths: what the fit will do elsewhere."""
    warm_scipy()
    from sklearn.model_selection import StratifiedKFold

    result = np.empty(len(labels))
    folds = min(5, int(min(labels.sum(), len(labels) - labels.sum())))
    if folds < 2:
        return np.full(len(labels), labels.mean())
    for rest, fold in StratifiedKFold(folds, shuffle=True, random_state=0).split(features, labels):
        result[fold] = _fit(features[rest], labels[rest])(features[fold])
    return result


def _fit(features: Floats, labels: Floats) -> Logistic:
    """Fit; hardly regularised for the gap alone, as scikit-learn does by default for a blend."""
    return Logistic.fit(features, labels, strength=1e6 if features.shape[1] == 1 else 1.0)
