"""What a loaded model is made of: the parts that score, made in one place and handed to each other in the open."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypedDict

from rella_cpp.domains.domain import Domain
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.trial.trial import Trial
from rella_cpp.prompts.builder import PromptBuilder
from rella_cpp.prompts.yes_no import Order
from rella_cpp.recommender.tuned_layout import TunedLayout
from rella_cpp.retrieval.selection import Retrieval, Selection, Window
from rella_cpp.retrieval.vectors import ItemVectors
from rella_cpp.scoring.likelihood import LikelihoodScorer
from rella_cpp.scoring.reader import LogitReader
from rella_cpp.scoring.scorer import Scorer
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress
from rella_cpp.summarization.summarizer import Summarizer

if TYPE_CHECKING:  # a score needs none
    from rella_cpp.scoring.explanation import Explainer


class Reading(TypedDict, total=False):
    """Which behaviors a prompt shows, and in which order; see `Selection`.

    What is left out, or None, is as adapters or bundle say, else the layout's own. `allow_empty_history` scores with no
    history at all, too.
    """

    k: int | None
    retrieval: Retrieval | None
    order: Order | None
    window: Window | None
    allow_empty_history: bool


@dataclass(frozen=True, slots=True)
class Components:
    """The parts of a `Rella`: all of one engine, in one domain's words.

    Attributes
    ----------
    engine, domain, cache
        As given to `of`.
    trial
        Tries adapters and soft prompts before they are used; None: they are trusted.
    prompts
        Turns texts into questions.
    vectors
        Items' vectors, by the model's base or from an index.
    reader
        Reads questions, with the adapters and the head in use.
    summarizer
        Writes preference summaries, by the model's base.
    scorer, likelihoods
        Say how likely items are liked, and which comes next.
    usual
        The layout, and which behaviors prompts show where a request does not say.

    """

    engine: Engine
    domain: Domain
    cache: Cache
    trial: Trial | None
    prompts: PromptBuilder
    vectors: ItemVectors
    reader: LogitReader
    summarizer: Summarizer
    scorer: Scorer
    likelihoods: LikelihoodScorer
    usual: TunedLayout

    @classmethod
    def of(
        cls,
        engine: Engine,
        domain: Domain,
        cache: Cache,
        trial: Trial | None,
        *,
        chat_format: str | None,
        tuned: TunedLayout,
    ) -> Self:
        """Make the parts of a loaded model; what it raises, see `PromptBuilder`."""
        prompts = PromptBuilder(engine, domain, chat_format, tuned.layout)
        vectors = ItemVectors(engine, domain, cache)
        identity = vectors.identity
        reader = LogitReader(engine, prompts, identity, cache)
        summarizer = Summarizer(engine, prompts, identity, cache)
        scorer = Scorer(engine, prompts, vectors, reader, summarizer)
        likelihoods = LikelihoodScorer(engine, prompts, reader)
        return cls(engine, domain, cache, trial, prompts, vectors, reader, summarizer, scorer, likelihoods, tuned)

    def selection(
        self,
        *,
        k: int | None = None,
        retrieval: Retrieval | None = None,
        order: Order | None = None,
        window: Window | None = None,
        allow_empty_history: bool = False,
    ) -> Selection:
        """Make a selection of behaviors for the layout, with its defaults in the place of None.

        Raises
        ------
        InputError
            A value is out of its range, or the layout does not have it.

        """
        usual = self.usual
        return Selection.of(
            self.prompts.layout,
            usual.k if k is None else k,
            retrieval or usual.retrieval,
            order or usual.order,
            window=window or (usual.window if retrieval is None else None),
            allow_empty_history=allow_empty_history,
        )

    @property
    def explainer(self) -> "Explainer":
        """Says why scores are what they are."""
        from rella_cpp.scoring.explanation import Explainer

        return Explainer(self.scorer, self.reader, self.domain)

    def report_to(self, progress: Progress) -> None:
        """Let every part tell how far it is."""
        self.scorer.progress = self.likelihoods.progress = progress
        self.vectors.progress = self.vectors.identity.progress = progress

    def close(self) -> None:
        """Free the model, and close the cache."""
        self.engine.close()
        self.cache.close()
