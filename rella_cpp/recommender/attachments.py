"""What was trained or fitted for a model and takes part in its scores: adapters, soft prompt, head, calibration.

They belong together: an adapter may have been tuned behind a soft prompt, a head fitted on an adapter. So each is
checked against the others when it comes, and what is refused leaves everything as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rella_cpp.adapters.lora import Adapters, check_tuned_behind, load_adapters, record_of
from rella_cpp.adapters.provenance import for_choices, shows_averages
from rella_cpp.adapters.soft_prompt import load_soft_prompt
from rella_cpp.engine.trial.trial import Kind, TriedModel
from rella_cpp.recommender.components import Components
from rella_cpp.scoring.head import Head

if TYPE_CHECKING:
    from rella_cpp.scoring.calibration import Calibration


class Attachments:
    """Puts things beside a loaded model; see the methods of the same names of `Rella`.

    Parameters
    ----------
    components
        The model's parts: the reader gets adapters and head, the prompts the soft prompt, the scorer the calibration.

    """

    def __init__(self, components: Components) -> None:
        self._parts = components

    def use_adapters(self, adapters: Adapters, *, allow_mismatch: bool) -> None:
        """Apply LoRA adapters in place of those before: GGUF files or PEFT folders, each alone or as (path, scale).

        Raises
        ------
        InputError
            One is no adapter, made for another model, named twice, or was tuned on another base, wording or chat
            format, or behind another soft prompt, and `allow_mismatch` is False. What was applied before stays.

        """
        parts, mismatch = self._parts, allow_mismatch
        found = load_adapters(
            adapters, parts.engine, parts.cache, self._made_for(), allow_mismatch=mismatch, try_out=self._try_out
        )
        with self._as_before_if_refused():
            parts.reader.adapters = found
            self._check(allow_mismatch)

    def use_soft(self, soft: str | Path | None, *, allow_mismatch: bool) -> None:
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
        parts, found = self._parts, None
        if soft is not None:
            found = load_soft_prompt(
                soft,
                parts.engine,
                parts.domain,
                parts.cache,
                self._made_for(),
                allow_mismatch=allow_mismatch,
                try_out=self._try_out,
            )
        with self._as_before_if_refused():
            parts.prompts.soft = found
            self._check(allow_mismatch)

    def use_head(self, head: Head | str | Path | None, *, allow_mismatch: bool) -> None:
        """Read the hidden states with a head (`rella tune head`), too. None takes it off.

        Raises
        ------
        InputError
            There is no such head, or it was fitted for another model, adapters, wording or chat format and
            `allow_mismatch` is False.

        """
        parts, source = self._parts, None if isinstance(head, Head) else head
        found = Head.load(head) if isinstance(head, str | Path) else head
        if found is not None:
            found.check(
                parts.scorer.settings(),
                parts.engine.n_embd,
                origins=parts.reader.model.origins,
                source=source,
                allow_mismatch=allow_mismatch,
            )
        parts.reader.head = found

    def use_calibration(self, calibration: "Calibration | str | Path", *, allow_mismatch: bool, optional: bool) -> None:
        """Calibrate probabilities (`rella calibrate`).

        Raises
        ------
        InputError
            There is no such calibration, or it was fitted for another model, adapters, wording or chat format and
            `allow_mismatch` is False.

        """
        parts = self._parts
        from rella_cpp.scoring.calibrator import Calibrator  # most scores need none

        calibrator = Calibrator.of(
            calibration,
            parts.domain,
            lambda: parts.vectors.index,
            origins=parts.reader.model.origins,
            any_reading=allow_mismatch,
            optional=optional,
        )
        calibrator.check(parts.scorer.settings())
        parts.scorer.calibrator = calibrator
        parts.scorer.contrast = parts.scorer.contrast or calibrator.calibration.contrast

    def _check(self, allow_mismatch: bool) -> None:
        """Refuse a soft prompt that the adapters do not go with, and a head that was fitted on others."""
        reader, soft = self._parts.reader, self._parts.prompts.soft
        check_tuned_behind(reader.adapters, None if soft is None else soft.applied, allow_mismatch=allow_mismatch)
        self.use_head(reader.head, allow_mismatch=allow_mismatch)
        tuned = [each.path.name for each in reader.adapters if for_choices(record_of(each))]
        if soft is not None and soft.chooses:
            tuned.append(soft.applied.name)
        self._parts.scorer.tuned_on_choices = tuple(tuned)
        of_averages = [each.path.name for each in reader.adapters if shows_averages(record_of(each))]
        self._parts.scorer.tuned_on_averages = tuple(of_averages)

    @contextmanager
    def _as_before_if_refused(self) -> Iterator[None]:
        """Put adapters and soft prompt back where a check refuses what came."""
        reader, prompts = self._parts.reader, self._parts.prompts
        adapters, soft = reader.adapters, prompts.soft
        try:
            yield
        except BaseException:
            reader.adapters, prompts.soft = adapters, soft
            raise

    def _try_out(self, kind: Kind, path: Path, fingerprint: str, given: Path, tokens: int = 0) -> None:
        """Let llama.cpp die of an adapter or a soft prompt in another process, not here."""
        if self._parts.trial is not None:
            engine = self._parts.engine
            base = self._parts.vectors.base.fingerprint
            model = TriedModel(engine.header.path, base, engine.settings, engine.n_ctx)
            self._parts.trial.beside(kind, path, fingerprint, model, given, tokens)

    def _made_for(self) -> dict[str, object]:
        """Return what an adapter or a soft prompt must have been tuned on; see `rella_cpp.adapters.provenance`."""
        return {**self._parts.scorer.settings(), "choice": self._parts.domain.choice_fingerprint}
