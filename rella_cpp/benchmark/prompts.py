"""A mix as prompts for one model: framed, tokenized, and small enough for its context."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.benchmark.workload import USER, Mix, long_text, unshared
from rella_cpp.domains.inputs import take_history, take_items
from rella_cpp.domains.records import Item, User
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.segments import Span
from rella_cpp.errors import ContextError
from rella_cpp.prompts.item import item_text
from rella_cpp.prompts.question import Question
from rella_cpp.prompts.yes_no import write_prompt
from rella_cpp.recommender.rella import Rella

Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class MixPrompts:
    """What a mix reads, as tokens.

    Attributes
    ----------
    scored
        By length: prompts that share nothing.
    ranked
        The questions that `Rella.rank` asks.
    catalog
        The items to embed.
    embedded
        Their texts.
    generated
        Texts to continue; they share nothing.

    """

    scored: dict[int, list[Tokens]]
    ranked: list[Question]
    catalog: tuple[Item, ...]
    embedded: list[Tokens]
    generated: list[Tokens]

    @classmethod
    def of(cls, mix: Mix, rella: Rella, path: str | Path) -> Self:
        """Write and tokenize everything.

        Raises
        ------
        ContextError
            A prompt does not fit the context of the model at `path`.

        """
        engine, counts = rella.engine, {length: max(1, mix.tokens // length) for length in mix.lengths}
        lengths = [length for length, count in counts.items() for _ in range(count)]
        cut = unshared(engine.vocabulary.tokenize(long_text()), lengths + [mix.text_tokens] * mix.texts)
        catalog = take_items(mix.catalog, rella.domain)
        prompts = cls(
            scored={length: [prompt for prompt in cut[: len(lengths)] if len(prompt) == length] for length in counts},
            ranked=rank_questions(rella, mix),
            catalog=catalog,
            embedded=[_tokens(engine, item_text(rella.domain, item)) for item in catalog],
            generated=cut[len(lengths) :],
        )
        prompts._check(engine.n_ctx, mix.new_tokens, path)
        return prompts

    def lengths(self) -> dict[str, tuple[int, float, int]]:
        """Return the least, mean and greatest length by kind of work."""
        kinds = {
            "score": [len(prompt) for prompts in self.scored.values() for prompt in prompts],
            "rank": [len(question.tokens) for question in self.ranked],
            "embed": list(map(len, self.embedded)),
            "generate": list(map(len, self.generated)),
        }
        return {kind: (min(counts), sum(counts) / len(counts), max(counts)) for kind, counts in kinds.items()}

    def joined(self, size: int, most: int) -> list[Tokens]:
        """Return the texts to embed, one behind the other, `most` tokens of them at most, in pieces of `size`."""
        whole = np.concatenate(self.embedded)[:most]
        return [whole[start : start + size] for start in range(0, len(whole), size)]

    def _check(self, n_ctx: int, new_tokens: int, path: str | Path) -> None:
        longest = {kind: most for kind, (_, _, most) in self.lengths().items()}
        longest["generate"] += new_tokens
        kind = max(longest, key=lambda kind: longest[kind])
        if longest[kind] > n_ctx:
            raise ContextError(
                f"to {kind}, the mix has a prompt of {longest[kind]} tokens; the context holds {n_ctx}",
                source=path,
                remedy="raise --ctx, or take a model that was trained on more",
            )


def rank_questions(rella: Rella, mix: Mix) -> list[Question]:
    """Return the questions that `Rella.rank` asks for the mix's targets after its recent behaviors."""
    shown = [behavior for _, behavior in take_history(mix.history, rella.domain)]
    targets: Sequence[Item] = take_items(mix.targets, rella.domain)
    return [rella.prompts.question(write_prompt(rella.domain, User(USER), shown, target)) for target in targets]


def _tokens(engine: Engine, text: str) -> Tokens:
    return np.asarray(engine.encode([Span(text)]).tokens, dtype=np.int32)
