"""Why a score is what it is: what each behavior did to its logit, and what a blend's terms add (ReLLa §4.8)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.prompts.question import Question
from rella_cpp.scoring.answers import Answer
from rella_cpp.scoring.calibration import Term
from rella_cpp.scoring.query import Query
from rella_cpp.scoring.reader import LogitReader
from rella_cpp.scoring.results import Score
from rella_cpp.scoring.scorer import Prepared, Scorer

_AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Influence:
    """What a behavior did to a score.

    Attributes
    ----------
    place
        The behavior's 0-based place in the input.
    change
        The logit with it less the logit without it: above 0, it speaks for the item.
    cosine
        Of its vector and the item's, where that decided which behaviors are shown; else None.

    """

    place: int
    change: float
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score, and what it would be less this or that.

    Each number is the logit (`Score.gap`) less the logit of the same prompt without one thing, in whose place nothing
    comes. These are changes of a logit; they are not causes, and need not add up.

    Attributes
    ----------
    score
        The score.
    behaviors
        One for each behavior in the prompt, in its order.
    profile, averages
        The same for what is known of the user, and for the items' mean ratings; None where the prompt shows none.
    terms
        What each feature of a calibration adds to its logit, against an average sample; () without one.

    """

    score: Score
    behaviors: tuple[Influence, ...]
    profile: float | None = None
    averages: float | None = None
    terms: tuple[Term, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the reasons as a JSON object, without the score."""
        found: dict[str, Any] = {
            "behaviors": [
                {"place": each.place, "change": each.change} | ({} if each.cosine is None else {"cosine": each.cosine})
                for each in self.behaviors
            ]
        }
        found |= {} if self.profile is None else {"profile": self.profile}
        found |= {} if self.averages is None else {"averages": self.averages}
        return found | ({"terms": [term.as_dict() for term in self.terms]} if self.terms else {})


class Explainer:
    """Explains scores: reads each prompt once more for each thing that may be left out of it, all in one plan.

    Parameters
    ----------
    scorer, reader
        What makes the scores.
    domain
        What the items are.

    """

    def __init__(self, scorer: Scorer, reader: LogitReader, domain: Domain) -> None:
        self._scorer, self._reader, self._domain = scorer, reader, domain

    def explain(self, query: Query) -> list[Explanation]:
        """Score a query's targets and explain each; in input order. Raises as `Scorer.score` does."""
        prepared = self._scorer.prepare([query])
        (own,) = prepared
        prompts = [prompt.question for prompt in own.fitted]
        variants = [self._variants(own, target) for target in range(len(prompts))]
        questions = [*prompts, *(question for each in variants for question in each if question is not None)]
        answers = self._scorer.read(questions)
        (scores,) = self._scorer.scores(prepared, answers[: len(prompts)])
        left = iter(answers[len(prompts) :])
        return [
            self._explanation(own, target, score, [None if each is None else next(left) for each in variants[target]])
            for target, score in enumerate(scores)
        ]

    def _variants(self, own: Prepared, target: int) -> list[Question | None]:
        """Write a prompt without each of its behaviors, then without profile, then without averages.

        None: it would be the same.
        """
        writer, rows, whole = own.writer, own.case.rows, own.fitted[target].question
        shown = [rows.behaviors[row] for row in own.rows(target)]
        without = [
            writer.without(behavior).write(target, [*shown[:number], *shown[number + 1 :]])
            for number, behavior in enumerate(shown)
        ]
        nobody = replace(writer, user=User())
        plain = replace(writer, items=[_without_average(item) for item in own.case.items])
        others = [nobody.write(target, shown), plain.write(target, [_plain(behavior) for behavior in shown])]
        return [*without, *(None if other.text == whole.text else other for other in others)]

    def _explanation(self, own: Prepared, target: int, score: Score, answers: Sequence[Answer | None]) -> Explanation:
        changes = [None if answer is None else score.gap - answer.logit for answer in answers]
        *behaviors, profile, averages = changes
        cosines = own.case.rows.cosines(own.rows(target), target)
        calibrator = own.case.calibrator
        return Explanation(
            score,
            tuple(
                Influence(place, change or 0.0, cosine)
                for place, change, cosine in zip(score.used, behaviors, cosines, strict=True)
            ),
            profile,
            averages,
            () if calibrator is None else calibrator.terms(score, own.case.rows.behaviors),
        )


def _plain(behavior: Behavior) -> Behavior:
    return replace(behavior, item=_without_average(behavior.item), average=None)


def _without_average(item: Item) -> Item:
    return Item({name: value for name, value in item.fields.items() if name != _AVERAGE})
