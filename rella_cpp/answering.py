"""Answers to questions: by the logits of the answer tokens, and by a head where there is one; with adapters applied."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rella_cpp.cache import Cache
from rella_cpp.engine import Adapter, Engine
from rella_cpp.files import digest
from rella_cpp.head import Head
from rella_cpp.records import AppliedAdapter, ModelIdentity
from rella_cpp.scoring import Answer, Question, read_answer
from rella_cpp.vectors import ItemVectors


class Answerer:
    """Reads questions with one model.

    Parameters
    ----------
    engine
        The model.
    vectors
        Knows the base model's identity.
    cache
        Where adapters' fingerprints and gaps are kept.

    Attributes
    ----------
    adapters
        The LoRA adapters that take part, loaded in the engine.
    head
        What reads the hidden states, if anything.

    """

    def __init__(self, engine: Engine, vectors: ItemVectors, cache: Cache) -> None:
        self._engine, self._vectors, self._cache = engine, vectors, cache
        self.adapters: tuple[Adapter, ...] = ()
        self.head: Head | None = None

    @property
    def model(self) -> ModelIdentity:
        """Which model, adapters and head judge."""
        adapters = tuple(AppliedAdapter(path.name, fingerprint, scale) for path, scale, fingerprint in self.adapters)
        head = None if self.head is None else self.head.fingerprint
        return replace(self._vectors.base, adapters=adapters, head=head)

    def answers(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Read questions one after another; yield what is said at the answer position."""
        head = self.head
        if head is None:
            prompts = [question.prompt for question in questions]
            for question, logits in zip(questions, self._engine.logits(prompts, self.adapters), strict=True):
                yield read_answer(logits[-1], question.yes, question.no)
            return
        for hidden, answer in self.states(questions):
            yield replace(answer, head_logit=head.logit(hidden, answer.gap))

    def states(self, questions: Sequence[Question]) -> Iterator[tuple[npt.NDArray[np.float32], Answer]]:
        """Read questions one after another; yield the hidden states of target and question, and the answer.

        The states are float32 of shape (positions, n_embd).
        """
        prompts = [question.prompt for question in questions]
        for question, states in zip(questions, self._engine.states(prompts, self.adapters), strict=True):
            yield states.hidden, read_answer(states.logits, question.yes, question.no)

    def known_gap(self, question: Question) -> float:
        """Return a question's logit gap yes − no; known ones come from the cache."""
        key = f"{digest(self.model.as_dict())} {self._vectors.engine_key}"
        prompt = f"{question.tokens} {question.borders} {question.yes} {question.no}"
        gap = self._cache.gap(key, prompt)
        if gap is None:
            (answer,) = self.answers([question])
            gap = answer.gap
            self._cache.add_gap(key, prompt, gap)
        return gap
