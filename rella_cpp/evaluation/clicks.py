"""Evaluation: a model and the baselines on the same samples, into a run's folder."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.drawing import check_drawing
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.errors import InputError
from rella_cpp.evaluation.baselines.clicks import Baselines
from rella_cpp.evaluation.cost import CostMeter
from rella_cpp.evaluation.groups import sample_groups
from rella_cpp.evaluation.lines import as_line, rating_features, run_settings
from rella_cpp.evaluation.models import ScoringModel, ask_together, check_layout
from rella_cpp.evaluation.runs import Run, RunWriter
from rella_cpp.metrics.probabilities import Floats, RunningAUC
from rella_cpp.prompts.layout import Layout
from rella_cpp.prompts.streams.text import NOTHING_UNSHOWN, Unshown
from rella_cpp.prompts.yes_no import Order
from rella_cpp.retrieval.samples import Histories
from rella_cpp.retrieval.selection import Retrieval, Selection, Window
from rella_cpp.scoring.calibration import Calibration
from rella_cpp.scoring.query import Query
from rella_cpp.scoring.ratings.statistics import STATISTICS
from rella_cpp.scoring.results import Score
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.summarization.settings import SummarySettings


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What is evaluated.

    `limit` samples are drawn with `seed` from the split, the same for every model and K, and the first hundred of a
    greater limit are those of the smaller; or `limit_users` users are drawn the same way, with all their samples.
    Several `ks` make one run each. With `summary` prompts show a summary of the history and its latest behaviors;
    `retrieval` and `order` then do not matter, and K counts for baselines alone. The `layout` is the model's, the
    `window` a stream's.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    split: str = "test"
    limit: int | None = None
    seed: int = 0
    ks: tuple[int, ...] = (30,)
    retrieval: Retrieval = "subr"
    order: Order = "time"
    summary: SummarySettings | None = None
    layout: Layout = "question"
    window: Window | None = None
    limit_users: int | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        check_drawing(self.limit, self.seed, "sample")
        check_drawing(self.limit_users, self.seed, "user", name="limit_users")
        if self.limit_users is not None and self.limit is not None:
            raise InputError("samples and users are both drawn", remedy="give --limit or --limit-users")
        if not self.ks or len(set(self.ks)) != len(self.ks):
            raise InputError(f"K is {', '.join(map(str, self.ks)) or 'missing'}", remedy="give each value of K once")
        for k in self.ks:
            self.query(k, [], []).shown(self.layout)
        if self.summary is not None and len(self.ks) > 1:
            raise InputError("a summary is read with several K", remedy="give one: it counts for baselines alone")

    def selection(self, k: int) -> Selection:
        """Return which behaviors a sample's prompt shows, for one of the K."""
        return Selection(k, self.retrieval, self.order, allow_empty_history=True, window=self.window)

    def query(self, k: int, history: Sequence[Behavior], items: Sequence[Item], user: User | None = None) -> Query:
        """Make the query of a sample, for one of the K."""
        return Query(history, items, user, self.selection(k), self.summary)

    def reading(self, k: int, domain: Domain) -> dict[str, object]:
        """Return how histories are read for one of the K, as JSON."""
        return self.query(k, [], []).reading(domain, self.layout)


