"""The file of a soft prompt: a GGUF with one float32 matrix, the rows that stand where tokens' embeddings would."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rella_gguf.checks import check_complete
from rella_gguf.errors import GGUFError, InputError
from rella_gguf.header import Header, read_header
from rella_gguf.inspection import SOFT_AT, SOFT_BASE_SHA256, SOFT_TOKENS, tuning_record
from rella_gguf.peft_files import Matrix
from rella_gguf.reader import Reader
from rella_gguf.tensor_files import add_base, add_record, encodable, write_tensors

KIND = "soft_prompt"
"""`general.type` of such a file."""
TENSOR = "soft_prompt.weight"
PLACES = ("start", "marker")
"""Where a soft prompt stands: before the first token, BOS included, or where the domain's template has `{{ soft }}`."""

PLAIN = ("llama", "qwen2", "qwen3", "phi3", "smollm3")
"""Architectures that take input embeddings as they are, which is tested for each of them."""
SCALED = (
    *("gemma", "gemma2", "gemma3", "gemma3n", "gemma4", "granite", "granitemoe", "granitehybrid"),
    *("minicpm", "minicpm3", "grok", "afmoe"),
)
"""Architectures that multiply tokens' embeddings by a factor; llama.cpp does so with given embeddings in some only."""

_WRONG_BASE = "give the model that the soft prompt was trained for"
_AGAIN = "the file is damaged, or was not written by rella soft convert: convert it again"
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, eq=False)
class SoftPrompt:
    """A soft prompt and what it was trained for.

    Attributes
    ----------
    path
        Its file.
    embeddings
        float32 of shape (tokens, n_embd), to be read in the place of as many tokens.
    at
        `start`: before the first token, BOS included, as PEFT does; `marker`: where the domain's template says.
    architecture, base_name, base_sha256
        Of the model that it was trained for; None where that is not known.
    record
        How it was trained, as its trainer wrote it, if it did.

    """

    path: Path
    embeddings: Matrix = field(repr=False)
    at: str
    architecture: str | None
    base_name: str | None
    base_sha256: str | None
    record: Mapping[str, object] | None

    @property
    def tokens(self) -> int:
        """How many tokens it stands for."""
        return int(self.embeddings.shape[0])

    @property
    def width(self) -> int:
        """Length of an embedding, n_embd."""
        return int(self.embeddings.shape[1])


def read_soft_prompt(path: str | Path) -> SoftPrompt:
    """Read and check a soft prompt that `rella soft convert` wrote.

    Raises
    ------
    GGUFError
        It is missing, no GGUF, truncated, damaged, or of another kind.

    """
    path = Path(path)
    header = read_header(path)
    if header.kind != KIND:
        found, remedy = {
            "model": ("a full model", "give it with --model, and a soft prompt in its place"),
            "adapter": ("an adapter", "give it with --lora, and a soft prompt in its place"),
        }.get(header.kind, (f"a GGUF of the kind {header.kind}", "give the file that rella soft convert wrote"))
        raise GGUFError(f"is {found}, not a soft prompt", source=path, remedy=remedy)
    check_complete(header)
    at, digest = header.text(SOFT_AT), header.text(SOFT_BASE_SHA256)
    if at not in PLACES:
        raise GGUFError(f"its {SOFT_AT} is {at!r:.100}", source=path, remedy=f"it is {' or '.join(PLACES)}; {_AGAIN}")
    if SOFT_BASE_SHA256 in header.metadata and not SHA256.fullmatch(digest):
        raise GGUFError(f"its {SOFT_BASE_SHA256} is no SHA-256", source=path, remedy=_AGAIN)
    return SoftPrompt(
        path=path,
        embeddings=_embeddings(header),
        at=at,
        architecture=header.architecture or None,
        base_name=header.text("general.base_model.0.name") or None,
        base_sha256=digest or None,
        record=tuning_record(header),
    )


def _embeddings(header: Header) -> Matrix:
    """Read the one matrix; its shape is (n_embd, tokens) in GGML order."""
    names = [tensor.name for tensor in header.tensors]
    if names != [TENSOR]:
        listed = ", ".join(names[:3]) or "no tensors"
        raise GGUFError(f"holds {listed}, where a soft prompt holds {TENSOR}", source=header.path, remedy=_AGAIN)
    (tensor,) = header.tensors
    tokens = header.integer(SOFT_TOKENS)
    if tensor.type_name != "F32" or len(tensor.shape) != 2 or 0 in tensor.shape or tensor.shape[1] != tokens:
        size = " × ".join(map(str, tensor.shape[::-1]))
        raise GGUFError(
            f"its {TENSOR} is {tensor.type_name} of {size}, and its {SOFT_TOKENS} is {tokens}",
            source=header.path,
            remedy=_AGAIN,
        )
    with Reader(header.path) as reader:
        data = reader.read(header.data_start + tensor.offset, tensor.nbytes)
    embeddings: Matrix = np.frombuffer(data, "<f4").astype(np.float32, copy=False).reshape(tensor.shape[::-1])
    if not np.isfinite(embeddings).all():
        raise GGUFError(f"its {TENSOR} holds numbers that are not finite", source=header.path, remedy=_AGAIN)
    return embeddings


def write_soft_prompt(soft: SoftPrompt, name: str) -> None:
    """Write a soft prompt to its path, whole or not at all; `name` is what it is called.

    Raises
    ------
    InputError
        It cannot be written.

    """
    from gguf import GGUFWriter

    def describe(writer: GGUFWriter) -> None:
        writer.add_type(KIND)
        writer.add_name(encodable(name))
        if soft.base_name:
            add_base(writer, soft.base_name)
        writer.add_uint32(SOFT_TOKENS, soft.tokens)
        writer.add_string(SOFT_AT, soft.at)
        if soft.base_sha256:
            writer.add_string(SOFT_BASE_SHA256, soft.base_sha256)
        add_record(writer, soft.record)

    write_tensors(soft.path, soft.architecture or "", describe, {TENSOR: soft.embeddings})


def check_soft_prompt(soft: SoftPrompt, header: Header, *, source: str | Path | None = None) -> None:
    """Check that a soft prompt can be read by a model: its architecture and its width.

    Whether it was trained for this very model is not looked at.

    Parameters
    ----------
    soft
        The soft prompt.
    header
        The model's.
    source
        What to name in errors; None: the soft prompt's file.

    Raises
    ------
    InputError
        It was made for another architecture or width, or soft prompts are not known to work in the model's.

    """
    source = soft.path if source is None else source
    architecture = header.architecture
    width = header.integer(f"{architecture}.embedding_length")
    if architecture not in PLAIN:
        reason = "which scales its input embeddings" if architecture in SCALED else "in which they are not tested"
        raise InputError(
            f"the model is of the architecture {architecture or '(none)'}, {reason}",
            source=source,
            remedy=f"soft prompts are for {', '.join(PLAIN)}",
        )
    if soft.architecture not in (None, architecture):
        raise InputError(
            f"was made for the architecture {soft.architecture}, the model is {architecture}",
            source=source,
            remedy=_WRONG_BASE,
        )
    if soft.width != width:
        raise InputError(
            f"is made for a width of {soft.width}, the model's embeddings have {width}",
            source=source,
            remedy=_WRONG_BASE,
        )
