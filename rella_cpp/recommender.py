"""Rella: a model, a domain and a chat frame together score items for a user."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.cache import Cache, Progress, no_progress
from rella_cpp.chat import chat_frame, check_chat_format
from rella_cpp.domains import Domain, load_domain
from rella_cpp.encoding import ItemEncoder
from rella_cpp.engine import Adapter, Engine, EngineSettings
from rella_cpp.inputs import take_history, take_items, take_user
from rella_cpp.prompts import Order, PromptText, write_prompt
from rella_cpp.reading import Reading
from rella_cpp.records import AppliedAdapter, Behavior, Item, ModelIdentity, Score, User
from rella_cpp.retrieval import Retrieval, Selection
from rella_cpp.scoring import Question, ask, read_answer

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
    chat_format
        Chat format by name; None: the model's own (see `rella_cpp.chat.chat_frame`).
    cache
        Where item vectors and fingerprints are kept; None: the user's cache folder.

    Attributes
    ----------
    progress
        Called with a task's name, what is done and the total while work goes on; does nothing unless set.

    """

    def __init__(
        self, engine: Engine, domain: Domain, *, chat_format: str | None = None, cache: Cache | None = None
    ) -> None:
        self.engine, self.domain = engine, domain
        words = engine.vocabulary
        self.frame = chat_frame(
            engine.header,
            chat_format,
            system=bool(domain.system),
            bos=words.text(words.bos),
            eos=words.text(words.eos),
        )
        self.progress: Progress = no_progress
        self._cache = cache or Cache.default()

    @classmethod
    def from_gguf(
        cls,
        path: str | Path,
        *,
        domain: str | Path | Domain = "movies",
        lora: Sequence[str | Path | tuple[str | Path, float]] = (),
        exact: bool = True,
        settings: EngineSettings | None = None,
        chat_format: str | None = None,
        cache: Cache | None = None,
    ) -> Self:
        """Load a GGUF model.

        Parameters
        ----------
        path
            The model file (of a split model: its first part).
        domain
            A built-in domain's name, a TOML file, or a Domain.
        lora
            GGUF LoRA adapters, each a path or (path, scale).
        exact
            A request gives the same bits alone or in company. The only mode there is so far.
        settings
            Context, threads, GPU layers, …

        Raises
        ------
        InputError
            A file, name or setting cannot be used.
        EngineError
            llama.cpp failed.
        ValueError
            `exact` is False.

        """
        if not exact:
            raise ValueError("exact=False is not there yet: every score is exact")
        if not isinstance(domain, Domain):
            domain = load_domain(domain)
        if chat_format is not None:
            check_chat_format(chat_format)
        if isinstance(lora, str | Path):
            lora = (lora,)
        engine = Engine.from_gguf(path, settings)
        try:
            engine.set_adapters([Adapter(Path(a[0]), a[1]) if isinstance(a, tuple) else Adapter(Path(a)) for a in lora])
            for adapter in engine.adapters:
                logger.warning("the adapter %s does not say which model it was tuned on", adapter.path)
            return cls(engine, domain, chat_format=chat_format, cache=cache)
        except BaseException:
            engine.close()
            raise

    @property
    def model(self) -> ModelIdentity:
        """Which model and adapters judge. The first call reads the whole file for its SHA-256; the cache keeps it."""
        header = self.engine.header
        return ModelIdentity(
            name=header.text("general.name") or header.architecture,
            fingerprint=self._cache.fingerprint(header.path, self.progress),
            adapters=tuple(
                AppliedAdapter(path.name, self._cache.fingerprint(path, self.progress), scale)
                for path, scale in self.engine.adapters
            ),
        )

    def score(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        item: Item | Mapping[str, object],
        *,
        user: User | Mapping[str, object] | None = None,
        k: int = 30,
        retrieval: Retrieval = "subr",
        order: Order = "time",
        allow_empty_history: bool = False,
    ) -> Score:
        """Score one item; see `rank`."""
        return self.rank(
            history,
            [item],
            user=user,
            k=k,
            retrieval=retrieval,
            order=order,
            allow_empty_history=allow_empty_history,
        )[0]

    def rank(
        self,
        history: Sequence[Behavior | Mapping[str, object]],
        items: Sequence[Item | Mapping[str, object]],
        *,
        user: User | Mapping[str, object] | None = None,
        k: int = 30,
        retrieval: Retrieval = "subr",
        order: Order = "time",
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
            How they stand in the prompt: `time` (chronological, the paper's), `reversed`, `similarity` (nearest first).
        allow_empty_history
            Score with no history at all, too.

        Raises
        ------
        InputError
            A record does not fit the domain, or an argument is out of its range; nothing was scored.
        ContextError
            A prompt does not fit the context even with no history.

        """
        selection = Selection(k, retrieval, order, allow_empty_history)
        behaviors = take_history(history, self.domain, allow_empty=allow_empty_history)
        targets, person = take_items(items, self.domain), take_user(user, self.domain)
        reading = Reading(
            behaviors,
            targets,
            selection,
            ask=lambda shown, item: self._ask(write_prompt(self.domain, person, shown, item, order)),
            embed=self.embed,
            identity=self.domain.identity,
            n_ctx=self.engine.n_ctx,
        )
        asked = reading.choices()
        model, scores = self.model, []
        rows = self.engine.logits(choice.question.prompt for choice in asked)
        for choice, logits in zip(asked, rows, strict=True):
            answer = read_answer(logits[-1], choice.question.yes, choice.question.no)
            scores.append(
                Score(
                    item=choice.item,
                    probability=answer.probability,
                    yes_logit=answer.yes_logit,
                    no_logit=answer.no_logit,
                    answer_mass=answer.answer_mass,
                    prompt_tokens=len(choice.question.tokens),
                    used=choice.used,
                    dropped=choice.dropped,
                    model=model,
                    excluded=choice.excluded,
                    prompt=choice.question.text,
                )
            )
            self.progress("scoring", len(scores), len(items))
        return scores

    def embed(self, items: Sequence[Item | Mapping[str, object]]) -> npt.NDArray[np.float32]:
        """Return the items' vectors, float32 of shape (n, n_embd), in input order.

        Each is the mean of the last layer over the item's text (`rella_cpp.prompts.item_text`), by the base model
        without adapters; known ones come from the cache.
        """
        return self._encoder.encode(take_items(items, self.domain) if items else (), self.progress)

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

    def _ask(self, text: PromptText) -> Question:
        lead = self.domain.templates.lead
        return ask(self.engine.encode, self.frame, text, self.domain.answers, self.frame.lead if lead is None else lead)

    @cached_property
    def _encoder(self) -> ItemEncoder:
        """The encoder; its cache key names whatever can change a vector's bits besides the text."""
        s = self.engine.settings
        key = " ".join(
            (
                self.model.fingerprint,
                f"llama-cpp-python {version('llama-cpp-python')}",
                f"gpu={s.gpu_layers} flash={s.flash_attn} kv={s.kv_type}",
            )
        )
        return ItemEncoder(self.engine, self.domain, self._cache, key, self.engine.n_embd)
