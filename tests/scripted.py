"""A model that writes what it is told, and a history with long texts."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from rella_cpp import Adapter, Engine, load_domain
from rella_cpp.engine.engine import Continuation
from rella_cpp.engine.segments import Prompt

MOVIES = load_domain("movies")
HISTORY = [
    {"title": f"movie {number}", "rating": 1 + number % 5, "overview": f"the plot of {number} " * 3}
    for number in range(26)
]
TARGET = {"title": "Heat", "overview": "a thief"}


class Scripted(Engine):
    """A real model that writes what it is told: the number of its text, or nothing. Remembers what it was asked."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked_for: list[list[str]] = []
        self.silent = False

    def continuations(
        self, prompts: Sequence[Prompt], max_tokens: int, adapters: Sequence[Adapter] = (), *, end: str = ""
    ) -> list[Continuation]:
        assert not adapters and end == "<|im_end|>"
        before = len(self.texts)
        self.asked_for.append([self.vocabulary.decode(np.concatenate(prompt.merged)) for prompt in prompts])
        said = ["" if self.silent else f"Likes {before + place}." for place in range(len(prompts))]
        return [Continuation(text, True) for text in said]

    @property
    def texts(self) -> list[str]:
        return list(chain.from_iterable(self.asked_for))
