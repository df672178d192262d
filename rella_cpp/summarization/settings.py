"""How a history is cut into blocks, and how blocks become one summary."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from rella_cpp.domains.domain import Domain
from rella_cpp.errors import InputError

Method = Literal["recurrent", "hierarchical"]

_MOST = 1_000_000
_LEAST = {"recent": 0, "block_size": 1, "max_blocks": 1, "item_tokens": 8, "summary_tokens": 8}


@dataclass(frozen=True, slots=True)
class SummarySettings:
    """How a history is summarized (LLM-TRSR).

    Attributes
    ----------
    method
        `recurrent`: the first block's summary, renewed with each next block; `hierarchical`: a summary of each block,
        then one of the summaries.
    recent
        The latest behaviors that a yes-or-no prompt shows beside the summary.
    block_size
        Behaviors in a block; the last block may have fewer.
    overlap
        Let blocks hold the recent behaviors, too.
    max_blocks
        Of a longer history, hierarchical summaries are of the latest blocks alone.
    item_tokens
        Tokens of a behavior's item text; a longer one is cut at a word's end.
    summary_tokens
        Tokens that a summary may have.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    method: Method = "recurrent"
    recent: int = 5
    block_size: int = 5
    overlap: bool = False
    max_blocks: int = 5
    item_tokens: int = 96
    summary_tokens: int = 96

    def __post_init__(self) -> None:
        """Check every value."""
        if self.method not in get_args(Method):
            raise InputError(f"method is {self.method!r}", remedy=f"one of {', '.join(get_args(Method))}")
        if not isinstance(self.overlap, bool):
            raise InputError(f"overlap is {self.overlap!r}", remedy="give true or false")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
                raise InputError(
                    f"{name.replace('_', ' ')} is {value!r}",
                    remedy=f"give a whole number, {least} to {_MOST:,} (--{name.replace('_', '-')})",
                )

    def segment(self, count: int) -> tuple[range, ...]:
        """Cut the rows 0 to `count` of a history, the oldest first, into blocks, aligned to its start."""
        end = count if self.overlap else max(0, count - self.recent)
        return tuple(range(start, min(start + self.block_size, end)) for start in range(0, end, self.block_size))

    def blocks(self, count: int) -> tuple[range, ...]:
        """Return the blocks that are summarized: hierarchical, the latest `max_blocks`."""
        blocks = self.segment(count)
        return blocks[-self.max_blocks :] if self.method == "hierarchical" else blocks

    def texts(self, count: int) -> int:
        """Count the texts that a history of `count` behaviors asks for."""
        blocks = len(self.blocks(count))
        return blocks + (self.method == "hierarchical" and blocks > 1)

    def read(self, count: int) -> list[int]:
        """Return the rows that blocks hold or that a yes-or-no prompt shows, ascending."""
        rows = {row for block in self.blocks(count) for row in block}
        return sorted(rows | set(range(max(0, count - self.recent), count)))

    def facts(self, domain: Domain) -> dict[str, object]:
        """Return all that summaries depend on besides the history and the model, as JSON."""
        return {**asdict(self), "wording": domain.summary_fingerprint}
