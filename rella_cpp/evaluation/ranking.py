"""Ranking: for each user one item, liked or simply the next, among items never touched; see `protocols`."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast, get_args

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.averages import item_averages
from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.drawing import check_drawing
from rella_cpp.datasets.last_liked import LastLiked
from rella_cpp.datasets.leave_one_out import LeaveOneOut
from rella_cpp.datasets.negatives import MOST, Candidates, HeldOut
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.errors import InputError
from rella_cpp.evaluation.baselines.popularity import TrainingCounts
from rella_cpp.evaluation.baselines.rankers import Rankers, SequentialRankings, check_ranking
from rella_cpp.evaluation.lines import as_line, run_settings
from rella_cpp.evaluation.models import ChoosingModel, ScoringModel, ask_together, check_layout
from rella_cpp.evaluation.protocols import CHOOSE, PROTOCOLS, RANK
from rella_cpp.evaluation.runs import GROUP, Run, RunWriter
from rella_cpp.metrics.ranking import metric_title, ranking_metrics
from rella_cpp.prompts.layout import Layout
from rella_cpp.prompts.yes_no import Order
from rella_cpp.retrieval.samples import Histories
from rella_cpp.retrieval.selection import Retrieval, Selection, Window
from rella_cpp.scoring.query import By, ChoiceQuery, Query
from rella_cpp.scoring.results import Likelihood, Score
from rella_cpp.storage.journal import groups_of
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.summarization.settings import SummarySettings


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """What is ranked.

    `limit` users are drawn with `seed` from the split, and `negatives` items for each, the same for every model; the
    first hundred users of a greater limit are those of the smaller. With `summary` prompts show a summary and the
    latest behaviors; `k`, `retrieval` and `order` then do not matter. By `likelihood` one prompt shows the latest
    behaviors and lists the candidates as they were drawn; `retrieval` and `order` then do not matter.

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
    protocol: str = RANK.name
    by: By = "yes-no"
    layout: Layout = "question"
    window: Window | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        check_drawing(self.limit, self.seed, "user")
        for name, value, known in (("protocol", self.protocol, tuple(PROTOCOLS)), ("by", self.by, get_args(By))):
            if value not in known:
                raise InputError(f"{name} is {value!r}", remedy=f"one of {', '.join(known)}")
        if self.protocol == CHOOSE.name and not 1 <= self.negatives < MOST:
            finding = f"{self.negatives + 1} candidates are wanted"
            raise InputError(finding, remedy=f"give 2 to {MOST:,} (--candidates 15)")
        if not 1 <= self.negatives <= MOST:
            raise InputError(f"{self.negatives} negatives are wanted", remedy=f"give 1 to {MOST:,} (--negatives 20)")
        if self.by == "likelihood" and self.layout == "stream":
            raise InputError("a choice by likelihood is no stream", remedy="leave out the layout, or judge by yes-no")
        self.scoring([], [], None).shown(self.layout)
        if self.by == "likelihood" and self.summary is not None:
            raise InputError("a choice by likelihood reads no summary", remedy="leave it out, or judge by yes-no")

    @classmethod
    def choosing(cls, *, candidates: int = 15, by: By = "likelihood", **settings: Any) -> Self:
        """Make settings of the protocol `choose`: each user's next item among `candidates`; see the attributes."""
        return cls(negatives=candidates - 1, by=by, protocol=CHOOSE.name, **settings)

    def query(self, history: Sequence[Behavior], items: Sequence[Item], user: User | None) -> Query | ChoiceQuery:
        """Make the query of one user: the behaviors before the target, and the candidates."""
        if self.by == "likelihood":
            return ChoiceQuery(history, items, user, self.k, allow_empty_history=True)
        return self.scoring(history, items, user)

    def scoring(self, history: Sequence[Behavior], items: Sequence[Item], user: User | None) -> Query:
        """Make the query of one user by yes or no."""
        selection = Selection(self.k, self.retrieval, self.order, allow_empty_history=True, window=self.window)
        return Query(history, items, user, selection, self.summary)

    def drawing(self, drawn: Candidates, split_by: str, tied: int) -> dict[str, object]:
        """Return what was drawn, as JSON; `tied` users' targets have the time of what stands before them."""
        count, width = drawn.items.shape
        choosing = self.protocol == CHOOSE.name
        return {
            "protocol": self.protocol,
            "split": self.split,
            "split_by": split_by,
            "limit": self.limit,
            "seed": self.seed,
            **({"candidates": width, "tied": tied} if choosing else {"negatives": self.negatives}),
            "users": count,
            "count": count * width,
        }

    def reading(self, domain: Domain) -> dict[str, object]:
        """Return how histories are read, and in which order candidates are listed, as JSON."""
        if self.by == "likelihood":
            return {**ChoiceQuery([], [], k=self.k).reading(domain), "listed": "as drawn"}
        return self.scoring([], [], None).reading(domain, self.layout)


