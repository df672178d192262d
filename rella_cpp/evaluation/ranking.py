"""Ranking: for each user one item that they liked among items never touched, as LLM-TRSR does (2403.13325 §4)."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rella_cpp.cache import Progress, no_progress
from rella_cpp.datasets.dataset import check_drawing
from rella_cpp.errors import InputError
from rella_cpp.evaluation.histories import Histories
from rella_cpp.evaluation.judged import Judge, as_line, judge_together, run_settings
from rella_cpp.evaluation.negatives import Candidates, RankingUsers, TrainingCounts
from rella_cpp.evaluation.ranking_metrics import RANKING_METRICS, ranking_metrics
from rella_cpp.evaluation.runs import GROUP, RANK, Run, RunWriter
from rella_cpp.prompts import Order
from rella_cpp.query import Query
from rella_cpp.records import Behavior, Item, Score, User
from rella_cpp.retrieval import Retrieval, Selection
from rella_cpp.summarization.settings import SummarySettings

if TYPE_CHECKING:
    from rella_cpp.datasets import DataSet

_MOST = 1000


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """What is ranked.

    `limit` users are drawn with `seed` from the split, and `negatives` items for each, the same for every model; the
    first hundred users of a greater limit are those of the smaller. With `summary` prompts show a summary and the
    latest behaviors; `k`, `retrieval` and `order` then do not matter.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    split: str = "test"
    limit: int | None = None
    seed: int = 0
    k: int = 30
    retrieval: Retrieval = "subr"
    order: Order = "time"
    negatives: int = 20
    summary: SummarySettings | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        check_drawing(self.limit, self.seed, "user")
        if not 1 <= self.negatives <= _MOST:
            raise InputError(f"{self.negatives} negatives are wanted", remedy=f"give 1 to {_MOST:,} (--negatives 20)")
        Selection(self.k, self.retrieval, self.order)

    def query(self, history: Sequence[Behavior], items: Sequence[Item], user: User | None) -> Query:
        """Make the query of one user: the behaviors before the item liked, and the candidates."""
        selection = Selection(self.k, self.retrieval, self.order, allow_empty_history=True)
        return Query(history, items, user, selection, self.summary)


def evaluate_ranking(
    data: "DataSet",
    out: str | Path,
    settings: RankingSettings,
    *,
    judge: Judge | None,
    histories: Histories,
    force: bool = False,
    progress: Progress = no_progress,
) -> Run:
    """Let a model rank each user's candidates; the run has one line a candidate.

    The history is what stands before the last item that a user liked. A run with the same settings goes on where it
    stopped.

    Parameters
    ----------
    judge
        The model; None: baselines only. It retrieves itself, as in `Rella.rank`: give it the index of `histories`.
    histories
        Has the vectors of the similarity baseline, if there is an index.
    force
        Start anew over whatever run is there.

    Raises
    ------
    InputError
        The split has no users, one has too few items left for the negatives, `out` holds another run, or a candidate
        cannot be scored.

    """
    users = RankingUsers.of(data)
    drawn = Candidates.draw(data, users, settings.split, settings.limit, settings.seed, settings.negatives)
    count, width = drawn.items.shape
    drawing = {
        "protocol": RANK,
        "split": settings.split,
        "split_by": users.split_by,
        "limit": settings.limit,
        "seed": settings.seed,
        "negatives": settings.negatives,
        "users": count,
        "count": count * width,
    }
    reading = settings.query([], [], None).reading(histories.domain)
    facts = run_settings(data, drawing, reading, judge, histories)
    samples = [drawn.sample(place, column) for place in range(count) for column in range(width)]
    items = [data.item_id(item) for item in drawn.items.ravel().tolist()]
    with closing(RunWriter(Path(out), facts, samples, items=items, group=GROUP * width, force=force)) as writer:
        if not writer.complete:
            work = _Work(data, settings, judge, histories, drawn, TrainingCounts(data, users))
            for start in range(writer.done // width, count, GROUP):
                end = min(start + GROUP, count)
                writer.write(work.lines(range(start, end)))
                progress("evaluating", end, count, work.so_far)
        return writer.finish()


class _Work:
    """The users of one evaluation, turned into lines."""

    def __init__(
        self,
        data: "DataSet",
        settings: RankingSettings,
        judge: Judge | None,
        histories: Histories,
        drawn: Candidates,
        counts: TrainingCounts,
    ) -> None:
        self._data, self._settings, self._judge, self._histories = data, settings, judge, histories
        self._drawn, self._counts = drawn, counts
        self._gains: list[float] = []

    @property
    def so_far(self) -> str:
        """The model's MRR@10 so far, for a progress line; empty without a model."""
        return f"MRR@10 {np.mean(self._gains):.3f}" if self._gains else ""

    def lines(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Return the predictions of users who are judged together."""
        if self._judge is None:
            return [line for place in places for line in self._lines(place, None)]
        queries = dict(self._query(place) for place in places)
        judged = judge_together(self._judge, queries, self._data.folder)
        return [line for place, scores in zip(places, judged, strict=True) for line in self._lines(place, scores)]

    def _query(self, place: int) -> tuple[str, Query]:
        """Return a user's name, for messages, and query."""
        data, drawn = self._data, self._drawn
        user, position = int(drawn.user[place]), int(drawn.position[place])
        items = [data.item(item) for item in drawn.items[place].tolist()]
        query = self._settings.query(data.history(user, position), items, data.user(user))
        return f"user {data.user_id(user)}", query

    def _lines(self, place: int, scores: Sequence[Score] | None) -> list[dict[str, Any]]:
        data, drawn = self._data, self._drawn
        user, position, items = int(drawn.user[place]), int(drawn.position[place]), drawn.items[place]
        rankers = {"popularity": self._counts.of(user, items)}
        if self._histories.vectors is not None:
            rankers["similarity"] = self._histories.mean_cosines(user, position, items)
        lines = []
        for column, item in enumerate(items.tolist()):
            line: dict[str, Any] = {
                "sample": drawn.sample(place, column),
                "user": data.user_id(user),
                "item": data.item_id(item),
                "label": int(column == drawn.positive[place]),
            }
            if scores is not None:
                line |= as_line(scores[column], range(position))
            line["rankers"] = {name: float(values[column]) for name, values in rankers.items()}
            lines.append(line)
        if scores is not None:
            own = np.array([[line.get("head", line["probability"]) for line in lines]])
            found = ranking_metrics(own, drawn.positive[place : place + 1])
            self._gains.append(float(found[0, RANKING_METRICS.index("mrr@10")]))
        return lines
