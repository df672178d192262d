"""A judge of ten lines, and an evaluation with it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rella_cpp import (
    Behavior,
    DataSet,
    EvaluationSettings,
    Histories,
    Item,
    ItemIndex,
    ModelIdentity,
    Query,
    Run,
    Score,
    evaluate,
    load_domain,
)

MOVIES = load_domain("movies")


class Killed(BaseException):
    pass


class Mean:
    """Judges by the mean of the ratings it is shown; counts its calls and can be killed."""

    def __init__(self, stop_after: int = 10**6) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.stop_after = stop_after

    @property
    def judged_tokens(self) -> tuple[int, int]:
        return 7 * len(self.calls), 5 * len(self.calls)

    def judge(self, queries: Sequence[Query]) -> list[list[Score]]:
        return [[self.score(query.history, Item.of(item)) for item in query.items] for query in queries]

    def score(self, history: Sequence[Behavior | Mapping[str, object]], item: Item) -> Score:
        if len(self.calls) == self.stop_after:
            raise Killed
        ratings = [Behavior.of(behavior).rating or 0 for behavior in history]
        self.calls.append(tuple(int(rating) for rating in ratings))
        mean = float(np.mean(ratings)) if ratings else 2.5
        model = ModelIdentity("mean", "f")
        return Score(item, mean / 5, mean, 2.5, 0.9, 7, tuple(range(len(ratings))), 0, model)

    def settings(self) -> Mapping[str, object]:
        return {"model": {"name": "mean", "fingerprint": "f"}, "domain": {"fingerprint": "d"}, "chat_format": "none"}


def run(
    data: DataSet, out: Path, judge: Any, index: ItemIndex | None = None, force: bool = False, **settings: Any
) -> list[Run]:
    chosen = EvaluationSettings(**{"split": "train", "limit": 60, "ks": (5,), "retrieval": "recent", **settings})
    return evaluate(Histories(data, index, MOVIES), out, chosen, judge=judge, force=force)
