"""The figures of a ranking run, and what they say in words."""

from typing import Any

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import InputError
from rella_cpp.evaluation.protocols import CHOOSE, RANK, RankingProtocol
from rella_cpp.evaluation.reports.verdicts import OWN, as_json, few_users, standing, subject
from rella_cpp.evaluation.runs import Run
from rella_cpp.metrics.probabilities import Floats
from rella_cpp.metrics.ranking import RankingBootstrap, chance

_MANY = 0.1  # of the users: so many targets whose order is not known are worth a word


def ranking_figures(run: Run, protocol: RankingProtocol) -> dict[str, Any]:
    """Compute the figures of a run of such a protocol; see `report`.

    Raises
    ------
    InputError
        The lines are not those of one positive and its negatives for each user.

    """
    positive, scores = rankings(run)
    users, metrics, deciding = len(positive), protocol.metrics, protocol.deciding
    boot = RankingBootstrap(positive, scores, metrics)
    own = [name for name in OWN if name in scores]
    others = [name for name in scores if name not in own]
    by_chance = chance(run.width, metrics)
    differences: dict[str, dict[str, dict[str, Any]]] = {
        name: {
            other: {m: as_json(boot.difference(name, other, m), difference=True) for m in metrics} for other in others
        }
        for name in own
    }
    verdicts = []
    for name in own:
        by_others = {other: found[deciding] for other, found in differences[name].items()}
        verdicts += standing(name, by_others, protocol.title)
        area = boot.interval(name, deciding)
        if area.low is not None and area.high is not None and area.low <= by_chance[deciding] <= area.high:
            against = f"{protocol.title} {area.value:.3f}, chance {by_chance[deciding]:.3f}"
            verdicts.append(f"{subject(name)} is not distinguishable from chance ({against}).")
    return {
        "protocol": protocol.name,
        "users": users,
        "candidates": run.width,
        "metrics": {name: {m: as_json(boot.interval(name, m)) for m in metrics} for name in scores},
        "chance": by_chance,
        "differences": differences,
        "verdicts": verdicts,
        "notes": _notes(run, protocol, users, others),
    }


def rankings(run: Run) -> tuple[npt.NDArray[np.int64], dict[str, Floats]]:
    """Return which candidate is each user's positive, int64 (users,), and scores by predictor, (users, candidates).

    Raises
    ------
    InputError
        The lines are not those of one positive and its negatives for each user.

    """
    width, labels = run.width, run.labels
    whole = len(labels) % width == 0
    groups = labels.reshape(-1, width) if whole else np.zeros((1, width))
    names = run.users.reshape(-1, width) if whole else np.zeros((1, width))
    wrong = np.flatnonzero((groups.sum(axis=1) != 1) | (names != names[:, :1]).any(axis=1))
    if len(wrong):
        raise InputError(
            f"lines {wrong[0] * width + 1} to {(wrong[0] + 1) * width} are not one positive and {width - 1} negatives "
            "of one user",
            source=run.folder,
            remedy="evaluate again into another folder, or with --force",
        )
    scores = {name: values.reshape(-1, width) for name, values in run.predictors().items()}
    return groups.argmax(axis=1).astype(np.int64), scores


def _notes(run: Run, protocol: RankingProtocol, users: int, others: list[str]) -> list[str]:
    notes = few_users(users)
    if protocol == RANK and run.settings["samples"].get("split_by") != "users as prepared":
        notes.append(
            "the data is not split by users, so they were split again: what was tuned on its training split "
            "may have seen these users"
        )
    model = (run.settings.get("judge") or {}).get("model") or {}
    if protocol == CHOOSE and (model.get("adapters") or model.get("head")):
        notes.append(
            "each user's last items are left out here, whatever the data's own split: what was tuned on that split "
            "may have seen them, unless its rows are those of rella export delrec"
        )
    tied = run.settings["samples"].get("tied", 0)
    if tied >= _MANY * users:
        notes.append(
            f"{tied:,} of the {users:,} targets have the time of the behavior before them: such stand in the order of "
            "the items' numbers, which a sequential recommender learns, too"
        )
    if "similarity" not in others:
        notes.append("similarity baseline left out: it needs --index")
    return notes
