"""Answers to questions: by the logits of the answer tokens, and by a head where there is one; with adapters applied."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.engine import Engine, States
from rella_cpp.engine.identity import AppliedAdapter, EngineIdentity, ModelIdentity, OpenedBundle
from rella_cpp.engine.lora import Adapter
from rella_cpp.prompts.builder import PromptBuilder
from rella_cpp.prompts.question import Question
from rella_cpp.scoring.answers import Answer, read_answer
from rella_cpp.scoring.head import Head
from rella_cpp.storage.artifacts import digest
from rella_cpp.storage.cache import Cache


class LogitReader:
    """Reads questions with one model.

    Parameters
    ----------
    engine
        The model.
    prompts
        Has the soft prompt in the questions.
    identity
        The base model's.
    cache
        Where adapters' fingerprints and gaps are kept.

    Attributes
    ----------
    adapters
        The LoRA adapters that take part, loaded in the engine.
    head
        What reads the hidden states, if anything.
    bundle
        What the model and all that goes with it came from; None: no bundle.
    tokens
        Prompt tokens of the scores so far, and decoded tokens; see `counting`.

    """

    def __init__(self, engine: Engine, prompts: PromptBuilder, identity: EngineIdentity, cache: Cache) -> None:
        self._engine, self._prompts, self._identity, self._cache = engine, prompts, identity, cache
        self.adapters: tuple[Adapter, ...] = ()
        self.head: Head | None = None
        self.bundle: OpenedBundle | None = None
        self.tokens = (0, 0)

    @property
    def model(self) -> ModelIdentity:
        """Which model, adapters, soft prompt and head give the answers."""
        adapters = tuple(AppliedAdapter(path.name, fingerprint, scale) for path, scale, fingerprint in self.adapters)
        head = None if self.head is None else self.head.fingerprint
        soft = None if self._prompts.soft is None else self._prompts.soft.applied
        return replace(self._identity.base, adapters=adapters, head=head, soft=soft, bundle=self.bundle)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is read meanwhile."""
        engine = self._engine
        prompt_tokens, decoded_tokens = engine.prompt_tokens, engine.decoded_tokens
        yield
        known = self.tokens
        self.tokens = (
            known[0] + engine.prompt_tokens - prompt_tokens,
            known[1] + engine.decoded_tokens - decoded_tokens,
        )

    def answers(
        self, questions: Sequence[Question], *, keep: bool = False, progress: Callable[[int], None] = lambda done: None
    ) -> list[Answer]:
        """Read questions; return what is said at the answer positions, in their order.

        Parameters
        ----------
        keep
            Let the next questions go on from what all of these begin with; see `Engine.read_logits`.
        progress
            Told how many are answered.

        """
        found: dict[int, Answer] = {}
        prompts, head = [question.prompt for question in questions], self.head

        def read(number: int, logits: npt.NDArray[np.float32]) -> None:
            found[number] = read_answer(logits[-1], questions[number].answers)
            progress(len(found))

        def read_with_head(number: int, states: States) -> None:
            assert head is not None
            answer = read_answer(states.logits, questions[number].answers)
            found[number] = replace(answer, head_logit=head.logit(states.hidden, answer.gap))
            progress(len(found))

        if head is None:
            self._engine.read_logits(prompts, read, self.adapters, keep=keep)
        else:
            self._engine.read_states(prompts, read_with_head, self.adapters, keep=keep)
        return [found[number] for number in range(len(questions))]

    def states(self, questions: Sequence[Question]) -> Iterator[tuple[npt.NDArray[np.float32], Answer]]:
        """Read questions; yield the hidden states of target and question, and the answer, in their order.

        The states are float32 of shape (positions, n_embd).
        """
        prompts = [question.prompt for question in questions]
        for question, states in zip(questions, self._engine.states(prompts, self.adapters), strict=True):
            yield states.hidden, read_answer(states.logits, question.answers)

    def known_gaps(self, questions: Sequence[Question]) -> list[float]:
        """Return questions' logit gaps yes − no; known ones come from the cache.

        Each is read alone, so that its bits do not depend on which of the others are known.
        """
        key = f"{digest(replace(self.model, bundle=None).as_dict())} {self._identity.key}"
        return [self._known_gap(key, question) for question in questions]

    def _known_gap(self, key: str, question: Question) -> float:
        answers = question.answers
        prompt = f"{question.tokens} {question.borders} {' '.join(map(str, answers.tokens))}"
        if answers.levels:
            prompt += f" {answers.liked}"
        if question.soft is not None:
            prompt += f" {question.soft[0]}"
        gap = self._cache.gap(key, prompt)
        if gap is None:
            (answer,) = self.answers([question])
            gap = answer.gap
            self._cache.add_gap(key, prompt, gap)
        return gap
