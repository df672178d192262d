"""Rella: a model, a domain and a chat frame together score items for a user."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

import numpy as np
import numpy.typing as npt

from rella_cpp.adapters.lora import Adapters
from rella_cpp.adapters.soft_prompt import LoadedSoftPrompt
from rella_cpp.bundles.bundle import Bundle
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.loading import load_domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.identity import ModelIdentity
from rella_cpp.engine.lora import Adapter
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.engine.trial.trial import Trial
from rella_cpp.prompts.layout import Layout
from rella_cpp.prompts.question import Question
from rella_cpp.recommender.attachments import Attachments
from rella_cpp.recommender.components import Components, Reading
from rella_cpp.recommender.loading import load_engine
from rella_cpp.recommender.opening import Loading, open_bundle
from rella_cpp.recommender.tuned_layout import TunedLayout, tuned_layout
from rella_cpp.scoring.answers import Answer
from rella_cpp.scoring.head import Head
from rella_cpp.scoring.query import ChoiceQuery, Query
from rella_cpp.scoring.results import Likelihood, Score
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.summarization.settings import SummarySettings
from rella_cpp.summarization.summary import PreferenceSummary

if TYPE_CHECKING:  # a score needs none of these
    from rella_cpp.recommender.candidates import Recommendation
    from rella_cpp.retrieval.index.item_index import ItemIndex
    from rella_cpp.scoring.calibration import Calibration
    from rella_cpp.scoring.explanation import Explanation

logger = logging.getLogger("rella_cpp")
logger.addHandler(logging.NullHandler())  # silent unless somebody listens


class Rella:
    """Scores items for users with one loaded model. Usable from several threads; close it, or use it with `with`.

    Parameters
    ----------
    engine
        The loaded model; closed with this object.
    domain
        What the items are.
    layout
        How histories are laid out in prompts: a yes-or-no question, or a stream of ratings; see `prompts.layout`.
    chat_format
        Chat format by name; None: the model's own (see `rella_cpp.prompts.chat.chat_frame`), and of a stream none.
    cache
        Where item vectors and fingerprints are kept; None: the user's cache folder.
    trial
        Tries adapters and soft prompts before they are used; None: they are trusted.

    Attributes
    ----------
    prompts, vectors, summarizer, reader
        See `rella_cpp.recommender.components.Components`.

    """

    def __init__(
        self,
        engine: Engine,
        domain: Domain,
        *,
        layout: Layout | TunedLayout = "question",
        chat_format: str | None = None,
        cache: Cache | None = None,
        trial: Trial | None = None,
    ) -> None:
        self._components = parts = Components.of(
            engine, domain, cache or Cache.default(), trial, chat_format=chat_format, tuned=TunedLayout.of(layout)
        )
        self._attachments = Attachments(parts)
        self._progress = no_progress
        self.engine, self.domain = engine, domain
        self.prompts, self.vectors, self.summarizer = parts.prompts, parts.vectors, parts.summarizer
        self.reader = parts.reader

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
        layout: Layout | TunedLayout | None = None,
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
        lora, soft
            LoRA adapters and a soft prompt; see `use_adapters` and `use_soft`.
        layout
            See the class; None: that of the rows which the adapters were tuned on, else `question`.
        settings, exact
            Context, threads, GPU layers, …; and instead of what they say, whether bits are the same in a batch.
        trial
            Try the model once with this build of llama.cpp on this processor, in a process of its own (a script needs
            no `if __name__ == "__main__"`); where llama.cpp dies, load it with safer settings, with a warning.
            `progress` is called with a task's name, what is done, the total and a note meanwhile.

        Raises
        ------
        InputError, EngineError
            A file, name or setting cannot be used; llama.cpp failed, or died in the trial with every setting.

        """
        settings = settings or EngineSettings()
        if exact is not None:
            settings = replace(settings, exact=exact)
        if not isinstance(domain, Domain):
            domain = load_domain(domain)
        tuned = layout if isinstance(layout, TunedLayout) else tuned_layout(layout, lora, domain, path)
        cache = cache or Cache.default()
        engine, tried = load_engine(path, settings, tuned.layout, chat_format, cache, trial=trial, progress=progress)
        try:
            rella = cls(engine, domain, layout=tuned, chat_format=chat_format, cache=cache, trial=tried)
            rella.use_soft(soft)
            rella.adapters = lora
            return rella
        except BaseException:
            engine.close()
            raise

    @classmethod
    def from_bundle(cls, bundle: Bundle | str | Path, **loading: Unpack[Loading]) -> Self:
        """Load a bundle: one folder with a model, what it was tuned with, its wording and its reading.

        `bundle` is its folder, the name of one that comes with the package, or a `Bundle`; `loading` are `settings`,
        `exact`, `cache`, `trial` and `progress` of `from_gguf`. Raises as `Bundle.open` and `from_gguf` do.
        """
        return open_bundle(cls.from_gguf, bundle, loading)

    def score(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        item: Item | Mapping[str, object],
        *,
        user: User | Mapping[str, object] | None = None,
        summary: SummarySettings | None = None,
        **reading: Unpack[Reading],
    ) -> Score:
        """Score one item; see `rank`."""
        return self.rank(history, [item], user=user, summary=summary, **reading)[0]

    def rank(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        items: Sequence[Item | Mapping[str, object]],
        *,
        user: User | Mapping[str, object] | None = None,
        summary: SummarySettings | None = None,
        **reading: Unpack[Reading],
    ) -> list[Score]:
        """Score items for a user; one score per item, in input order.

        Parameters
        ----------
        history, items, user
            Behaviors, oldest first unless every one has a timestamp, and the targets; a behavior that is the target
            itself is left out. What is known of the user.
        summary
            Show in the behaviors' place a summary of the history and its latest behaviors (LLM-TRSR).
        reading
            Which behaviors a prompt shows, and in which order: `k`, `retrieval`, …; see `Reading`.

        Raises
        ------
        InputError, ContextError
            A record does not fit the domain, an argument is out of its range, or a prompt does not fit the context.

        """
        selection = self._components.selection(**reading)
        return self._components.scorer.score([Query(history, items, user, selection, summary)], keep=True)[0]

    def explain(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        items: Sequence[Item | Mapping[str, object]],
        *,
        user: User | Mapping[str, object] | None = None,
        summary: SummarySettings | None = None,
        **reading: Unpack[Reading],
    ) -> "list[Explanation]":
        """Score items as `rank` does, and say of each what every behavior did to its logit; see `Explanation`."""
        selection = self._components.selection(**reading)
        return self._components.explainer.explain(Query(history, items, user, selection, summary))

    def judge(self, queries: Sequence[Query], *, keep: bool = False) -> list[list[Score]]:
        """Score the targets of many queries; one list a query, as `rank` would give it but for rounding.

        What prompts share is decoded once, over all queries (README, Exactness); `keep`: let the next call go on from
        what all of them begin with. Raises as `rank` does.
        """
        return self._components.scorer.score(queries, keep=keep)

    def choose(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        items: Sequence[Item | Mapping[str, object]],
        *,
        user: User | Mapping[str, object] | None = None,
        k: int = 30,
        allow_empty_history: bool = False,
    ) -> list[Likelihood]:
        """Say how likely each of some items comes next, in input order; see `ChoiceQuery`. Raises as `rank` does."""
        query = ChoiceQuery(history, items, user, k, allow_empty_history)
        return self._components.likelihoods.choose([query], keep=True)[0]

    def likelihoods(self, queries: Sequence[ChoiceQuery]) -> list[list[Likelihood]]:
        """Choose among the candidates of many queries, as `choose` does."""
        return self._components.likelihoods.choose(queries)

    def summarize(
        self,
        histories: Sequence[Sequence[Behavior | Mapping[str, object]]],
        settings: SummarySettings | None = None,
    ) -> list[PreferenceSummary]:
        """Write down what users prefer (LLM-TRSR); one summary each, in input order. See `Summarizer.summarize`."""
        return self.summarizer.summarize(histories, settings or SummarySettings(), self.progress)

    def recommend(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        count: int = 10,
        *,
        candidates: int = 30,
        user: User | Mapping[str, object] | None = None,
        summary: SummarySettings | None = None,
        **reading: Unpack[Reading],
    ) -> "list[Recommendation[Score]]":
        """Recommend items of the index: candidates near to what was liked, scored; the likeliest first.

        Parameters
        ----------
        count, candidates
            How many to return, at most, and how many to score, at least as many; see `candidates.find_candidates`.
        history, …, reading
            See `rank`, also for what it raises.

        Raises
        ------
        InputError
            There is no index, or nothing in it that was not seen.

        """
        from rella_cpp.recommender.candidates import Shortlist

        shortlist = Shortlist.of(self.vectors, history, candidates, count)
        query = Query(history, shortlist.items, user, self._components.selection(**reading), summary)
        with shortlist.located():
            (scores,) = self._components.scorer.score([query], keep=True)
        return shortlist.best(scores, count)

    def recommend_next(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        count: int = 10,
        *,
        candidates: int = 30,
        user: User | Mapping[str, object] | None = None,
        k: int = 30,
    ) -> "list[Recommendation[Likelihood]]":
        """Recommend items of the index as `recommend` does, by which comes next; see `choose`."""
        from rella_cpp.recommender.candidates import Shortlist

        shortlist = Shortlist.of(self.vectors, history, candidates, count)
        with shortlist.located():
            likelihoods = self.choose(history, shortlist.items, user=user, k=k)
        return shortlist.best(likelihoods, count)

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The LoRA adapters of this object's scores; another `Rella` over the same engine may have others."""
        return self._components.reader.adapters

    @adapters.setter
    def adapters(self, adapters: Adapters) -> None:
        self.use_adapters(adapters)

    def use_adapters(self, adapters: Adapters, *, allow_mismatch: bool = False) -> None:
        """Apply LoRA adapters in place of those before; see `Attachments.use_adapters`."""
        self._attachments.use_adapters(adapters, allow_mismatch=allow_mismatch)

    @property
    def soft(self) -> LoadedSoftPrompt | None:
        """The soft prompt in each question, if there is one; see `use_soft`."""
        return self.prompts.soft

    def use_soft(self, soft: str | Path | None, *, allow_mismatch: bool = False) -> None:
        """Put a soft prompt into each question; None takes it off. See `Attachments.use_soft`."""
        self._attachments.use_soft(soft, allow_mismatch=allow_mismatch)

    @property
    def head(self) -> Head | None:
        """What reads the hidden states beside the answers' logits, if anything; see `use_head`."""
        return self._components.reader.head

    def use_head(self, head: Head | str | Path | None, *, allow_mismatch: bool = False) -> None:
        """Score by a head (`rella tune head`): scores gain `head`. None takes it off. See `Attachments.use_head`."""
        self._attachments.use_head(head, allow_mismatch=allow_mismatch)

    def use_calibration(
        self, calibration: "Calibration | str | Path", *, allow_mismatch: bool = False, optional: bool = False
    ) -> None:
        """Calibrate probabilities: scores gain `calibrated`. See `Attachments.use_calibration`.

        With `optional`, as in a bundle, scores whose reading it was not fitted for do without it, with a warning.
        """
        self._attachments.use_calibration(calibration, allow_mismatch=allow_mismatch, optional=optional)

    def use_index(self, index: "ItemIndex | str | Path", *, allow_mismatch: bool = False) -> None:
        """Take vectors for SUBR from an index; see `ItemVectors.use_index`."""
        self.vectors.use_index(index, allow_mismatch=allow_mismatch)

    @property
    def contrast(self) -> bool:
        """Whether scores also say what the target gets with no history (contextual calibration, Zhao et al. 2021)."""
        return self._components.scorer.contrast

    @contrast.setter
    def contrast(self, contrast: bool) -> None:
        self._components.scorer.contrast = contrast

    @property
    def model(self) -> ModelIdentity:
        """Which model scores, with what. The first call reads the whole file for its SHA-256; the cache keeps it."""
        return self._components.reader.model

    def settings(self) -> dict[str, object]:
        """Return all that scores depend on besides the request, as JSON."""
        return self._components.scorer.settings()

    @property
    def progress(self) -> Progress:
        """Called with a task's name, what is done and the total while work goes on; does nothing unless set."""
        return self._progress

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._progress = progress
        self._components.report_to(progress)

    @property
    def judged_tokens(self) -> tuple[int, int]:
        """Prompt tokens of the scores so far, and the decoded tokens: what prompts share is decoded once."""
        return self._components.reader.tokens

    def embed(self, items: Sequence[Item | Mapping[str, object]]) -> npt.NDArray[np.float32]:
        """Return the items' vectors, float32 of shape (n, n_embd), in input order; see `ItemVectors.embed`."""
        return self.vectors.embed(items)

    def question(self, text: str) -> Question:
        """Frame a ready prompt; see `PromptBuilder.ready`."""
        return self.prompts.ready(text)

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """Read questions; return what the logits at the answer position, and the head, say."""
        return self._components.reader.answers(questions)

    def close(self) -> None:
        """Free the model."""
        self._components.close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()
