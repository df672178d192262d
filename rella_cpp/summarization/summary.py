"""Preference summaries: what a model wrote down of a user's history (LLM-TRSR)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """What was written after a block: its behaviors, by 0-based place in the input, and the text.

    Recurrent, the text is of everything up to this block; hierarchical, of the block alone.
    """

    behaviors: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class PreferenceSummary:
    """What a language model wrote down of a user's preferences (LLM-TRSR, arXiv 2403.13325).

    Attributes
    ----------
    text
        The summary; empty where the model wrote nothing, None where the history was too short for a block.
    method
        `recurrent` or `hierarchical`.
    blocks
        The blocks and what was written after each, the oldest first.
    generated
        How many texts were generated this time; the others were in the cache.
    shortened
        How many behaviors' item texts were cut.
    skipped
        How many older blocks were not read (`max_blocks`).

    """

    text: str | None
    method: str
    blocks: tuple[BlockSummary, ...]
    generated: int = 0
    shortened: int = 0
    skipped: int = 0

    @property
    def texts(self) -> int:
        """How many texts were written for it: one a block, and one of them all where that is another."""
        told = sum(1 for block in self.blocks if block.text)
        return len(self.blocks) + (self.method == "hierarchical" and len(self.blocks) > 1 and told > 0)

    @property
    def empty(self) -> int:
        """How many of these texts came out empty."""
        return sum(not block.text for block in self.blocks) + (self.text == "" and self.texts > len(self.blocks))

    def at(self, places: Sequence[int]) -> "PreferenceSummary":
        """Return this summary with its behaviors at other places: those of a longer history, say."""
        blocks = (replace(b, behaviors=tuple(places[row] for row in b.behaviors)) for b in self.blocks)
        return replace(self, blocks=tuple(blocks))

    def brief(self) -> dict[str, object]:
        """Return a JSON object of what a score says of it: the same whatever the cache held."""
        return {"text": self.text, "method": self.method, "blocks": len(self.blocks), "shortened": self.shortened}

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object."""
        return {
            "summary": self.text,
            "method": self.method,
            "blocks": [{"behaviors": list(block.behaviors), "summary": block.text} for block in self.blocks],
            "generated": self.generated,
            "shortened": self.shortened,
            "skipped": self.skipped,
            "empty": self.empty,
        }