def evaluate(
    histories: Histories,
    out: str | Path,
    settings: EvaluationSettings,
    *,
    judge: ScoringModel | None,
    calibrations: Sequence[Calibration] = (),
    force: bool = False,
    progress: Progress = no_progress,
) -> list[Run]:
    """Evaluate a model on a data set's samples; one run for each K, in the order of `settings.ks`.

    With one K the run is `out` itself, with several `out` holds one folder `kN` for each. Runs with the same settings
    go on where they stopped. Where two K give the same prompt it is read once.

    Parameters
    ----------
    histories
        The data set's; chooses behaviors, over an index if there is one.
    judge
        The model; None: baselines only.
    calibrations
        Each makes calibrated probabilities beside the model's own, under its name (`Calibration.name`).
    force
        Start anew over whatever runs are there.

    Raises
    ------
    InputError
        The split has no samples, the judge has another layout, `out` holds other runs, or a sample cannot be scored.

    """
    names = [calibration.name for calibration in calibrations]
    if len(set(names)) < len(names):
        raise InputError(f"two calibrations are of one kind ({', '.join(names)})", remedy="give one of each kind")
    check_layout(judge, settings.layout)
    for calibration in calibrations:
        calibration.check_data(histories.data.identity)
    if settings.layout == "stream":
        histories.data.check_stream(histories.domain)
    out, rows = Path(out), drawn(histories.data, settings)
    if len(settings.ks) > 1 and (out / "run.json").exists():
        raise InputError("is a run", source=out, remedy="name a folder of its own for a sweep")
    with ExitStack() as stack:
        writers = {}
        for k in settings.ks:
            folder = out if len(settings.ks) == 1 else out / f"k{k}"
            facts = _run_settings(histories, settings, k, len(rows), judge, calibrations)
            groups = _groups(histories.data, rows, settings, k)
            writer = RunWriter(folder, facts, rows.tolist(), groups=groups, force=force)
            writers[k] = stack.enter_context(closing(writer))
        if not all(writer.complete for writer in writers.values()):
            items = histories.data.items.num_rows
            found = [writer.known_ratings(items) for writer in writers.values()]
            known = next(filter(None, found), None)
            baselines = Baselines(histories.data, histories, settings.ks, known=known, progress=progress)
            _Predictions(histories, settings, judge, baselines, rows, calibrations, progress).write(writers)
        return [writer.finish() for writer in writers.values()]


def _run_settings(
    histories: Histories,
    settings: EvaluationSettings,
    k: int,
    count: int,
    judge: ScoringModel | None,
    calibrations: Sequence[Calibration],
) -> dict[str, object]:
    """Return all that the predictions of one K depend on, as JSON; `count` samples were drawn."""
    drawing = {"split": settings.split, "limit": settings.limit, "seed": settings.seed, "count": count}
    if settings.limit_users is not None:
        drawing["limit_users"] = settings.limit_users
    facts = run_settings(histories, drawing, settings.reading(k, histories.domain), judge)
    if settings.summary is not None:
        facts["baselines"] = {"k": k}
    facts["calibrations"] = {calibration.name: calibration.fingerprint for calibration in calibrations}
    return facts


def _groups(data: DataSet, rows: npt.NDArray[np.int64], settings: EvaluationSettings, k: int) -> list[range] | None:
    """Group the samples of one K; None: in the usual groups of eight."""
    return None if settings.summary is not None else sample_groups(data, rows, settings.selection(k), settings.layout)


def drawn(data: DataSet, settings: EvaluationSettings) -> npt.NDArray[np.int64]:
    """Draw the samples to evaluate: their row numbers, int64, ascending; all where more are wanted than there are.

    Raises
    ------
    InputError
        The split has none.

    """
    if settings.limit_users is not None:
        return data.draw_users(settings.split, settings.limit_users, settings.seed)
    return data.draw_sorted(settings.split, settings.limit, settings.seed)


def _start(group: tuple[range, int]) -> int:
    """Return the first place of a group of one K."""
    return group[0].start


