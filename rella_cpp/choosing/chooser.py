"""Choosing by likelihood: one prompt lists the candidates, and each one's name is read as its answer."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rella_cpp.answering import Answerer
from rella_cpp.choosing.likelihood import ChoiceQuery, Likelihood
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.inputs import take_history, take_items, take_user
from rella_cpp.domains.records import Behavior, Item
from rella_cpp.domains.stray_fields import warn_of_mappings
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.identity import ModelIdentity
from rella_cpp.errors import ContextError
from rella_cpp.prompts.builder import Asker
from rella_cpp.prompts.choice import write_choice
from rella_cpp.prompts.choice_question import ChoiceQuestion, log_probability
from rella_cpp.prompts.lengths import longest_field
from rella_cpp.reading import Choice, Reading
from rella_cpp.storage.progress import Progress, no_progress


class Chooser:
    """Says of candidates how likely each comes next, by one model in one domain's words (DELRec, arXiv 2406.11156).

    Parameters
    ----------
    engine, domain, asker
        Its parts.
    answerer
        Its adapters and the soft prompt apply; its head does not.

    Attributes
    ----------
    progress
        Called with a task's name, what is done and the total.

    """

    def __init__(self, engine: Engine, domain: Domain, asker: Asker, answerer: Answerer) -> None:
        self._engine, self._domain = engine, domain
        self._asker, self._answerer = asker, answerer
        self.progress: Progress = no_progress

    def choose(self, queries: Sequence[ChoiceQuery], *, keep: bool = False) -> list[list[Likelihood]]:
        """Return candidates' likelihoods; one list a query, one likelihood a candidate, in input order.

        The prompt shows the names of the K latest behaviors, oldest first, without those that are a candidate, and
        lists the candidates' names. What does not fit the context is dropped, the oldest first; the candidates and the
        question are never cut. What prompts and answers share is decoded once.

        Parameters
        ----------
        keep
            Let the next call go on from what all prompts begin with.

        Raises
        ------
        InputError
            A record does not fit the domain; nothing was read.
        ContextError
            A prompt does not fit the context even with no history; nothing was read.
        EngineError
            The model gives no finite numbers.

        """
        several = len(queries) > 1
        choices = [self._choice(query, f"query[{n}]" if several else None) for n, query in enumerate(queries)]
        asked = [(number, place) for number, choice in enumerate(choices) for place in range(len(choice.items))]
        found = [np.empty(len(choice.items)) for choice in choices]
        prompts = [prompt for choice in choices for prompt in choice.question.prompts]
        done = 0

        def read(number: int, logits: npt.NDArray[np.float32]) -> None:
            nonlocal done
            query, place = asked[number]
            found[query][place] = log_probability(logits, choices[query].question.answers[place])
            done += 1
            self.progress("choosing", done, len(asked))

        with self._answerer.counting():
            self._engine.read_logits(prompts, read, self._answerer.adapters, keep=keep)
        model = replace(self._answerer.model, head=None)
        return [_likelihoods(choice, values, model) for choice, values in zip(choices, found, strict=True)]

    def _choice(self, query: ChoiceQuery, name: str | None) -> Choice[ChoiceQuestion]:
        """Check a query, and choose what its prompt shows."""
        domain = self._domain
        behaviors = take_history(query.history, domain, allow_empty=query.allow_empty_history)
        items, user = take_items(query.items, domain), take_user(query.user, domain)
        warn_of_mappings(query.history, query.items, query.user, domain)
        names = [domain.name_item(item) for item in items]

        def ask(shown: Sequence[Behavior], _: int) -> ChoiceQuestion:
            return self._asker.choice(write_choice(domain, user, shown, items), names)

        reading = Reading(
            behaviors,
            items,
            query.shown,
            ask=ask,
            embed=_no_vectors,
            identity=domain.identity,
            n_ctx=self._engine.n_ctx,
            told=lambda item, tokens: longest_field(domain, item, tokens, self._engine.encode),
            together=True,
        )
        try:
            (choice,) = reading.choices()
        except ContextError as error:
            place = ", ".join(part for part in (name, error.place) if part) or None
            remedy = error.remedy if error.place else "raise --ctx, or give fewer candidates, or shorter names"
            raise ContextError(error.finding, place=place, remedy=remedy) from None
        return choice


def _likelihoods(
    choice: Choice[ChoiceQuestion], values: npt.NDArray[np.float64], model: ModelIdentity
) -> list[Likelihood]:
    weights = np.exp(values - values.max())
    shares = weights / weights.sum()
    return [
        Likelihood(
            item=item,
            log_probability=value,
            tokens=len(answer),
            share=share,
            prompt_tokens=choice.question.prompt_tokens,
            used=choice.used,
            dropped=choice.dropped,
            model=model,
            excluded=choice.excluded,
            prompt=choice.question.text,
        )
        for item, value, share, answer in zip(
            choice.items, values.tolist(), shares.tolist(), choice.question.answers, strict=True
        )
    ]


def _no_vectors(_: Sequence[Item]) -> npt.NDArray[np.float32]:
    raise AssertionError("the latest behaviors are chosen without vectors")
