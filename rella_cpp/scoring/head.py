"""Heads: a logistic regression on the hidden states at a prompt's end, in place of the answers' logits.

The model stays as it is, so a head serves any GGUF, also one that nobody can tune at home, with adapters or without.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.identity import descends
from rella_cpp.errors import InputError
from rella_cpp.retrieval.selection import Shown
from rella_cpp.storage.artifacts import brief, digest, first_difference, new_folder, read_json, sha256, write_json
from rella_cpp.storage.manifests import find_manifest
from rella_gguf.lineage import Origin

logger = logging.getLogger("rella_cpp")

_FORMAT = 1
_MARK = "rella_head"
_WEIGHTS, _MANIFEST = "head.safetensors", "manifest.json"
_REMEDY = "make one: rella tune head DATA … -o DIR"
_JUDGE = ("model", "domain", "chat_format")
PARTS = ("last", "mean", "gap")
"""What a head reads: the last layer's state at the answer position, its mean over the target and the question, and the
logit gap of the answers."""


def read_features(hidden: npt.NDArray[np.float32], gap: float) -> npt.NDArray[np.float32]:
    """Return what a head can read of a prompt, float32 of shape (2 · n_embd + 1,), in the order of `PARTS`.

    Parameters
    ----------
    hidden
        The last layer's states at the positions of the last segment (target and question), float32 of shape
        (positions, n_embd).
    gap
        The logit gap of the answers, yes − no.

    """
    return np.concatenate([hidden[-1], hidden.mean(axis=0), np.array([gap], dtype=np.float32)])


@dataclass(frozen=True, eq=False)
class Head:
    """A logistic regression on what `read_features` gives.

    Attributes
    ----------
    weights
        float64 of shape (2 · n_embd + 1,); zero for parts that it does not read.
    offset
        Added to the weighted sum.
    made_for
        The model with its adapters, the domain and the chat format that it was fitted for.
    fitted_on
        The examples, the strength of the regularisation, and what cross-validation found.

    """

    weights: npt.NDArray[np.float64]
    offset: float
    made_for: Mapping[str, Any]
    fitted_on: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides its logits."""
        return digest([self.weights.tolist(), self.offset])

    def logit(self, hidden: npt.NDArray[np.float32], gap: float) -> float:
        """Return the logit of a positive answer; see `read_features`."""
        return float(read_features(hidden, gap).astype(np.float64) @ self.weights + self.offset)

    def check(
        self,
        settings: Mapping[str, Any],
        width: int,
        *,
        origins: Sequence[Origin] = (),
        source: str | Path | None = None,
        allow_mismatch: bool = False,
    ) -> None:
        """Refuse a scorer that the head was not fitted for; one of another width even with `allow_mismatch`.

        One whose model descends from that it was fitted for is taken; `origins` are what that was made from.

        Raises
        ------
        InputError
            Naming what differs.

        """
        if len(self.weights) != 2 * width + 1:
            raise InputError(
                f"reads hidden states of the width {len(self.weights) // 2}, the model's is {width}",
                source=source,
                remedy="give the model that the head was fitted for",
            )
        layout, used = self.made_for.get("layout", "question"), settings.get("layout", "question")
        if layout != used and not allow_mismatch:
            raise InputError(
                f"was fitted on the layout {layout}, not {used}",
                source=source,
                remedy=f"add --layout {layout}, or take it as it is with --allow-mismatch",
            )
        wanted, fitted = settings_for_heads(settings), self.made_for.get("model") or {}
        if descends(wanted["model"], fitted, origins):
            wanted["model"] = fitted
        difference = first_difference(self.made_for, wanted)
        if difference and not allow_mismatch:
            name, was, now = difference
            raise InputError(
                f"was fitted with another {name}: {brief(was)}, not {brief(now)}",
                source=source,
                remedy="fit one for this (rella tune head), or take it as it is with --allow-mismatch",
            )

    def check_reading(self, shown: Shown, *, contrast: bool = False, summary: bool = False) -> None:
        """Refuse a contrast or a summary; say, once a process, that it was fitted on histories read otherwise.

        Raises
        ------
        InputError
            A contrast is asked for: a head knows no gap without history. Or a preference summary: it knows none.

        """
        if contrast:
            raise InputError("a head has no contrast: it knows no gap without history", remedy="leave one of them out")
        if summary:
            raise InputError("a head was fitted on histories without a summary", remedy="leave one of them out")
        read = self.fitted_on.get("samples", {})
        known = {name: read[name] for name in ("k", "order", "window") if name in read}
        if "window" in known:
            known["retrieval"] = "recent"  # a stream's samples are read so
        _warn_of_reading(shown._replace(**known), shown)

    def save(self, folder: Path) -> None:
        """Write it, in place of a head that is there.

        Raises
        ------
        InputError
            It cannot be written, or something else stands there.

        """
        from safetensors.numpy import save_file

        with new_folder(folder, _MARK, "head", force=True) as out:
            save_file({"weights": self.weights, "offset": np.array([self.offset])}, out / _WEIGHTS)
            facts = {"made_for": dict(self.made_for), "fitted_on": dict(self.fitted_on)}
            write_json(out / _MANIFEST, {_MARK: _FORMAT, **facts, "files": {_WEIGHTS: sha256(out / _WEIGHTS)}})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read it back.

        Raises
        ------
        InputError
            There is none, or it is damaged.

        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(folder)

        def check(facts: Mapping[str, Any]) -> None:
            if facts.get(_MARK) != _FORMAT:
                raise InputError("is no head, or one of another format", source=folder, remedy=_REMEDY)

        facts = read_json(find_manifest(folder, _MANIFEST, "head", _REMEDY), _REMEDY, check=check)
        try:
            if sha256(folder / _WEIGHTS) != facts["files"][_WEIGHTS]:
                raise ValueError("it is not the file that the manifest names")
            found = load_file(folder / _WEIGHTS)
            head = cls(found["weights"], float(found["offset"][0]), dict(facts["made_for"]), dict(facts["fitted_on"]))
            if head.weights.ndim != 1 or not np.isfinite([*head.weights, head.offset]).all():
                raise ValueError("its weights are no row of finite numbers")
        except (OSError, ValueError, KeyError, IndexError, TypeError, SafetensorError) as error:
            raise InputError(f"is damaged ({error})", source=folder / _WEIGHTS, remedy=_REMEDY) from None
        return head


@cache
def _warn_of_reading(fitted: Shown, shown: Shown) -> None:
    if fitted != shown:
        logger.warning(
            "the head was fitted on %s, not %s: its probabilities may be off", *map(_in_words, (fitted, shown))
        )


def _in_words(shown: Shown) -> str:
    """Say which behaviors prompts show."""
    if shown.window is None:
        return f"{shown.k} behaviors in the order {shown.order}"
    return f"{shown.k} behaviors of a stream ({shown.retrieval}, {shown.window})"


def settings_for_heads(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a scorer's settings a head depends on; that there is a head already does not matter."""
    model = {name: value for name, value in settings["model"].items() if name != "head"}
    layout = {name: settings[name] for name in ("layout",) if name in settings}
    return {name: settings[name] for name in _JUDGE} | layout | {"model": model}
