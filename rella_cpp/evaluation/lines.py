"""What evaluations share: the model that scores, and how its scores and the settings stand in a run's files."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rella_cpp.evaluation.models import Model
from rella_cpp.evaluation.runs import FORMAT
from rella_cpp.retrieval.samples import Histories
from rella_cpp.scoring.ratings.models import FITTED
from rella_cpp.scoring.results import Likelihood, Score
from rella_cpp.storage.versions import library_versions


def as_line(score: Score | Likelihood, positions: Sequence[int]) -> dict[str, Any]:
    """Return a score as a part of a prediction's line; `positions` are those of the behaviors that were given."""
    if isinstance(score, Likelihood):
        names, extras = ("log_probability", "per_token", "tokens", "share"), dict[str, object]()
    else:
        names, extras = ("probability", "yes_logit", "no_logit", "answer_mass"), score.extras()
    return {
        **{name: getattr(score, name) for name in names},
        "prompt_tokens": score.prompt_tokens,
        "used": [positions[place] for place in score.used],
        "dropped": score.dropped,
        **extras,
    }


def rating_features(line: Mapping[str, Any]) -> dict[str, float] | None:
    """Return what ratings say of a prediction's sample, as `RatingModels.features` does; None where nothing is said."""
    if "statistics" not in line:
        return None
    chances = {name: line["baselines"][name] for name in FITTED if name in line.get("baselines", {})}
    return {**line["statistics"], **{name: log_odds(chance) for name, chance in chances.items()}}


def log_odds(chance: float) -> float:
    """Return the log odds of a probability; its ends are kept finite."""
    chance = min(max(chance, 1e-15), 1 - 1e-15)
    return math.log(chance / (1 - chance))


def run_settings(
    histories: Histories,
    samples: Mapping[str, object],
    reading: Mapping[str, object],
    judge: Model | None,
) -> dict[str, object]:
    """Return all that a run's predictions depend on, as JSON."""
    data, index = histories.data, histories.vectors
    return {
        "format": FORMAT,
        "data": data.identity,
        "samples": dict(samples),
        "reading": dict(reading),
        "index": None if index is None else index.identity,
        "judge": None if judge is None else dict(judge.settings()),
        "versions": library_versions(),
    }
