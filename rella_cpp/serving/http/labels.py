"""The probabilities of chosen tokens behind a text: SGLang's `/v1/score`, vLLM's `/generative_scoring`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.values import describe
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.segments import Prompt, Span
from rella_cpp.errors import ContextError, InputError

_PART = 32
"""Items that are read before other requests have their turn."""
_MOST = 10_000
"""Items of a request."""
Text = str | Sequence[int]


@dataclass(frozen=True, slots=True)
class LabelScoring:
    """A request: a query, items that continue it, and whose probabilities are wanted behind each.

    Attributes
    ----------
    query, items
        Texts, or token ids.
    labels
        Token ids.
    item_first
        Whether an item stands before the query.
    softmax
        Whether the labels' probabilities are to add up to 1; else they are shares of the whole vocabulary.

    """

    query: Text
    items: tuple[Text, ...]
    labels: tuple[int, ...]
    item_first: bool = False
    softmax: bool = True

    @classmethod
    def of(cls, value: object, vocabulary: int, *, softmax: bool) -> "LabelScoring":
        """Check a request; `vocabulary` is how many tokens the model has.

        Raises
        ------
        InputError
            A key is missing, or a value does not fit.

        """
        if not isinstance(value, dict):
            raise InputError(f"a request is an object, found {describe(value)}", remedy="give query and items")
        items = value.get("items")
        items = [items] if isinstance(items, str) else items
        if not isinstance(items, list) or not 0 < len(items) <= _MOST:
            raise InputError(f"is {describe(items)}", place="items", remedy=f"give 1 to {_MOST:,} texts")
        labels = _tokens(value.get("label_token_ids"), "label_token_ids", vocabulary)
        flags = {name: value.get(name, usual) for name, usual in (("item_first", False), ("apply_softmax", softmax))}
        for name, flag in flags.items():
            if not isinstance(flag, bool):
                raise InputError(f"is {describe(flag)}", place=name, remedy="give true or false")
        query = _text(value.get("query"), "query", vocabulary)
        texts = tuple(_text(item, f"items[{place}]", vocabulary) for place, item in enumerate(items))
        return cls(query, texts, tuple(labels), flags["item_first"], flags["apply_softmax"])

    def parts(self) -> "Iterator[LabelScoring]":
        """Yield requests of a few of the items each, in order: no large one is to hold up others."""
        for start in range(0, len(self.items), _PART):
            yield replace(self, items=self.items[start : start + _PART])

    def read(self, engine: Engine) -> tuple[list[list[float]], int]:
        """Return each item's probabilities of the labels, and how many tokens were read.

        Raises
        ------
        ContextError
            A prompt is longer than the context.

        """
        prompts = [self._prompt(engine, item, place) for place, item in enumerate(self.items)]
        found = [self._probabilities(logits[-1]) for logits in engine.logits(prompts)]
        return found, sum(len(prompt) for prompt in prompts)

    def _prompt(self, engine: Engine, item: Text, place: int) -> Prompt:
        first, second = (item, self.query) if self.item_first else (self.query, item)
        if isinstance(first, str) and isinstance(second, str):
            tokens = list(engine.encode([Span(first), Span(second)]).tokens)
        else:
            tokens = [*_ids(engine, first), *_ids(engine, second)]
        if not 0 < len(tokens) <= engine.n_ctx:
            finding = f"a prompt of {len(tokens)} tokens does not fit the context of {engine.n_ctx}"
            raise ContextError(finding, place=f"items[{place}]", remedy="send a shorter text")
        return Prompt((np.array(tokens, np.int32),))

    def _probabilities(self, logits: npt.NDArray[np.float32]) -> list[float]:
        wide = logits.astype(np.float64)
        labels = wide[list(self.labels)]
        whole = labels if self.softmax else wide
        top = whole.max()
        return [float(each) for each in np.exp(labels - top) / np.exp(whole - top).sum()]


def _ids(engine: Engine, text: Text) -> list[int]:
    return list(engine.encode([Span(text)]).tokens) if isinstance(text, str) else list(text)


def _text(value: object, place: str, vocabulary: int) -> Text:
    return value if isinstance(value, str) else _tokens(value, place, vocabulary)


def _tokens(value: object, place: str, vocabulary: int) -> list[int]:
    """Check a list of token ids."""
    remedy = f"give token ids, 0 to {vocabulary - 1:,}"
    if not isinstance(value, list) or not value:
        raise InputError(f"is {describe(value)}", place=place, remedy=remedy)
    for token in value:
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < vocabulary:
            raise InputError(f"has {describe(token)}", place=place, remedy=remedy)
    return value


def sglang_answer(found: Sequence[Sequence[float]], tokens: int, model: str) -> dict[str, Any]:
    """Return an answer as SGLang's: each item's probabilities of all labels."""
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
    return {"object": "scoring", "model": model, "scores": [list(each) for each in found], "usage": usage}


def vllm_answer(found: Sequence[Sequence[float]], tokens: int, model: str) -> dict[str, Any]:
    """Return an answer as vLLM's: each item's probability of the first label."""
    data = [{"index": index, "object": "score", "score": each[0]} for index, each in enumerate(found)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
    return {"object": "list", "model": model, "data": data, "usage": usage}
