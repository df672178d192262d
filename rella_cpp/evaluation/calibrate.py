"""Calibration: from the model's logit gap to a probability that holds, fitted on a validation run.

Platt scaling fits a slope and an offset for the gap; a blend fits the gap together with six plain statistics of the
user's ratings and the item's.
"""

import numpy as np

from rella_cpp.engine.machine.address_space import warm_scipy
from rella_cpp.errors import InputError
from rella_cpp.evaluation.runs import Run
from rella_cpp.metrics.probabilities import Floats, Losses, Ranked, Reliability
from rella_cpp.scoring.calibration import Calibration, made_for
from rella_cpp.scoring.logistic import Logistic
from rella_cpp.scoring.statistics import STATISTICS

_LEAST = 20  # samples: fewer say nothing


def fit_calibration(run: Run, *, blend: bool = False, contrast: bool = False) -> Calibration:
    """Fit Platt scaling of a validation run's logit gaps, or a blend of gaps and statistics, by maximum likelihood.

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
    gaps, labels = run.gaps, run.labels
    if contrast:
        empty = run.column("empty_gap")
        if empty is None:
            raise InputError("was made without --contrast", source=run.folder, remedy="evaluate with --contrast")
        gaps = gaps - empty
    if len(labels) < _LEAST or labels.min() == labels.max():
        finding = f"has {len(labels)} samples" if len(labels) < _LEAST else "has one label only"
        raise InputError(finding, source=run.folder, remedy=f"give at least {_LEAST} samples of both labels")
    features, names = gaps[:, None], ["gap"]
    if blend:
        statistics = run.statistics()
        if statistics is None:
            raise InputError("has no statistics to blend", source=run.folder, remedy="calibrate without --blend")
        features, names = np.hstack([features, statistics]), ["gap", *STATISTICS]
    fitted = _fit(features, labels)
    settings = run.settings
    predictors = run.predictors()
    plain = "contrast" if contrast else "head" if "head" in predictors else "model"
    before, after = predictors[plain], _cross_validated(features, labels)
    figures = {
        "LogLoss": [float(Losses.of(labels, p).log_loss.mean()) for p in (before, after)],
        "ECE": [Reliability(labels, p).ece() for p in (before, after)],
        "AUC": [Ranked(labels, p).auc() for p in (before, after)],
    }
    return Calibration(
        dict(zip(names, map(float, fitted.weights), strict=True)),
        fitted.offset,
        contrast,
        made_for(settings["judge"], settings["reading"]),
        {"samples": len(labels), "data": settings["data"], "draw": settings["samples"], "figures": figures},
        run.popularity() if blend else None,
        _ranges(features[:, 1:]) if blend else None,
    )


def _ranges(statistics: Floats) -> dict[str, tuple[float, float, float]]:
    columns = zip(STATISTICS, statistics.T, strict=True)
    return {name: (float(values.min()), float(values.mean()), float(values.max())) for name, values in columns}


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
