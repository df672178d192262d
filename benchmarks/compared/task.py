"""What every peer is given, and what a peer is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from rella_cpp import Rella
from rella_cpp.domains.records import Item
from rella_cpp.engine.segments import Span
from rella_cpp.prompts.item import item_text
from rella_cpp.prompts.question import Question

Vector = npt.NDArray[np.float32]


class Text(NamedTuple):
    """A text to embed, and its tokens, BOS included."""

    text: str
    tokens: tuple[int, ...]


class Limits(NamedTuple):
    """What all peers are given alike: the context in tokens, threads, layers on a GPU (-1: all)."""

    ctx: int
    threads: int
    gpu_layers: int


P_contra = TypeVar("P_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)


class Peer(Protocol[P_contra, A_co]):
    """Something that reads prompts. Of questions it yields the click probability, of texts the vector.

    Attributes
    ----------
    name, how
        What it is called; one sentence on what is done.
    prompts
        How many prompts it is given; None: all. The time of fewer is scaled.
    reuses
        Whether it reads, from the second prompt on, only what that does not share with one before.

    """

    name: str
    how: str
    prompts: int | None
    reuses: bool

    def fresh(self) -> None:
        """Forget what earlier rounds left in memory."""

    def read(self, prompts: Sequence[P_contra]) -> Iterator[A_co]:
        """Yield each prompt's answer, in order."""

    def close(self) -> None:
        """Free what it holds."""


Judge = Peer[Question, float | None]
"""Yields None where the answer cannot be told."""
Embedder = Peer[Text, Vector]


def click_probability(yes: float, no: float) -> float:
    """Return the softmax over two logits, or log-probabilities."""
    return 1 / (1 + math.exp(min(700.0, max(-700.0, no - yes))))


def among(found: Mapping[Any, float], yes: int | str, no: int | str) -> float | None:
    """Return the click probability from the log-probabilities of the likeliest tokens; None where one is missing."""
    return click_probability(found[yes], found[no]) if yes in found and no in found else None


def texts_of(rella: Rella, items: Sequence[Item]) -> list[Text]:
    """Write the items' texts as `Rella.embed` does."""
    texts = [item_text(rella.domain, item) for item in items]
    return [Text(text, rella.engine.encode([Span(text)]).tokens) for text in texts]


def shared_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Count the tokens with which two prompts begin alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