def evaluate_ranking(
    histories: Histories,
    out: str | Path,
    settings: RankingSettings,
    *,
    judge: ScoringModel | ChoosingModel | None,
    ranking: SequentialRankings | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> Run:
    """Let a model rank each user's candidates; the run has one line a candidate.

    The history is what stands before the last item that a user liked (protocol `rank`), or before the last item, for
    validation the last but one (`choose`). A run with the same settings goes on where it stopped.

    Parameters
    ----------
    histories
        The data set's; have the vectors of the similarity baseline, if there is an index.
    judge
        The model, which judges as the settings say; None: baselines only. It retrieves itself, as in `Rella.rank`: give
        it the index of `histories`.
    ranking
        Another recommender's lists, for the baseline `sequential`.
    force
        Start anew over whatever run is there.

    Raises
    ------
    InputError
        The split has no users, one has too few items left for the negatives, or no list in `ranking`, `out` holds
        another run, or a candidate cannot be scored.

    """
    data = histories.data
    check_layout(judge, settings.layout)
    if settings.layout == "stream":
        data.check_stream(histories.domain)
    users: HeldOut = LeaveOneOut(data) if settings.protocol == CHOOSE.name else LastLiked.of(data)
    drawn = Candidates.draw(data, users, settings.split, settings.limit, settings.seed, settings.negatives)
    count, width = drawn.items.shape
    drawing = settings.drawing(drawn, users.split_by, drawn.tied(data))
    facts = run_settings(histories, drawing, settings.reading(histories.domain), judge)
    if ranking is not None:
        check_ranking(ranking, data, drawn)
        facts["ranking"] = {"name": ranking.name, "fingerprint": ranking.fingerprint}
    samples = [drawn.sample(place, column) for place in range(count) for column in range(width)]
    items = [data.item_id(item) for item in drawn.items.ravel().tolist()]
    groups = [range(part.start * width, part.stop * width) for part in groups_of(count, GROUP)]
    with closing(RunWriter(Path(out), facts, samples, items=items, groups=groups, force=force)) as writer:
        if not writer.complete:
            rankers = Rankers(TrainingCounts(data, users.trains()), histories, ranking)
            averages = item_averages(data, users.trains()) if settings.layout == "stream" else None
            predictions = _Predictions(data, settings, judge, drawn, rankers, averages)
            for group in writer.left:
                writer.write(predictions.lines(range(group.start // width, group.stop // width)))
                progress("evaluating", group.stop // width, count, predictions.so_far)
        return writer.finish()


class _Predictions:
    """The predictions for the users of one evaluation, some users at a time."""

    def __init__(
        self,
        data: DataSet,
        settings: RankingSettings,
        judge: ScoringModel | ChoosingModel | None,
        drawn: Candidates,
        rankers: Rankers,
        averages: npt.NDArray[np.float32] | None,
    ) -> None:
        self._data, self._settings, self._judge, self._averages = data, settings, judge, averages
        self._drawn, self._rankers = drawn, rankers
        self._metric = PROTOCOLS[settings.protocol].so_far
        self._gains: list[float] = []

    @property
    def so_far(self) -> str:
        """A metric of the model's so far, for a progress line; empty without a model."""
        return f"{metric_title(self._metric)} {np.mean(self._gains):.3f}" if self._gains else ""

    def lines(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Return the predictions of users whose candidates are scored together."""
        if self._judge is None:
            return [line for place in places for line in self._lines(place, None)]
        queries: dict[str, Any] = dict(self._query(place) for place in places)
        chooses = self._settings.by == "likelihood"
        ask = cast(ChoosingModel, self._judge).likelihoods if chooses else cast(ScoringModel, self._judge).judge
        found: list[list[Any]] = ask_together(ask, queries, self._data.folder)
        return [line for place, scores in zip(places, found, strict=True) for line in self._lines(place, scores)]

    def _query(self, place: int) -> tuple[str, Query | ChoiceQuery]:
        """Return a user's name, for messages, and query."""
        data, drawn = self._data, self._drawn
        user, position = int(drawn.user[place]), int(drawn.position[place])
        items = [data.candidate(item, self._averages) for item in drawn.items[place].tolist()]
        query = self._settings.query(data.history(user, position), items, data.user(user))
        return f"user {data.user_id(user)}", query

    def _lines(self, place: int, scores: Sequence[Score | Likelihood] | None) -> list[dict[str, Any]]:
        data, drawn = self._data, self._drawn
        user, position, items = int(drawn.user[place]), int(drawn.position[place]), drawn.items[place]
        rankers = self._rankers.of(user, position, items)
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
            key = next(name for name in ("log_probability", "head", "probability") if name in lines[0])
            own = np.array([[line[key] for line in lines]])
            (gain,) = ranking_metrics(own, drawn.positive[place : place + 1], [self._metric])[0]
            self._gains.append(float(gain))
        return lines