class _Predictions:
    """The predictions for the samples of one evaluation, a group at a time."""

    def __init__(
        self,
        histories: Histories,
        settings: EvaluationSettings,
        judge: ScoringModel | None,
        baselines: Baselines,
        rows: npt.NDArray[np.int64],
        calibrations: Sequence[Calibration],
        progress: Progress,
    ) -> None:
        self._data, self._histories, self._settings, self._judge = histories.data, histories, settings, judge
        self._rows, self._calibrations, self._progress = rows, calibrations, progress
        self._ratings = baselines.models()
        self._baselines, self._statistics = baselines.of(rows, progress=progress)
        self._known: dict[tuple[tuple[int, bytes], ...], list[Score]] = {}
        self._seen = RunningAUC()

    def write(self, writers: Mapping[int, RunWriter]) -> None:
        """Write what each K's run still lacks."""
        if self._ratings is not None:
            for writer in writers.values():
                writer.save_ratings(self._ratings)
        meters = {k: CostMeter(writer.folder, self._judge) for k, writer in writers.items()}
        left = [(part, k) for k, writer in writers.items() for part in writer.left]
        try:
            for _, together in groupby(sorted(left, key=_start), _start):
                self._known.clear()  # only groups that begin with one sample may share scores
                for part, k in together:
                    with meters[k].measuring():
                        lines = self._lines(part, k)
                    writers[k].write(lines)
                    self._progress("evaluating", part.stop, len(self._rows), self._seen.text)
        finally:
            for meter in meters.values():
                with suppress(InputError):  # what ended the evaluation is the news
                    meter.save()

    def _lines(self, places: Sequence[int], k: int) -> list[dict[str, Any]]:
        """Return the predictions of samples that are scored together."""
        rows = [int(self._rows[place]) for place in places]
        scores = [{} for _ in rows] if self._judge is None else self._scores(rows, k, self._judge)
        return [self._line(place, k, own) for place, own in zip(places, scores, strict=True)]

    def _line(self, place: int, k: int, score: Mapping[str, Any]) -> dict[str, Any]:
        data, row = self._data, int(self._rows[place])
        samples = data.samples
        line: dict[str, Any] = {
            "sample": row,
            "user": data.user_id(int(samples.user[row])),
            "item": data.item_id(int(samples.item[row])),
            "label": int(samples.label[row]),
        }
        line |= score
        if score and k == self._settings.ks[0]:  # scores of several K are not one ranking
            self._seen.add(line["label"], line.get("head", line["probability"]))
        found: dict[str, Floats] = self._baselines[k]
        line["baselines"] = {name: float(values[place]) for name, values in found.items()}
        if self._statistics is not None:
            line["statistics"] = dict(zip(STATISTICS, map(float, self._statistics[place]), strict=True))
        if self._calibrations:
            line["calibrated"] = {}
            for calibration in self._calibrations:
                gap = line.get("head_logit", line["yes_logit"] - line["no_logit"])
                gap -= line["empty_gap"] if calibration.contrast else 0
                chance = calibration.probability(gap, line.get("levels"), rating_features(line))
                line["calibrated"][calibration.name] = chance
        return line

    def _scores(self, rows: Sequence[int], k: int, judge: ScoringModel) -> list[dict[str, Any]]:
        """Score samples together; not again where all of them were shown the same behaviors for another K.

        Where only some were, all are scored again: last bits may depend on the company, which must be the same after a
        kill.
        """
        found = [self._chosen(row, k) for row in rows]
        chosen = [positions for positions, _ in found]
        key = tuple(
            (row, positions.tobytes() + (b"" if len(positions) <= k and not self._streams else str(k).encode()))
            for row, positions in zip(rows, chosen, strict=True)
        )
        if key not in self._known:
            queries = {f"sample {row}": self._query(row, *each, k) for row, each in zip(rows, found, strict=True)}
            self._known[key] = [score for (score,) in ask_together(judge.judge, queries, self._data.folder)]
        return [as_line(score, positions.tolist()) for score, positions in zip(self._known[key], chosen, strict=True)]

    @property
    def _streams(self) -> bool:
        return self._settings.layout == "stream"

    def _chosen(self, row: int, k: int) -> tuple[npt.NDArray[np.int64], Unshown]:
        """Return the positions of the behaviors to give, and what came before them in a stream.

        All of them are given where they are to be summarized.
        """
        if self._settings.summary is not None:
            return self._histories.others(row), NOTHING_UNSHOWN
        if self._streams:
            return self._histories.stream(row, self._settings.selection(k))
        return self._histories.choose(row, k, self._settings.retrieval), NOTHING_UNSHOWN

    def _query(self, row: int, positions: npt.NDArray[np.int64], earlier: Unshown, k: int) -> Query:
        data, samples = self._data, self._data.samples
        behaviors = data.behaviors(self._histories.start(row) + positions)
        item, user = data.target(row), data.user(int(samples.user[row]))
        return replace(self._settings.query(k, behaviors, [item], user), earlier=earlier)
