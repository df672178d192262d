"""Fitting heads: few-shot judgement with no trainer at all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_cpp.cache import Progress, no_progress
from rella_cpp.errors import InputError
from rella_cpp.evaluation.logistic import Logistic
from rella_cpp.evaluation.metrics import Floats, Losses, Ranked
from rella_cpp.files import refuse_foreign
from rella_cpp.head import PARTS, Head, heads_judge, read_features
from rella_cpp.recommender import Rella
from rella_cpp.tuning.examples import Example, Examples
from rella_cpp.tuning.features import FeatureFile
from rella_cpp.versions import library_versions
from rella_gguf.files import refuse_existing

_GROUP = 16
_FOLDS = 5
_STRENGTHS = tuple(10.0**power for power in np.arange(-5.5, 0.1, 0.5))
_LEAST = 20  # samples: fewer say nothing


def tune_head(
    examples: Examples,
    judge: Rella,
    out: str | Path,
    *,
    parts: Sequence[str] = ("last", "gap"),
    force: bool = False,
    progress: Progress = no_progress,
) -> Head:
    """Fit a head on the training examples and save it.

    The features lie in a folder beside it while they are computed (`OUT.features`): killed, the same call goes on.

    Parameters
    ----------
    examples
        What to read; both histories of a sample stand in the same fold.
    judge
        The model, with its adapters.
    out
        The head's folder.
    parts
        What the head reads, of `PARTS`.

    Raises
    ------
    InputError
        There is something at `out`, features with other settings lie beside it, there are fewer than 20 samples, or
        they have one label only.
    ContextError
        A prompt is longer than the context.

    """
    out = Path(out)
    if judge.head is not None or judge.contrast:
        raise ValueError("the judge has a head, or a contrast: a head is fitted on what the model says")
    if not parts or not set(parts) <= set(PARTS):
        raise InputError(f"a head cannot read {', '.join(parts) or 'nothing'}", remedy=f"some of {', '.join(PARTS)}")
    if examples.settings.shots < _LEAST:
        raise InputError(f"{examples.settings.shots} shots are too few for a head", remedy=f"give at least {_LEAST}")
    refuse_foreign(out, "rella_head", "head")
    if not force:
        refuse_existing(out)
    settings = _settings(examples, judge)
    width = 2 * judge.engine.n_embd + 1
    beside = out.absolute().with_name(f"{out.absolute().name}.features")
    with FeatureFile(beside, settings, width, force=force) as file:
        chosen = list(examples.training())
        labels = np.array([example.label for example in chosen], dtype=np.float64)
        if labels.min() == labels.max():
            raise InputError("all samples drawn have one label", remedy="give more --shots, or another --seed")
        _read(chosen, judge, file, progress)
        head = _fit(chosen, file.rows().astype(np.float64), labels, parts, settings)
        head.save(out)
        file.remove()
    return head


def _settings(examples: Examples, judge: Rella) -> dict[str, Any]:
    data, index = examples.data, examples.histories.vectors
    return {
        "data": {"name": data.name, "fingerprint": data.fingerprint},
        "samples": asdict(examples.settings),
        "index": None if index is None else {"fingerprint": index.fingerprint, "model": index.manifest.model},
        "judge": judge.settings(),
        "versions": library_versions(),
    }


def _read(examples: Sequence[Example], judge: Rella, file: FeatureFile, progress: Progress) -> None:
    """Read prompts from where the file ends, in groups."""
    rest = iter(examples[file.done :])
    while group := list(islice(rest, _GROUP)):
        questions = [judge.asker.ask(example.text) for example in group]
        file.add(np.stack([read_features(hidden, answer.gap) for hidden, answer in judge.states(questions)]))
        progress("reading examples", file.done, len(examples))


def _fit(
    examples: Sequence[Example], features: Floats, labels: Floats, parts: Sequence[str], settings: Mapping[str, Any]
) -> Head:
    """Fit, with the strength of the regularisation that cross-validation finds best by LogLoss."""
    columns = _columns(parts, features.shape[1])
    chosen = features[:, columns]
    samples = np.array([example.sample for example in examples])
    found = {strength: _cross_validated(chosen, labels, samples, strength) for strength in _STRENGTHS}
    losses = {strength: float(Losses.of(labels, chances).log_loss.mean()) for strength, chances in found.items()}
    best = min(losses, key=lambda strength: losses[strength])
    fitted = Logistic.fit(chosen, labels, strength=best)
    weights = np.zeros(features.shape[1])
    weights[columns] = fitted.weights
    cross_validated = {"AUC": Ranked(labels, found[best]).auc(), "LogLoss": losses[best]}
    facts = {name: settings[name] for name in ("data", "samples", "index", "versions")}
    rows = {"rows": len(labels), "parts": list(parts), "strength": best, "cross_validated": cross_validated}
    return Head(weights, fitted.offset, heads_judge(settings["judge"]), {**facts, **rows})


def _columns(parts: Sequence[str], width: int) -> npt.NDArray[np.int64]:
    half = width // 2
    spans = {"last": range(half), "mean": range(half, 2 * half), "gap": range(2 * half, width)}
    return np.concatenate([np.arange(spans[part].start, spans[part].stop) for part in PARTS if part in parts])


def _cross_validated(features: Floats, labels: Floats, samples: npt.NDArray[np.int64], strength: float) -> Floats:
    """Return each row's probability by a fit on other folds; rows of one sample are in one fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    result = np.full(len(labels), labels.mean())
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    for rest, fold in folds.split(features, labels, samples):
        if labels[rest].min() < labels[rest].max():
            result[fold] = Logistic.fit(features[rest], labels[rest], strength=strength)(features[fold])
    return result
