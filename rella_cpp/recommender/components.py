"""What was trained or fitted for a model and takes part in its judgements: adapters, soft prompt, head, calibration."""

from pathlib import Path
from typing import TYPE_CHECKING

from rella_cpp.adapters.lora import Adapters, check_company, load_adapters, record_of
from rella_cpp.adapters.provenance import for_choices
from rella_cpp.adapters.soft_prompt import LoadedSoftPrompt, load_soft_prompt
from rella_cpp.domains.domain import Domain
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.identity import ModelIdentity
from rella_cpp.engine.lora import Adapter
from rella_cpp.engine.trial import Kind, Trial, TriedModel
from rella_cpp.errors import InputError
from rella_cpp.prompts.builder import PromptBuilder
from rella_cpp.retrieval.vectors import ItemVectors
from rella_cpp.scoring.calibrator import Calibrator
from rella_cpp.scoring.head import Head
from rella_cpp.scoring.likelihood import LikelihoodScorer
from rella_cpp.scoring.reader import LogitReader
from rella_cpp.scoring.scorer import Scorer
from rella_cpp.storage.cache import Cache
from rella_cpp.summarization.summarizer import Summarizer

if TYPE_CHECKING:  # a score needs neither
    from rella_cpp.retrieval.index.item_index import ItemIndex
    from rella_cpp.scoring.calibration import Calibration


