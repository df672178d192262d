"""Scores of targets, yes or no for each (ReLLa): many users at once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rella_cpp.domains.domain import flatten
from rella_cpp.domains.inputs import ALLOW_EMPTY, take_history, take_items, take_user
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.stray_fields import warn_of_mappings
from rella_cpp.engine.engine import Engine
from rella_cpp.errors import InputError
from rella_cpp.prompts.builder import PromptBuilder
from rella_cpp.prompts.question import Question
from rella_cpp.prompts.streams.text import Unshown, write_stream
from rella_cpp.prompts.writers import QuestionWriter, StreamWriter, YesNoWriter
from rella_cpp.prompts.yes_no import Preference, write_prompt
from rella_cpp.retrieval.history import HistoryRows
from rella_cpp.retrieval.ordering import share_rows
from rella_cpp.retrieval.selection import Shown
from rella_cpp.retrieval.vectors import ItemVectors
from rella_cpp.scoring.answers import Answer
from rella_cpp.scoring.fitting import FittedPrompt, PromptFitter
from rella_cpp.scoring.query import Query
from rella_cpp.scoring.reader import LogitReader
from rella_cpp.scoring.results import Score
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.summarization.settings import SummarySettings
from rella_cpp.summarization.summarizer import Summarizer
from rella_cpp.summarization.summary import PreferenceSummary

if TYPE_CHECKING:  # most scores need none
    from rella_cpp.scoring.calibrator import Calibrator

logger = logging.getLogger("rella_cpp")


@dataclass(slots=True)
class _Case:
    """A query, checked: its history's rows, what calibrates, the summary that each target's prompt shows, if any."""

    query: Query
    shown: Shown
    user: User
    items: Sequence[Item]
    rows: HistoryRows
    calibrator: "Calibrator | None"
    summaries: Sequence[PreferenceSummary | None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query whose prompts are written: one a target, and what wrote them."""

    case: _Case
    writer: QuestionWriter
    fitted: Sequence[FittedPrompt[Question]]
    empty_gaps: Sequence[float | None]

    def rows(self, target: int) -> list[int]:
        """Return the history's rows in a target's prompt, in its order."""
        row_of = {place: row for row, place in enumerate(self.case.rows.places)}
        return [row_of[place] for place in self.fitted[target].used]


