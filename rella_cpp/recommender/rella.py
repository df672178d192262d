"""Rella: a model, a domain and a chat frame together score items for a user."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.adapters.lora import Adapters
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.inputs import take_history
from rella_cpp.domains.loading import load_domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.templates.jinja import warm_up
from rella_cpp.domains.values import quoted
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.engine.trial import Trial
from rella_cpp.errors import ContextError
from rella_cpp.prompts.chat_formats import check_chat_format
from rella_cpp.prompts.lengths import LongItem, located_in
from rella_cpp.prompts.question import Question
from rella_cpp.prompts.yes_no import Order
from rella_cpp.recommender.candidates import Candidate, Recommendation, best_of, candidates_near
from rella_cpp.recommender.components import Tuned
from rella_cpp.retrieval.selection import Retrieval, Selection
from rella_cpp.scoring.answers import Answer
from rella_cpp.scoring.query import ChoiceQuery, Query
from rella_cpp.scoring.results import Likelihood, Score
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.summarization.settings import SummarySettings
from rella_cpp.summarization.summary import PreferenceSummary

logger = logging.getLogger("rella_cpp")
logger.addHandler(logging.NullHandler())  # silent unless somebody listens


class Rella(Tuned):
    """Scores items for users with one loaded model. Usable from several threads; close it, or use it with `with`.

    Parameters
    ----------
    engine
        The loaded model; closed with this object.
    domain
        What the items are.
    chat_format
        Chat format by name; None: the model's own (see `rella_cpp.prompts.chat.chat_frame`).
    cache
        Where item vectors and fingerprints are kept; None: the user's cache folder.
    trial
        Tries adapters and soft prompts before they are used; None: they are trusted.

    Attributes
    ----------
    prompts
        Turns texts into questions, in the model's chat frame.
    vectors
        Items' vectors, by this model's base or from an index.
    summarizer
        Writes preference summaries, by this model's base.

    """

    def __init__(
        self,
        engine: Engine,
        domain: Domain,
        *,
        chat_format: str | None = None,
        cache: Cache | None = None,
        trial: Trial | None = None,
    ) -> None:
        super().__init__(engine, domain, chat_format, cache or Cache.default(), trial)

    @property
    def progress(self) -> Progress:
        """Called with a task's name, what is done and the total while work goes on; does nothing unless set."""
        return self._scorer.progress

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._scorer.progress = self._likelihoods.progress = progress
        self.vectors.progress = self.vectors.identity.progress = progress

    @property
    def judged_tokens(self) -> tuple[int, int]:
        """Tokens of the prompts judged so far: all of them, and those computed rather than read once for several."""
        return self._reader.tokens

    @classmethod
    def from_gguf(
        cls,
        path: str | Path,
        *,
        domain: str | Path | Domain = "movies",
        lora: Adapters = (),
        soft: str | Path | None = None,
        exact: bool | None = None,
        settings: EngineSettings | None = None,
        chat_format: str | None = None,
        cache: Cache | None = None,
        trial: bool = True,
        progress: Progress = no_progress,
    ) -> Self:
        """Load a GGUF model, tried in a child process the first time.

        Parameters
        ----------
        path
            The model file (of a split model: its first part).
        domain
            A built-in domain's name, a TOML file, or a Domain.
        lora
            LoRA adapters; see `use_adapters`.
        soft
            A soft prompt; see `use_soft`.
        settings
            Context, threads, GPU layers, …
        exact
            In place of what the settings say: whether a request gives the same bits alone or in company.
        trial
            Try the model once with this build of llama.cpp on this processor, in a process of its own; where llama.cpp
            dies, load it with safer settings (`rella.engine.settings` says which), with a warning. A script that loads
            a model needs no `if __name__ == "__main__"` for it.
        progress
            Called with a task's name, what is done, the total and a note while the model is tried.

        Raises
        ------
        InputError
            A file, name or setting cannot be used.
        EngineError
            llama.cpp failed, or died in the trial with every setting.

        """
        settings = settings or EngineSettings()
        if exact is not None:
            settings = replace(settings, exact=exact)
        if not isinstance(domain, Domain):
            domain = load_domain(domain)
        if chat_format is None:
            warm_up()  # most models bring a chat template: it can be rendered as soon as the model is there
        else:
            check_chat_format(chat_format)
        cache = cache or Cache.default()
        tried = Trial(cache, progress) if trial else None
        engine = Engine.from_gguf(path, settings if tried is None else tried.settings(path, settings))
        try:
            rella = cls(engine, domain, chat_format=chat_format, cache=cache, trial=tried)
            rella.use_soft(soft)
            rella.adapters = lora
            return rella
        except BaseException:
            engine.close()
            raise

    def score(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        item: Item | Mapping[str, object],
        *,
        user: User | Mapping[str, object] | None = None,
        k: int = 30,
        retrieval: Retrieval = "subr",
        order: Order = "time",
        summary: SummarySettings | None = None,
        allow_empty_history: bool = False,
    ) -> Score:
        """Score one item; see `rank`."""
        query = Query(history, [item], user, Selection(k, retrieval, order, allow_empty_history), summary)
        return self._scorer.judge([query], keep=True)[0][0]

    def rank(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        items: Sequence[Item | Mapping[str, object]],
        *,
        user: User | Mapping[str, object] | None = None,
        k: int = 30,
        retrieval: Retrieval = "subr",
        order: Order = "time",
        summary: SummarySettings | None = None,
        allow_empty_history: bool = False,
    ) -> list[Score]:
        """Score items for a user; one score per item, in input order.

        Parameters
        ----------
        history
            Behaviors, oldest first unless every one has a timestamp. One that is the target itself is left out.
        items
            The target items.
        user
            What is known of the user.
        k
            How many behaviors a prompt shows at most.
        retrieval
            `subr`: those nearest to the target (ReLLa §3.2); `recent`: the latest.
        order
            How they stand in the prompt: `time` (chronological, the paper's), `reversed`, `similarity` (nearest first),
            `shared` (those first that most targets retrieve, so that prompts begin alike; see `retrieval.ordering`).
        summary
            Show in place of those behaviors a summary of the history and its latest behaviors (LLM-TRSR); `k`,
            `retrieval` and `order` then do not matter.
        allow_empty_history
            Score with no history at all, too.

        Raises
        ------
        InputError
            A record does not fit the domain, or an argument is out of its range; nothing was scored.
        ContextError
            A prompt does not fit the context even with no history.

        """
        query = Query(history, items, user, Selection(k, retrieval, order, allow_empty_history), summary)
        return self._scorer.judge([query], keep=True)[0]

    def judge(self, queries: Sequence[Query]) -> list[list[Score]]:
        """Score the targets of many queries; one list a query, as `rank` would give it.

        What prompts share is decoded once, over all queries; unless the engine is exact, short ones are decoded
        together, so scores differ from those of `rank` as far as rounding goes (README, Exactness).

        Raises
        ------
        InputError, ContextError
            See `rank`; nothing was scored.

        """
        return self._scorer.judge(queries)

    def choose(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        items: Sequence[Item | Mapping[str, object]],
        *,
        user: User | Mapping[str, object] | None = None,
        k: int = 30,
        allow_empty_history: bool = False,
    ) -> list[Likelihood]:
        """Say how likely each of some items comes next; one likelihood per item, in input order; see `ChoiceQuery`.

        Raises
        ------
        InputError, ContextError
            See `rank`.

        """
        return self._likelihoods.choose([ChoiceQuery(history, items, user, k, allow_empty_history)], keep=True)[0]

    def likelihoods(self, queries: Sequence[ChoiceQuery]) -> list[list[Likelihood]]:
        """Choose among the candidates of many queries, as `choose` does; what prompts share is decoded once."""
        return self._likelihoods.choose(queries)

    def summarize(
        self,
        histories: Sequence[Sequence[Behavior | Mapping[str, object]]],
        settings: SummarySettings | None = None,
    ) -> list[PreferenceSummary]:
        """Write down what users prefer (LLM-TRSR), block by block; one summary each, in input order.

        What is known comes from the cache, by content. Several users are summarised in one batch; unless the engine
        is exact, a text's wording may then hang on its company.

        Parameters
        ----------
        histories
            Behaviors of each user, oldest first unless every one has a timestamp.
        settings
            Method, blocks and lengths; None: the defaults.

        Raises
        ------
        InputError
            A record does not fit the domain, or the domain has no words for summaries.
        ContextError
            A block does not fit the context.

        """
        return self.summarizer.summarize(histories, settings or SummarySettings(), self.progress)

    def recommend(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        count: int = 10,
        *,
        candidates: int = 30,
        user: User | Mapping[str, object] | None = None,
        k: int = 30,
        retrieval: Retrieval = "subr",
        order: Order = "time",
        summary: SummarySettings | None = None,
    ) -> list[Recommendation[Score]]:
        """Recommend items of the index: candidates near to what was liked, judged; the likeliest first.

        Parameters
        ----------
        count
            How many, at most.
        candidates
            How many to judge, at least `count`; see `rella_cpp.recommender.candidates.find_candidates`.
        history, user, k, retrieval, order, summary
            See `rank`.

        Raises
        ------
        InputError
            See `rank`; or there is no index, or nothing in it that was not seen.

        """
        found = self._candidates(history, candidates, count)
        items = [candidate.item for candidate in found]
        with self._placed_in_index(items):
            scores = self.rank(history, items, user=user, k=k, retrieval=retrieval, order=order, summary=summary)
        return best_of(scores, found, count)

    def recommend_next(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        count: int = 10,
        *,
        candidates: int = 30,
        user: User | Mapping[str, object] | None = None,
        k: int = 30,
    ) -> list[Recommendation[Likelihood]]:
        """Recommend items of the index as `recommend` does, by which comes next: see `choose`."""
        found = self._candidates(history, candidates, count)
        items = [candidate.item for candidate in found]
        with self._placed_in_index(items):
            likelihoods = self.choose(history, items, user=user, k=k)
        return best_of(likelihoods, found, count)

    def _candidates(
        self, history: Sequence[Behavior | Mapping[str, object]], candidates: int, count: int
    ) -> list[Candidate]:
        places, behaviors = zip(*take_history(history, self.domain), strict=True)
        try:
            found = candidates_near(self.vectors, behaviors, candidates, count)
        except LongItem as error:
            raise error.at(f"history[{places[error.number]}]") from None
        return [replace(candidate, near=places[candidate.near]) for candidate in found]

    @contextmanager
    def _placed_in_index(self, items: Sequence[Item]) -> Iterator[None]:
        """Say of a candidate that is too long which item of the index it is."""
        try:
            yield
        except ContextError as error:
            ids = [item.fields.get("id") for item in items]
            names = [self.domain.show_item(item) if id is None else id for id, item in zip(ids, items, strict=True)]
            places, index = [f"the item {quoted(name)}" for name in names], self.vectors.index
            raise located_in(error, "item", places, "the index" if index is None else str(index.folder)) from None

    def embed(self, items: Sequence[Item | Mapping[str, object]]) -> npt.NDArray[np.float32]:
        """Return the items' vectors, float32 of shape (n, n_embd), in input order; see `ItemVectors.embed`."""
        return self.vectors.embed(items)

    def question(self, text: str) -> Question:
        """Frame a ready prompt; see `PromptBuilder.ready`."""
        return self.prompts.ready(text)

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """Read questions; return what the logits at the answer position, and the head, say."""
        return self._reader.answers(questions)

    def states(self, questions: Sequence[Question]) -> Iterator[tuple[npt.NDArray[np.float32], Answer]]:
        """Read questions; yield the hidden states of target and question, and the answer; see `LogitReader.states`."""
        return self._reader.states(questions)

    def close(self) -> None:
        """Free the model."""
        self.engine.close()
        self._cache.close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()