class Tuned:
    """A model in a domain's words, with what was trained or fitted for it; `Rella` is one.

    Parameters
    ----------
    engine, domain, chat_format, cache, trial
        See `Rella`.

    """

    def __init__(
        self, engine: Engine, domain: Domain, chat_format: str | None, cache: Cache, trial: Trial | None = None
    ) -> None:
        self.engine, self.domain, self._trial = engine, domain, trial
        self.prompts = PromptBuilder(engine, domain, chat_format)
        self._cache = cache
        self.vectors = ItemVectors(engine, domain, cache)
        self._reader = LogitReader(engine, self.prompts, self.vectors.identity, cache)
        self.summarizer = Summarizer(engine, self.prompts, self.vectors.identity, cache)
        self._scorer = Scorer(engine, self.prompts, self.vectors, self._reader, self.summarizer)
        self._likelihoods = LikelihoodScorer(engine, self.prompts, self._reader)

    @property
    def model(self) -> ModelIdentity:
        """Which model judges, with what. The first call reads the whole file for its SHA-256; the cache keeps it."""
        return self._reader.model

    def settings(self) -> dict[str, object]:
        """Return all that scores depend on besides the request, as JSON."""
        return self._scorer.settings()

    @property
    def contrast(self) -> bool:
        """Whether scores also say what the target gets with no history (contextual calibration, Zhao et al. 2021)."""
        return self._scorer.contrast

    @contrast.setter
    def contrast(self, contrast: bool) -> None:
        self._scorer.contrast = contrast

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The LoRA adapters of this object's scores; set them between requests, the model stays loaded.

        For users with adapters of their own at the same time, make one `Rella` each over one engine, closed with any.
        """
        return self._reader.adapters

    @adapters.setter
    def adapters(self, adapters: Adapters) -> None:
        self.use_adapters(adapters)

    def use_adapters(self, adapters: Adapters, *, allow_mismatch: bool = False) -> None:
        """Apply LoRA adapters in place of those before: GGUF files or PEFT folders, each alone or as (path, scale).

        Raises
        ------
        InputError
            One is no adapter, made for another model, named twice, or was tuned on another base, wording or chat
            format, or behind another soft prompt, and `allow_mismatch` is False. What was applied before stays.

        """
        before, made_for = self._reader.adapters, self._made_for()
        found = load_adapters(
            adapters, self.engine, self._cache, made_for, allow_mismatch=allow_mismatch, try_out=self._try
        )
        self._reader.adapters = found
        try:
            self._check(allow_mismatch)
        except InputError:
            self._reader.adapters = before
            raise

    @property
    def soft(self) -> LoadedSoftPrompt | None:
        """The soft prompt in each question, if there is one; see `use_soft`."""
        return self.prompts.soft

    def use_soft(self, soft: str | Path | None, *, allow_mismatch: bool = False) -> None:
        """Put a soft prompt (a GGUF of `rella soft convert`, or a PEFT folder) into each question. None takes it off.

        It stands where the domain's templates say `{{ soft }}`, else before the first token, BOS included, as PEFT has
        it. Summaries and item vectors are made without it.

        Raises
        ------
        InputError
            It is no soft prompt, is of another width, its architecture is not tested, it belongs at a marker that the
            domain's templates do not have, or it was trained on another base, wording or chat format, or is not the one
            that an adapter in use was tuned behind, and `allow_mismatch` is False. What was there before stays.

        """
        before, found, mismatch = self.prompts.soft, None, allow_mismatch
        if soft is not None:
            made_for = self._made_for()
            found = load_soft_prompt(
                soft, self.engine, self.domain, self._cache, made_for, allow_mismatch=mismatch, try_out=self._try
            )
        self.prompts.soft = found
        try:
            self._check(allow_mismatch)
        except InputError:
            self.prompts.soft = before
            raise

    @property
    def head(self) -> Head | None:
        """What reads the hidden states beside the answers' logits, if anything; see `use_head`."""
        return self._reader.head

    def use_head(self, head: Head | str | Path | None, *, allow_mismatch: bool = False) -> None:
        """Judge by a head (`rella tune head`): scores gain `head`. None takes it off.

        Raises
        ------
        InputError
            There is no such head, or it was fitted for another model, adapters, wording or chat format and
            `allow_mismatch` is False.

        """
        source = None if isinstance(head, Head) else head
        head = Head.load(head) if isinstance(head, str | Path) else head
        if head is not None:
            head.check(self.settings(), self.engine.n_embd, source=source, allow_mismatch=allow_mismatch)
        self._reader.head = head

    def use_calibration(self, calibration: "Calibration | str | Path", *, allow_mismatch: bool = False) -> None:
        """Calibrate probabilities: scores gain `calibrated`.

        Raises
        ------
        InputError
            There is no such calibration, or it was fitted for another model, adapters, wording or chat format and
            `allow_mismatch` is False.

        """
        calibrator = Calibrator.of(calibration, self.domain, lambda: self.vectors.index, any_reading=allow_mismatch)
        calibrator.check(self.settings())
        self._scorer.calibrator = calibrator
        self.contrast = self.contrast or calibrator.calibration.contrast

    def _check(self, allow_mismatch: bool) -> None:
        """Refuse a soft prompt that the adapters do not go with, and a head that was fitted on others."""
        check_company(self.adapters, None if self.soft is None else self.soft.applied, allow_mismatch=allow_mismatch)
        self.use_head(self.head, allow_mismatch=allow_mismatch)
        tuned = [each.path.name for each in self.adapters if for_choices(record_of(each))]
        if self.soft is not None and self.soft.chooses:
            tuned.append(self.soft.applied.name)
        self._scorer.tuned_on_choices = tuple(tuned)

    def _try(self, kind: Kind, path: Path, fingerprint: str, given: Path, tokens: int = 0) -> None:
        """Let llama.cpp die of an adapter or a soft prompt in another process, not here."""
        if self._trial is not None:
            engine = self.engine
            model = TriedModel(engine.header.path, self.vectors.base.fingerprint, engine.settings, engine.n_ctx)
            self._trial.beside(kind, path, fingerprint, model, given, tokens)

    def _made_for(self) -> dict[str, object]:
        """Return what an adapter or a soft prompt must have been tuned on; see `rella_cpp.adapters.provenance`."""
        return {**self.settings(), "choice": self.domain.choice_fingerprint}

    def use_index(self, index: "ItemIndex | str | Path", *, allow_mismatch: bool = False) -> None:
        """Take vectors for SUBR from an index; see `ItemVectors.use_index`."""
        self.vectors.use_index(index, allow_mismatch=allow_mismatch)