class Scorer:
    """Scores targets with one model in one domain's words.

    Parameters
    ----------
    engine, prompts, vectors, reader, summarizer
        Its parts; the domain is that of the prompts.

    Attributes
    ----------
    contrast
        Whether scores also say what the same target gets with no history.
    calibrator
        Adds calibrated probabilities, if there is one.
    progress
        Called with a task's name, what is done and the total.
    tuned_on_choices
        Names of what was tuned on choices and takes part all the same; said once.
    tuned_on_averages
        Names of adapters whose lines all had averages; said once where some have none.

    """

    def __init__(
        self,
        engine: Engine,
        prompts: PromptBuilder,
        vectors: ItemVectors,
        reader: LogitReader,
        summarizer: Summarizer,
    ) -> None:
        self._engine, self._domain, self._prompts = engine, prompts.domain, prompts
        self._vectors, self._reader, self._summarizer = vectors, reader, summarizer
        self.contrast = False
        self.calibrator: Calibrator | None = None
        self.progress: Progress = no_progress
        self.tuned_on_choices: tuple[str, ...] = ()
        self.tuned_on_averages: tuple[str, ...] = ()

    def settings(self) -> dict[str, object]:
        """Return all that scores depend on besides the request, as JSON."""
        return {
            "model": self._reader.model.as_dict(),
            "domain": {"name": self._domain.name, "fingerprint": self._prompts.wording},
            **({} if self._prompts.layout == "question" else {"layout": self._prompts.layout}),
            "chat_format": self._prompts.chat_format,
            "contrast": self.contrast,
            "ctx": self._engine.n_ctx,
            "engine": self._vectors.identity.words,
            "exact": self._engine.settings.exact,
        }

    def score(self, queries: Sequence[Query], *, keep: bool = False) -> list[list[Score]]:
        """Score the targets of queries; one list a query, one score a target, in input order.

        What prompts share is decoded once. See `Rella.rank`.

        Parameters
        ----------
        keep
            Let the next call go on from what all prompts begin with.

        """
        prepared = self.prepare(queries)
        answers = self.read([prompt.question for own in prepared for prompt in own.fitted], keep=keep)
        return self.scores(prepared, answers)

    def prepare(self, queries: Sequence[Query]) -> list[Prepared]:
        """Check queries, choose and order what their prompts show, and write them."""
        if self.tuned_on_choices:
            names, self.tuned_on_choices = ", ".join(self.tuned_on_choices), ()
            logger.warning("%s: tuned to choose among candidates (--by likelihood), and asked for yes or no", names)
        cases = [self._case(query) for query in queries]
        if self.tuned_on_averages and not all(map(self._shows_averages, cases)):
            names, self.tuned_on_averages = ", ".join(self.tuned_on_averages), ()
            logger.warning(
                "%s: tuned on items with their average, and here are some without: it may judge worse", names
            )
        if self._prompts.layout == "stream" and any(map(self._shows_some_averages, cases)):
            logger.warning("some items have an average and others none: a stream judges these otherwise than those")
        for case in cases:
            if case.query.summary is not None:
                PromptFitter(
                    case.rows, self._writer(case)
                )  # refuses what does not fit, before anything is written for nothing
        self._summarize(cases)
        writers = [self._writer(case) for case in cases]
        fitted = _fit(
            cases, [PromptFitter(*parts) for parts in zip([case.rows for case in cases], writers, strict=True)]
        )
        gaps = iter(self._empty_gaps(cases))
        empty = [[next(gaps) for _ in case.items] for case in cases]
        return [Prepared(*parts) for parts in zip(cases, writers, fitted, empty, strict=True)]

    def read(self, questions: Sequence[Question], *, keep: bool = False) -> list[Answer]:
        """Read prompts, and count what is read; what they share is decoded once."""
        with self._reader.counting():
            return self._reader.answers(
                questions, keep=keep, progress=lambda done: self.progress("scoring", done, len(questions))
            )

    def scores(self, prepared: Sequence[Prepared], answers: Sequence[Answer]) -> list[list[Score]]:
        """Make scores of the answers to prompts, in their order: one list a query."""
        cases = [own.case for own in prepared]
        prompts = [prompt for own in prepared for prompt in own.fitted]
        gaps = [gap for own in prepared for gap in own.empty_gaps]
        scores = iter([self._score(*parts) for parts in zip(prompts, gaps, answers, strict=True)])
        results = [[self._finished(next(scores), case, summary) for summary in case.summaries] for case in cases]
        if self.calibrator is not None:
            own = [case for case in cases if case.calibrator is not None]
            past = [behavior for case in own for behavior in case.rows.behaviors]
            self.calibrator.tell_found([item for case in own for item in case.items], past)
        return results

    def _case(self, query: Query) -> _Case:
        """Check a query."""
        shown, domain = query.shown(self._prompts.layout), self._domain
        behaviors = take_history(query.history, domain, allow_empty=query.selection.allow_empty_history)
        items, user = take_items(query.items, domain), take_user(query.user, domain)
        if shown.window is not None and not query.selection.allow_empty_history:
            _check_rated(behaviors)
        warn_of_mappings(query.history, query.items, query.user, domain)
        if self._reader.head is not None:
            self._reader.head.check_reading(shown, contrast=self.contrast, summary=query.summary is not None)
        calibrator = self.calibrator
        if calibrator is not None and not calibrator.takes(
            self.settings(), query.reading(domain, self._prompts.layout)
        ):
            calibrator = None
        targets, earlier = [[item] for item in items], query.earlier.count
        rows = HistoryRows(behaviors, targets, shown, domain.identity, self._vectors, earlier)
        return _Case(query, shown, user, items, rows, calibrator, [None] * len(items))

    def _shows_averages(self, case: _Case) -> bool:
        """Tell whether all items have averages, so that each line shows one."""
        records: list[Item | Behavior] = [*case.rows.behaviors, *case.items]
        return all(self._domain.average_of(record) is not None for record in records)

    def _shows_some_averages(self, case: _Case) -> bool:
        """Tell whether some of the targets have averages, and some have none."""
        return len({self._domain.average_of(item) is None for item in case.items}) > 1

    def _writer(self, case: _Case) -> QuestionWriter:
        if self._prompts.layout == "stream":
            rated = [_rated(case, target) for target in range(len(case.items))]
            return StreamWriter(self._prompts, case.user, case.items, rated)
        preferences = [self._preference(case.query, summary) for summary in case.summaries]
        return YesNoWriter(self._prompts, case.user, case.items, case.shown.order, preferences)

    def _preference(self, query: Query, summary: PreferenceSummary | None) -> Preference | None:
        """Return what a prompt says of the person; None where histories are read without a summary."""
        if query.preference is not None:
            return Preference(flatten(query.preference), self._summarizer.shortener(query.summary or SummarySettings()))
        if query.summary is None:
            return None
        return Preference(None if summary is None else summary.text, self._summarizer.shortener(query.summary))

    def _summarize(self, cases: Sequence[_Case]) -> None:
        """Summarize histories, those of several queries together: for each target, without the target itself."""
        for settings in {case.query.summary: None for case in cases if case.query.summary is not None}:
            own = [case for case in cases if case.query.summary == settings]
            rows = [[tuple(case.rows.others(target)) for target in range(len(case.items))] for case in own]
            wanted = dict.fromkeys((number, each) for number, targets in enumerate(rows) for each in targets)
            histories = [[own[number].rows.behaviors[row] for row in each] for number, each in wanted]
            found = self._summarizer.summaries(histories, settings, together=len(cases) > 1, progress=self.progress)
            known = dict(zip(wanted, found, strict=True))
            for number, (case, targets) in enumerate(zip(own, rows, strict=True)):
                places = case.rows.places
                case.summaries = [known[number, each].at([places[row] for row in each]) for each in targets]

    def _empty_gaps(self, cases: Sequence[_Case]) -> Sequence[float | None]:
        """Return for each target the gap that it gets with no history and no profile; None without contrast."""
        if not self.contrast:
            return [None for case in cases for _ in case.items]
        if self._prompts.layout == "stream":
            streams = [write_stream(self._domain, User(), [], item) for case in cases for item in case.items]
            return self._reader.known_gaps([self._prompts.stream(stream) for stream in streams])
        texts = [
            write_prompt(self._domain, User(), [], item, preference=self._preference(case.query, None))
            for case in cases
            for item in case.items
        ]
        return self._reader.known_gaps([self._prompts.question(text) for text in texts])

    def _score(self, fitted: FittedPrompt[Question], gap: float | None, answer: Answer) -> Score:
        return Score(
            item=fitted.item,
            probability=answer.probability,
            yes_logit=answer.yes_logit,
            no_logit=answer.no_logit,
            answer_mass=answer.answer_mass,
            prompt_tokens=len(fitted.question),
            used=fitted.used,
            dropped=fitted.dropped,
            model=self._reader.model,
            excluded=fitted.excluded,
            prompt=fitted.question.text,
            empty_gap=gap,
            head_logit=answer.head_logit,
            levels=answer.levels,
            unrated=fitted.unrated,
        )

    def _finished(self, score: Score, case: _Case, summary: PreferenceSummary | None) -> Score:
        """Add the summary that was read, and the calibrated probability."""
        score = replace(score, summary=summary)
        return score if case.calibrator is None else case.calibrator.calibrated(score, case.rows.behaviors)


