"""Soft prompts at run time (DELRec, arXiv 2406.11156): input embeddings among a prompt's tokens.

It stands before the first token, BOS included, as PEFT has it, or where a domain's template says `{{ soft }}`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rella_cpp.adapters.peft import gguf_of, loaded, reading
from rella_cpp.adapters.provenance import check_record, for_choices, read_record
from rella_cpp.domains.domain import Domain
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.identity import AppliedSoftPrompt
from rella_cpp.engine.trial.trial import Kind
from rella_cpp.errors import InputError
from rella_cpp.storage.cache import Cache

if TYPE_CHECKING:
    from rella_gguf import SoftPrompt

logger = logging.getLogger("rella_cpp")


@dataclass(frozen=True, eq=False, slots=True)
class LoadedSoftPrompt:
    """A soft prompt that fits the model: its embeddings, float32 of shape (n, n_embd), what it is, and its file.

    `chooses` says that it was trained on choices among candidates, not on yes or no.
    """

    embeddings: npt.NDArray[np.float32]
    applied: AppliedSoftPrompt
    chooses: bool
    path: Path


def load_soft_prompt(
    path: str | Path,
    engine: Engine,
    domain: Domain,
    cache: Cache,
    made_for: Mapping[str, Any],
    *,
    allow_mismatch: bool = False,
    try_out: Callable[[Kind, Path, str, Path, int], None],
) -> LoadedSoftPrompt:
    """Read a soft prompt, and check that it fits the model and what it was trained on.

    Parameters
    ----------
    path
        A GGUF that `rella soft convert` wrote, or a PEFT folder, which is converted once, into the cache.
    domain
        Whose templates may have the marker.
    made_for
        The judge's settings (`Rella.settings`).
    allow_mismatch
        Take one that was trained on something else, too.
    try_out
        Called with the file, its fingerprint, what was given and its number of tokens before llama.cpp reads it here.

    Raises
    ------
    InputError
        See `Rella.use_soft`.

    """
    from rella_gguf import check_soft_prompt, read_soft_prompt

    path = Path(path)

    def read(used: list[Path]) -> tuple[Path, "SoftPrompt", Mapping[str, Any] | None]:
        with reading(path):
            file = gguf_of(path, engine.header, cache, "soft")
        used += [file] if file in cache.origins else []
        return file, read_soft_prompt(file), read_record(file, path)

    file, soft, record = loaded(read, cache)
    check_soft_prompt(soft, engine.header, source=path)
    _check_room(soft, engine, domain, path)
    if not allow_mismatch:
        check_record(_with_base(record, soft, path), path, engine.header, made_for)
    _warn(soft, record, domain, path)
    digest = sha256(soft.embeddings.astype("<f4").tobytes()).hexdigest()
    try_out("soft", file, digest, path, soft.tokens)
    return LoadedSoftPrompt(
        soft.embeddings, AppliedSoftPrompt(file.name, digest, soft.tokens), for_choices(record), file
    )


def _check_room(soft: "SoftPrompt", engine: Engine, domain: Domain, path: Path) -> None:
    """Refuse one that leaves no room in the context, or has no marker to stand at."""
    if soft.tokens >= engine.n_ctx:
        raise InputError(
            f"takes {soft.tokens:,} positions, and the context has {engine.n_ctx:,}",
            source=path,
            remedy="raise --ctx, or give a shorter one",
        )
    if soft.at == "marker" and not domain.templates.marked:
        raise InputError(
            f"belongs at a marker, and the templates of the domain {domain.name} have none",
            source=path,
            remedy="write {{ soft }} into its [template] where it was trained to stand, or convert it with --at start",
        )


def _with_base(record: Mapping[str, Any] | None, soft: "SoftPrompt", path: Path) -> Mapping[str, Any]:
    """Return how a soft prompt was trained; on which base its file says, where its trainer does not.

    A folder's file is converted for whatever model is in use, and says nothing.
    """
    known = dict(record or {})
    told = known.get("base") or {}
    if told.get("fingerprint") is None and soft.base_sha256 is not None and not path.is_dir():
        known["base"] = {"name": soft.base_name, "fingerprint": soft.base_sha256}
    return known


def _warn(soft: "SoftPrompt", record: Mapping[str, Any] | None, domain: Domain, path: Path) -> None:
    """Say what a reader of results would not see: unknown words of training, another place than the one trained."""
    if record is None:
        logger.warning("the soft prompt %s does not say what words it was trained on", path)
    if soft.at == "start" and domain.templates.marked:
        logger.warning(
            "the soft prompt %s says that it stands before the first token, and stands at the marker of the domain %s "
            "(rella soft convert --at marker, if it was trained there)",
            path,
            domain.name,
        )
