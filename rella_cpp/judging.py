"""Judging: from a history and targets to scores, many users at once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rella_cpp.answering import Answerer
from rella_cpp.calibrating import Calibrator
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.inputs import take_history, take_items, take_user
from rella_cpp.domains.records import Behavior, Item, PreferenceSummary, Score, User
from rella_cpp.domains.stray_fields import warn_of_mappings
from rella_cpp.engine.engine import Engine
from rella_cpp.prompts.builder import Asker
from rella_cpp.prompts.lengths import longest_field
from rella_cpp.prompts.question import Question
from rella_cpp.prompts.yes_no import Preference, write_prompt
from rella_cpp.query import Query
from rella_cpp.reading import Choice, Reading
from rella_cpp.retrieval.ordering import share
from rella_cpp.retrieval.vectors import ItemVectors
from rella_cpp.scoring import Answer
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.summarization.summarizer import Summarizer

logger = logging.getLogger("rella_cpp")


@dataclass(slots=True)
class _Case:
    """A query, checked: what is read for it, and what each target's prompt says of the person, if anything."""

    query: Query
    user: User
    items: Sequence[Item]
    reading: Reading[Question]
    summaries: Sequence[PreferenceSummary | None]


class Judge:
    """Scores targets with one model in one domain's words.

    Parameters
    ----------
    engine, domain, asker, vectors, answerer, summarizer
        Its parts.

    Attributes
    ----------
    contrast
        Whether scores also say what the same target gets with no history.
    calibrator
        Adds calibrated probabilities, if there is one.
    progress
        Called with a task's name, what is done and the total.
    choosers
        Names of what was tuned on choices and takes part all the same; said once.

    """

    def __init__(
        self,
        engine: Engine,
        domain: Domain,
        asker: Asker,
        vectors: ItemVectors,
        answerer: Answerer,
        summarizer: Summarizer,
    ) -> None:
        self._engine, self._domain, self._asker = engine, domain, asker
        self._vectors, self._answerer, self._summarizer = vectors, answerer, summarizer
        self.contrast = False
        self.calibrator: Calibrator | None = None
        self.progress: Progress = no_progress
        self.choosers: tuple[str, ...] = ()

    def settings(self) -> dict[str, object]:
        """Return all that scores depend on besides the request, as JSON."""
        return {
            "model": self._answerer.model.as_dict(),
            "domain": {"name": self._domain.name, "fingerprint": self._domain.fingerprint},
            "chat_format": self._asker.frame.name,
            "contrast": self.contrast,
            "ctx": self._engine.n_ctx,
            "engine": self._vectors.engine_words,
            "exact": self._engine.settings.exact,
        }

    def judge(self, queries: Sequence[Query], *, keep: bool = False) -> list[list[Score]]:
        """Score the targets of queries; one list a query, one score a target, in input order.

        What prompts share is decoded once. See `Rella.rank`.

        Parameters
        ----------
        keep
            Let the next call go on from what all prompts begin with.

        """
        if self.choosers:
            names, self.choosers = ", ".join(self.choosers), ()
            logger.warning("%s: tuned to choose among candidates (--by likelihood), and asked for yes or no", names)
        cases = [self._case(query) for query in queries]
        for case in cases:
            if case.query.summary is not None:
                case.reading.check()  # before anything is written for nothing
        self._summarise(cases)
        choices = _choices(cases)
        asked = [choice for chosen in choices for choice in chosen]
        gaps = self._empty_gaps(cases, choices)
        with self._answerer.counting():
            answers = self._answerer.answers(
                [choice.question for choice in asked],
                keep=keep,
                progress=lambda done: self.progress("scoring", done, len(asked)),
            )
        scores = iter([self._score(*parts) for parts in zip(asked, gaps, answers, strict=True)])
        results = [[self._finished(next(scores), case, summary) for summary in case.summaries] for case in cases]
        if self.calibrator is not None:
            self.calibrator.warn_of_unknown([choice.item for choice in asked])
        return results

    def _case(self, query: Query) -> _Case:
        """Check a query, and say what to read for it."""
        shown, domain = query.shown, self._domain
        behaviors = take_history(query.history, domain, allow_empty=query.selection.allow_empty_history)
        targets, person = take_items(query.items, domain), take_user(query.user, domain)
        warn_of_mappings(query.history, query.items, query.user, domain)
        if self._answerer.head is not None:
            self._answerer.head.check_reading(
                shown.k, shown.order, contrast=self.contrast, summary=query.summary is not None
            )
        if self.calibrator is not None:
            self.calibrator.check(self.settings(), query.reading(domain))
        reading = Reading(
            behaviors,
            targets,
            shown,
            ask=lambda behaviors, target: self._ask(case, behaviors, target),
            embed=self._vectors,
            identity=domain.identity,
            n_ctx=self._engine.n_ctx,
            told=lambda item, tokens: longest_field(domain, item, tokens, self._engine.encode),
        )
        case = _Case(query, person, targets, reading, [None] * len(targets))
        return case

    def _ask(self, case: _Case, behaviors: Sequence[Behavior], target: int) -> Question:
        preference = self._preference(case.query, case.summaries[target])
        order = case.query.shown.order
        return self._asker.ask(write_prompt(self._domain, case.user, behaviors, case.items[target], order, preference))

    def _preference(self, query: Query, summary: PreferenceSummary | None) -> Preference | None:
        """Return what a prompt says of the person; None where histories are read without a summary."""
        if query.summary is None:
            return None
        return Preference(None if summary is None else summary.text, self._summarizer.shortener(query.summary))

    def _summarise(self, cases: Sequence[_Case]) -> None:
        """Summarise histories, those of several queries together: for each target, without the target itself."""
        for settings in {case.query.summary: None for case in cases if case.query.summary is not None}:
            own = [case for case in cases if case.query.summary == settings]
            rows = [[tuple(case.reading.others(target)) for target in range(len(case.items))] for case in own]
            wanted = dict.fromkeys((number, each) for number, targets in enumerate(rows) for each in targets)
            histories = [[own[number].reading.behaviors[row] for row in each] for number, each in wanted]
            found = self._summarizer.summaries(histories, settings, together=len(cases) > 1, progress=self.progress)
            known = dict(zip(wanted, found, strict=True))
            for number, (case, targets) in enumerate(zip(own, rows, strict=True)):
                places = case.reading.places
                case.summaries = [known[number, each].at([places[row] for row in each]) for each in targets]

    def _empty_gaps(
        self, cases: Sequence[_Case], choices: Sequence[Sequence[Choice[Question]]]
    ) -> Sequence[float | None]:
        if not self.contrast:
            return [None for chosen in choices for _ in chosen]
        texts = [
            write_prompt(self._domain, User(), [], choice.item, preference=self._preference(case.query, None))
            for case, chosen in zip(cases, choices, strict=True)
            for choice in chosen
        ]
        return self._answerer.known_gaps([self._asker.ask(text) for text in texts])

    def _score(self, choice: Choice[Question], gap: float | None, answer: Answer) -> Score:
        return Score(
            item=choice.item,
            probability=answer.probability,
            yes_logit=answer.yes_logit,
            no_logit=answer.no_logit,
            answer_mass=answer.answer_mass,
            prompt_tokens=len(choice.question),
            used=choice.used,
            dropped=choice.dropped,
            model=self._answerer.model,
            excluded=choice.excluded,
            prompt=choice.question.text,
            empty_gap=gap,
            head_logit=answer.head_logit,
        )

    def _finished(self, score: Score, case: _Case, summary: PreferenceSummary | None) -> Score:
        """Add the summary that was read, and the calibrated probability."""
        score = replace(score, summary=summary)
        return score if self.calibrator is None else self.calibrator.calibrated(score, case.reading.behaviors)


def _choices(cases: Sequence[_Case]) -> list[list[Choice[Question]]]:
    """Choose what to show; prompts of one user in the order `shared` are ordered together."""
    shared: dict[str, list[int]] = {}
    for number, case in enumerate(cases):
        if case.query.shown.order == "shared":
            shared.setdefault(repr(case.user), []).append(number)
    orders: dict[int, list[list[int]]] = {}
    for numbers in shared.values():
        orders.update(zip(numbers, _share([cases[number].reading for number in numbers]), strict=True))
    return [case.reading.choices(orders.get(number)) for number, case in enumerate(cases)]


def _share(readings: Sequence[Reading[Question]]) -> list[list[list[int]]]:
    """Bring the rows that the targets of some readings want into the order `shared`; behaviors alike count as one."""
    names = [reading.names() for reading in readings]
    rows = [
        [{own[row]: row for row in wanted} for wanted in reading.wanted]
        for own, reading in zip(names, readings, strict=True)
    ]
    ordered = iter(share([list(wanted) for targets in rows for wanted in targets]))
    return [[[wanted[name] for name in next(ordered)] for wanted in targets] for targets in rows]
