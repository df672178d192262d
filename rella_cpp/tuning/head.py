"""Fitting heads: few-shot judgement with no trainer at all."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.machine.address_space import warm_scipy
from rella_cpp.errors import InputError
from rella_cpp.metrics.probabilities import Floats, Losses, Ranked
from rella_cpp.recommender.rella import Rella
from rella_cpp.scoring.head import PARTS, Head, read_features, settings_for_heads
from rella_cpp.scoring.logistic import Logistic
from rella_cpp.storage.artifacts import brief, first_difference, named, refuse_foreign
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.storage.versions import library_versions
from rella_cpp.tuning.features import FeatureFile
from rella_cpp.tuning.reit import Example, Examples
from rella_cpp.tuning.stream_samples import StreamExample, StreamSamples

_GROUP = 16
_FOLDS = 5
_STRENGTHS = tuple(10.0**power for power in np.arange(-5.5, 0.1, 0.5))
_FACTS = ("data", "samples", "index", "versions")
_LEAST = 20  # samples: fewer say nothing


def tune_head(
    examples: Examples | StreamSamples,
    judge: Rella,
    out: str | Path,
    *,
    parts: Sequence[str] = PARTS,
    force: bool = False,
    progress: Progress = no_progress,
) -> Head:
    """Fit a head on the training examples and save it.

    The features lie in a folder beside it while they are computed (`OUT.features`): killed, the same call goes on.
    Finished, it gives the head that is there.

    Parameters
    ----------
    examples
        What to read, in the judge's layout; both histories of a sample stand in the same fold.
    judge
        The model, with its adapters.
    out
        The head's folder.
    parts
        What the head reads, of `PARTS`.

    Raises
    ------
    InputError
        There is another head or something else at `out`, features with other settings lie beside it, there are fewer
        than 20 samples, or they have one label only.
    ContextError
        A prompt is longer than the context.

    """
    out = named(out)
    if judge.head is not None or judge.contrast:
        raise InputError("the judge has a head or a contrast", remedy="a head is fitted on a judge without")
    if not parts or not set(parts) <= set(PARTS):
        raise InputError(f"a head cannot read {', '.join(parts) or 'nothing'}", remedy=f"some of {', '.join(PARTS)}")
    parts = [part for part in PARTS if part in parts]
    if isinstance(examples, StreamSamples) != (judge.prompts.layout == "stream"):
        raise InputError(f"the judge's layout is {judge.prompts.layout}, the examples' another", remedy="give one")
    if examples.settings.shots < _LEAST:
        raise InputError(f"{examples.settings.shots} shots are too few for a head", remedy=f"give at least {_LEAST}")
    refuse_foreign(out, "rella_head", "head")
    settings = _settings(examples, judge)
    if (out / "manifest.json").is_file() and not force:
        return _same_head(out, settings, parts)
    width = 2 * judge.engine.n_embd + 1
    chosen: list[Example | StreamExample] = list(examples.training())
    beside = out.absolute().with_name(f"{out.absolute().name}.features")
    with FeatureFile(beside, settings, width, len(chosen), force=force) as file:
        labels = np.array([example.label for example in chosen], dtype=np.float64)
        if labels.min() == labels.max():
            raise InputError("all samples drawn have one label", remedy="give more --shots, or another --seed")
        _read(chosen, judge, file, progress)
        head = _fit(chosen, file.rows().astype(np.float64), labels, parts, settings)
        head.save(out)
        file.remove()
    return head


def _same_head(out: Path, settings: Mapping[str, Any], parts: Sequence[str]) -> Head:
    """Return the head that is there, if it is the one asked for."""
    head = Head.load(out)
    wanted = {name: settings[name] for name in _FACTS} | {
        "parts": parts,
        "judge": settings_for_heads(settings["judge"]),
    }
    there = {name: head.fitted_on.get(name) for name in (*_FACTS, "parts")} | {"judge": dict(head.made_for)}
    if difference := first_difference(there, json.loads(json.dumps(wanted))):
        name, was, now = difference
        raise InputError(
            f"is a head fitted with another {name}: {brief(was)}, not {brief(now)}",
            source=out,
            remedy="name another folder, or fit it anew with --force",
        )
    return head


def _settings(examples: Examples | StreamSamples, judge: Rella) -> dict[str, Any]:
    data, index = examples.data, examples.histories.vectors
    return {
        "data": data.identity,
        "samples": asdict(examples.settings),
        "index": None if index is None else index.identity,
        "judge": judge.settings(),
        "versions": library_versions(),
    }


def _read(examples: Sequence[Example | StreamExample], judge: Rella, file: FeatureFile, progress: Progress) -> None:
    """Read prompts from where the file ends, in groups."""
    rest = iter(examples[file.done :])
    while group := list(islice(rest, _GROUP)):
        questions = [judge.prompts.asked(example.text) for example in group]
        file.add(np.stack([read_features(hidden, answer.gap) for hidden, answer in judge.reader.states(questions)]))
        progress("reading examples", file.done, len(examples))


def _fit(
    examples: Sequence[Example | StreamExample],
    features: Floats,
    labels: Floats,
    parts: Sequence[str],
    settings: Mapping[str, Any],
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
    cross_validated = {"AUC": _mean_auc(found[best], labels, samples), "LogLoss": losses[best]}
    facts = {name: settings[name] for name in _FACTS}
    rows = {"rows": len(labels), "parts": list(parts), "strength": best, "cross_validated": cross_validated}
    return Head(weights, fitted.offset, settings_for_heads(settings["judge"]), {**facts, **rows})


def _columns(parts: Sequence[str], width: int) -> npt.NDArray[np.int64]:
    half = width // 2
    spans = {"last": range(half), "mean": range(half, 2 * half), "gap": range(2 * half, width)}
    return np.concatenate([np.arange(spans[part].start, spans[part].stop) for part in PARTS if part in parts])


def _folds(labels: Floats, samples: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], ...]]:
    """Yield the rows to fit on and those to judge; rows of one sample are in one fold."""
    warm_scipy()
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    yield from folds.split(np.zeros(len(labels)), labels, samples)


def _mean_auc(chances: Floats, labels: Floats, samples: npt.NDArray[np.int64]) -> float:
    """Return the mean of the folds' AUCs: chances of different fits are not one ranking."""
    found = [
        Ranked(labels[fold], chances[fold]).auc()
        for _, fold in _folds(labels, samples)
        if labels[fold].min() < labels[fold].max()
    ]
    return float(np.mean(found)) if found else 0.5


def _cross_validated(features: Floats, labels: Floats, samples: npt.NDArray[np.int64], strength: float) -> Floats:
    """Return each row's probability by a fit on other folds."""
    result = np.full(len(labels), labels.mean())
    for rest, fold in _folds(labels, samples):
        if labels[rest].min() < labels[rest].max():
            result[fold] = Logistic.fit(features[rest], labels[rest], strength=strength)(features[fold])
    return result
