"""Preference summaries of a data set's samples, written many at a time into a folder.

See `rella_cpp.storage.journal` for how they are written, and what a kill leaves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.drawing import check_drawing
from rella_cpp.datasets.layout import SPLITS
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior
from rella_cpp.errors import InputError
from rella_cpp.prompts.summary import words_of
from rella_cpp.storage.journal import Journal, groups_of
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.storage.versions import library_versions
from rella_cpp.summarization.settings import SummarySettings
from rella_cpp.summarization.summaries import LAYOUT, SampleSummary, Summaries, sample_key
from rella_cpp.summarization.summary import PreferenceSummary

GROUP = 16
"""Samples summarized in one batch: the unit of resume."""

ALL = "all"
"""Every split that has samples."""


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """Which samples' histories are summarized, and how.

    `limit` samples are drawn with `seed` from each split, those that an evaluation draws; `split` may be `all`.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    split: str = ALL
    limit: int | None = None
    seed: int = 0
    summary: SummarySettings = SummarySettings()

    def __post_init__(self) -> None:
        """Check every value."""
        if self.split not in (*SPLITS, ALL):
            raise InputError(f"split is {self.split!r}", remedy=f"one of {', '.join((*SPLITS, ALL))}")
        check_drawing(self.limit, self.seed, "sample")

    def rows(self, data: DataSet) -> npt.NDArray[np.int64]:
        """Draw the samples: their row numbers, int64, ascending.

        Raises
        ------
        InputError
            The split has none.

        """
        splits = [name for name in SPLITS if len(data.samples.rows(name))] if self.split == ALL else [self.split]
        drawn = [data.draw_sorted(split, self.limit, self.seed) for split in splits]
        if not drawn:
            raise InputError("has no samples", source=data.folder, remedy="prepare a data set with more behaviors")
        return np.sort(np.concatenate(drawn))


class Author(Protocol):
    """Writes summaries; `Rella.summarizer` is one."""

    domain: Domain

    def summaries(
        self,
        histories: Sequence[Sequence[Behavior]],
        settings: SummarySettings,
        *,
        together: bool = False,
        progress: Progress = no_progress,
    ) -> list[PreferenceSummary]:
        """Summarize checked histories, the oldest behavior first."""

    def identity(self) -> Mapping[str, object]:
        """Return all that texts depend on besides the histories and the settings, as JSON."""


@dataclass(frozen=True, slots=True)
class WrittenSummaries:
    """Summaries of a data set.

    Of the texts asked for this time, `generated` are new; `reused` were in the cache, or written for another sample.
    """

    summaries: Summaries
    generated: int
    reused: int


def write_summaries(
    data: DataSet,
    out: str | Path,
    settings: CollectionSettings,
    *,
    author: Author,
    force: bool = False,
    progress: Progress = no_progress,
) -> WrittenSummaries:
    """Summarize the histories of a data set's samples into a folder; with the same settings it goes on there.

    A sample's history is what stands before its target, the target itself left out.

    Parameters
    ----------
    author
        Who writes: `Rella.summarizer`.
    force
        Start anew over whatever summaries are there.

    Raises
    ------
    InputError
        The domain has no words for summaries, there are no samples, `out` holds other summaries or something else, or
        a behavior does not fit the domain.
    ContextError
        A block does not fit the context.

    """
    words_of(author.domain)
    rows = settings.rows(data).tolist()
    generated = reused = 0
    keys = [sample_key(data, row) for row in rows]
    facts, groups = _facts(data, settings, len(rows), author), groups_of(len(rows), GROUP)
    with Journal(Path(out), LAYOUT, facts, keys, groups=groups, force=force) as log:
        for group in log.left:
            told = _within(progress, group, len(rows))
            lines = _summarized(data, rows[group.start : group.stop], settings.summary, author, told)
            log.write([line.as_line() for line in lines])
            progress("summarising", group.stop, len(rows))
            generated += sum(line.summary.generated for line in lines)
            reused += sum(line.summary.texts - line.summary.generated for line in lines)
        log.publish()
    return WrittenSummaries(Summaries.open(out), generated, reused)


def _facts(data: DataSet, settings: CollectionSettings, count: int, author: Author) -> dict[str, object]:
    return {
        "format": 1,
        "data": data.identity,
        "samples": {"split": settings.split, "limit": settings.limit, "seed": settings.seed, "count": count},
        "summary": settings.summary.facts(author.domain),
        "author": dict(author.identity()),
        "versions": library_versions(),
    }


def _within(progress: Progress, group: range, total: int) -> Progress:
    """Return what tells of a group's texts as of samples: a bar over groups alone would stand still for long."""

    def tell(task: str, done: int, texts: int, _note: str = "") -> None:
        progress(task, group.start + len(group) * done // max(1, texts), total)

    return tell


def _summarized(
    data: DataSet, rows: Sequence[int], settings: SummarySettings, author: Author, progress: Progress
) -> list[SampleSummary]:
    """Summarize some samples together."""
    samples, starts = data.samples, data.interactions.starts
    positions = [data.others(row) for row in rows]
    histories = []
    for row, own in zip(rows, positions, strict=True):
        histories.append(data.behaviors(int(starts[samples.user[row]]) + own))
        for behavior in histories[-1]:
            try:
                author.domain.check_behavior(behavior)
            except InputError as error:
                raise error.located(data.folder, f"sample {row}") from None
    try:
        found = author.summaries(histories, settings, together=True, progress=progress)
    except InputError as error:
        place = ", ".join(part for part in (f"samples {rows[0]} to {rows[-1]}", error.place) if part)
        raise type(error)(error.finding, source=data.folder, place=place, remedy=error.remedy) from None
    return [
        SampleSummary(
            row,
            SPLITS[int(samples.split[row])],
            data.user_id(int(samples.user[row])),
            data.item_id(int(samples.item[row])),
            summary.at(own.tolist()),
        )
        for row, own, summary in zip(rows, positions, found, strict=True)
    ]
