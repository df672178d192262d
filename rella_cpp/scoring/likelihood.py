"""Likelihoods of candidates (DELRec): one prompt lists them all, and each one's name is read as its answer."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.inputs import take_history, take_items, take_user
from rella_cpp.domains.records import Item
from rella_cpp.domains.stray_fields import warn_of_mappings
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.identity import ModelIdentity
from rella_cpp.errors import ContextError, InputError
from rella_cpp.prompts.builder import PromptBuilder
from rella_cpp.prompts.choice_question import ChoiceQuestion
from rella_cpp.prompts.writers import ChoiceWriter
from rella_cpp.retrieval.history import HistoryRows
from rella_cpp.scoring.answers import log_probability
from rella_cpp.scoring.fitting import FittedPrompt, PromptFitter
from rella_cpp.scoring.query import ChoiceQuery
from rella_cpp.scoring.reader import LogitReader
from rella_cpp.scoring.results import Likelihood
from rella_cpp.storage.progress import Progress, no_progress


class LikelihoodScorer:
    """Says of candidates how likely each comes next, by one model in one domain's words (DELRec, arXiv 2406.11156).

    Parameters
    ----------
    engine, prompts
        Its parts; the domain is that of the prompts.
    reader
        Its adapters and the soft prompt apply; its head does not.

    Attributes
    ----------
    progress
        Called with a task's name, what is done and the total.

    """

    def __init__(self, engine: Engine, prompts: PromptBuilder, reader: LogitReader) -> None:
        self._engine, self._prompts, self._reader = engine, prompts, reader
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
        if self._prompts.layout == "stream":
            raise InputError(
                "a choice by likelihood is a question, and the layout is stream",
                remedy="add --layout question, or judge by yes-no",
            )
        several = len(queries) > 1
        fitted = [self._fitted(query, f"query[{n}]" if several else None) for n, query in enumerate(queries)]
        places = [(number, place) for number, each in enumerate(fitted) for place in range(len(each.items))]
        found = [np.empty(len(each.items)) for each in fitted]
        prompts = [prompt for each in fitted for prompt in each.question.prompts]
        done = 0

        def read(number: int, logits: npt.NDArray[np.float32]) -> None:
            nonlocal done
            query, place = places[number]
            found[query][place] = log_probability(logits, fitted[query].question.answers[place])
            done += 1
            self.progress("choosing", done, len(places))

        with self._reader.counting():
            self._engine.read_logits(prompts, read, self._reader.adapters, keep=keep)
        model = replace(self._reader.model, head=None)
        return [_likelihoods(each, values, model) for each, values in zip(fitted, found, strict=True)]

    def _fitted(self, query: ChoiceQuery, name: str | None) -> FittedPrompt[ChoiceQuestion]:
        """Check a query, and write its prompt."""
        domain = self._prompts.domain
        behaviors = take_history(query.history, domain, allow_empty=query.allow_empty_history)
        items, user = take_items(query.items, domain), take_user(query.user, domain)
        warn_of_mappings(query.history, query.items, query.user, domain)
        rows = HistoryRows(behaviors, [items], query.shown, domain.identity, _no_vectors)
        try:
            (fitted,) = PromptFitter(rows, ChoiceWriter(self._prompts, user, items)).fit()
        except ContextError as error:
            place = ", ".join(part for part in (name, error.place) if part) or None
            raise ContextError(error.finding, place=place, remedy=error.remedy) from None
        return fitted


def _likelihoods(
    fitted: FittedPrompt[ChoiceQuestion], values: npt.NDArray[np.float64], model: ModelIdentity
) -> list[Likelihood]:
    weights = np.exp(values - values.max())
    shares = weights / weights.sum()
    return [
        Likelihood(
            item=item,
            log_probability=value,
            tokens=len(answer),
            share=share,
            prompt_tokens=fitted.question.prompt_tokens,
            used=fitted.used,
            dropped=fitted.dropped,
            model=model,
            excluded=fitted.excluded,
            prompt=fitted.question.text,
        )
        for item, value, share, answer in zip(
            fitted.items, values.tolist(), shares.tolist(), fitted.question.answers, strict=True
        )
    ]


def _no_vectors(_: Sequence[Item]) -> npt.NDArray[np.float32]:
    raise AssertionError("the latest behaviors are chosen without vectors")