def _fit(cases: Sequence[_Case], fitters: Sequence[PromptFitter[Question]]) -> list[list[FittedPrompt[Question]]]:
    """Write every case's prompts; those of one user in the order `shared` are ordered together."""
    same_user: dict[str, list[int]] = {}
    for number, case in enumerate(cases):
        if case.shown.order == "shared":
            same_user.setdefault(repr(case.user), []).append(number)
    orders: dict[int, list[list[int]]] = {}
    for numbers in same_user.values():
        orders.update(zip(numbers, share_rows([cases[number].rows for number in numbers]), strict=True))
    return [fitter.fit(orders.get(number)) for number, fitter in enumerate(fitters)]


def _check_rated(behaviors: Sequence[tuple[int, Behavior]]) -> None:
    """Refuse a history of which a stream shows nothing: it is as good as empty."""
    if all(behavior.rating is None for _, behavior in behaviors):
        remedy = f"give ratings, take --layout question, or {ALLOW_EMPTY}"
        raise InputError("no behavior of the history has a rating", remedy=remedy)


def _rated(case: _Case, target: int) -> Unshown:
    """Count a user's rated behaviors that are not the target, and sum their ratings."""
    ratings = [case.rows.behaviors[row].rating or 0.0 for row in case.rows.lines(target)]
    earlier = case.query.earlier
    return Unshown(earlier.count + len(ratings), earlier.total + sum(ratings))
