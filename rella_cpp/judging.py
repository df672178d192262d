"""Judging: from a history and targets to scores, many users at once."""

from collections.abc import Sequence

from rella_cpp.answering import Answerer
from rella_cpp.asking import Asker
from rella_cpp.cache import Progress, no_progress
from rella_cpp.calibrating import Calibrator
from rella_cpp.domains import Domain
from rella_cpp.engine import Engine
from rella_cpp.inputs import take_history, take_items, take_user
from rella_cpp.ordering import share
from rella_cpp.prompts import write_prompt
from rella_cpp.query import Query
from rella_cpp.reading import Choice, Reading
from rella_cpp.records import Item, Score, User
from rella_cpp.scoring import Answer
from rella_cpp.vectors import ItemVectors


class Judge:
    """Scores targets with one model in one domain's words.

    Parameters
    ----------
    engine, domain, asker, vectors, answerer
        Its parts.

    Attributes
    ----------
    contrast
        Whether scores also say what the same target gets with no history.
    calibrator
        Adds calibrated probabilities, if there is one.
    progress
        Called with a task's name, what is done and the total.

    """

    def __init__(self, engine: Engine, domain: Domain, asker: Asker, vectors: ItemVectors, answerer: Answerer) -> None:
        self._engine, self._domain, self._asker = engine, domain, asker
        self._vectors, self._answerer = vectors, answerer
        self.contrast = False
        self.calibrator: Calibrator | None = None
        self.progress: Progress = no_progress

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
        readings = [self._reading(query) for query in queries]
        choices = self._choices(queries, readings)
        asked = [choice for chosen in choices for choice in chosen]
        gaps = self._empty_gaps([choice.item for choice in asked])
        answers = self._answerer.answers(
            [choice.question for choice in asked],
            keep=keep,
            progress=lambda done: self.progress("scoring", done, len(asked)),
        )
        scores = iter([self._score(*parts) for parts in zip(asked, gaps, answers, strict=True)])
        results = [
            [self._calibrated(next(scores), reading) for _ in chosen]
            for reading, chosen in zip(readings, choices, strict=True)
        ]
        if self.calibrator is not None:
            self.calibrator.warn_of_unknown([choice.item for choice in asked])
        return results

    def _reading(self, query: Query) -> Reading:
        """Check a query, and say what to read for it."""
        selection, domain = query.selection, self._domain
        behaviors = take_history(query.history, domain, allow_empty=selection.allow_empty_history)
        targets, person = take_items(query.items, domain), take_user(query.user, domain)
        if self._answerer.head is not None:
            self._answerer.head.check_reading(selection.k, selection.order, contrast=self.contrast)
        if self.calibrator is not None:
            reading = {"k": selection.k, "retrieval": selection.retrieval, "order": selection.order}
            self.calibrator.check(self.settings(), reading)
        return Reading(
            behaviors,
            targets,
            selection,
            ask=lambda shown, item: self._asker.ask(write_prompt(domain, person, shown, item, selection.order)),
            embed=self._vectors,
            identity=domain.identity,
            n_ctx=self._engine.n_ctx,
        )

    def _choices(self, queries: Sequence[Query], readings: Sequence[Reading]) -> list[list[Choice]]:
        """Choose what to show; prompts of one user in the order `shared` are ordered together."""
        shared: dict[str, list[int]] = {}
        for number, query in enumerate(queries):
            if query.selection.order == "shared":
                shared.setdefault(repr(take_user(query.user, self._domain)), []).append(number)
        orders: dict[int, list[list[int]]] = {}
        for numbers in shared.values():
            orders.update(zip(numbers, _share([readings[number] for number in numbers]), strict=True))
        return [reading.choices(orders.get(number)) for number, reading in enumerate(readings)]

    def _empty_gaps(self, items: Sequence[Item]) -> Sequence[float | None]:
        if not self.contrast:
            return [None] * len(items)
        texts = [write_prompt(self._domain, User(), [], item) for item in items]
        return self._answerer.known_gaps([self._asker.ask(text) for text in texts])

    def _score(self, choice: Choice, gap: float | None, answer: Answer) -> Score:
        return Score(
            item=choice.item,
            probability=answer.probability,
            yes_logit=answer.yes_logit,
            no_logit=answer.no_logit,
            answer_mass=answer.answer_mass,
            prompt_tokens=len(choice.question.tokens),
            used=choice.used,
            dropped=choice.dropped,
            model=self._answerer.model,
            excluded=choice.excluded,
            prompt=choice.question.text,
            empty_gap=gap,
            head_logit=answer.head_logit,
        )

    def _calibrated(self, score: Score, reading: Reading) -> Score:
        return score if self.calibrator is None else self.calibrator.calibrated(score, reading.behaviors)


def _share(readings: Sequence[Reading]) -> list[list[list[int]]]:
    """Bring the rows that the targets of some readings want into the order `shared`; behaviors alike count as one."""
    names = [reading.names() for reading in readings]
    rows = [
        [{own[row]: row for row in wanted} for wanted in reading.wanted]
        for own, reading in zip(names, readings, strict=True)
    ]
    ordered = iter(share([list(wanted) for targets in rows for wanted in targets]))
    return [[[wanted[name] for name in next(ordered)] for wanted in targets] for targets in rows]
