"""What goes in (items, behaviors, users) and what comes out (scores)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rella_cpp.domains.values import TIMES_TAKEN, describe, plain, read_number, read_time
from rella_cpp.engine.identity import ModelIdentity
from rella_cpp.errors import InputError

_BEHAVIOR_KEYS = ("rating", "timestamp")


@dataclass(frozen=True, slots=True)
class Item:
    """Something to recommend: its fields by name, as the domain names them (`title`, `genres`, …).

    Fields that the domain does not show (an `id`, a link) may be there too; they never reach a prompt. NaN is None.
    """

    fields: Mapping[str, object]

    @classmethod
    def of(cls, value: "Item | Mapping[str, object]") -> "Item":
        """Take an item as it is, or a plain mapping of fields as in an item file.

        Raises
        ------
        InputError
            `value` is neither.

        """
        if isinstance(value, Item) and isinstance(value.fields, Mapping):
            fields = _plain(value.fields)
            return value if fields is value.fields else cls(fields)
        if not isinstance(value, Mapping):
            raise InputError(f"an item is an object, found {describe(value)}", remedy='give {"title": "…"}')
        return cls(dict(_plain(value)))


@dataclass(frozen=True, slots=True)
class Behavior:
    """One item of a user's history, with its rating on the domain's scale and its time (Unix seconds)."""

    item: Item
    rating: float | None = None
    timestamp: float | None = None

    @classmethod
    def of(cls, value: "Behavior | Mapping[str, object]") -> "Behavior":
        """Take a behavior as it is, or a plain mapping: an item's fields, `rating` and `timestamp`.

        A timestamp is a number (Unix seconds; also ms, µs or ns, told by size), ISO 8601 text or a datetime (without
        an offset: UTC). Numbers may come as text; NaN and blanks are no value.

        Raises
        ------
        InputError
            `value` is neither, or its rating or timestamp is of the wrong type.

        """
        if isinstance(value, Behavior):
            return replace(
                value,
                item=Item.of(value.item),
                rating=_number(value.rating, "rating", "give a number"),
                timestamp=_time(value.timestamp),
            )
        if not isinstance(value, Mapping):
            raise InputError(f"a behavior is an object, found {describe(value)}", remedy='give {"title": "…"}')
        return cls(
            Item.of({key: entry for key, entry in value.items() if key not in _BEHAVIOR_KEYS}),
            _number(value.get("rating"), "rating", "give a number"),
            _time(value.get("timestamp")),
        )


@dataclass(frozen=True, slots=True)
class User:
    """What is known of a user, by field name (`age`, `occupation`, …)."""

    fields: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, value: "User | Mapping[str, object] | None") -> "User":
        """Take a user as it is, a plain mapping of fields, or None for somebody unknown.

        Raises
        ------
        InputError
            `value` is none of these.

        """
        if isinstance(value, User) and isinstance(value.fields, Mapping):
            fields = _plain(value.fields)
            return value if fields is value.fields else cls(fields)
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            raise InputError(f"a user is an object, found {describe(value)}", remedy='give {"age": "25-34"}')
        return cls(dict(_plain(value)))


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


@dataclass(frozen=True, slots=True)
class Score:
    """How likely the user is to like one item.

    Attributes
    ----------
    item
        The target item.
    probability
        Click probability, `softmax(yes_logit, no_logit)` (ReLLa §3.1): between 0 and 1, not calibrated.
    yes_logit, no_logit
        Logits of the two answer tokens at the answer position.
    answer_mass
        Share of the full softmax that the two answers hold: near 0, the model does not answer in that form.
    prompt_tokens
        Tokens that were read.
    used
        0-based places, in the input, of the behaviors in the prompt, in prompt order.
    dropped
        How many chosen behaviors were left out for the context's sake.
    model
        Which model and adapters judged.
    excluded
        How many behaviors were left out because they are the target itself.
    prompt
        The prompt's text, control tokens as they are written.
    empty_gap
        The logit gap that the same target gets with no history and no profile; None unless contrast was asked for.
    calibrated
        The calibrated probability; None without a calibration.
    head_logit
        What a head made of the hidden states; None without one.
    summary
        The preference summary in the prompt; None where histories are read without one.

    """

    item: Item
    probability: float
    yes_logit: float
    no_logit: float
    answer_mass: float
    prompt_tokens: int
    used: tuple[int, ...]
    dropped: int
    model: ModelIdentity
    excluded: int = 0
    prompt: str = ""
    empty_gap: float | None = None
    calibrated: float | None = None
    head_logit: float | None = None
    summary: PreferenceSummary | None = None

    @property
    def gap(self) -> float:
        """The logit that calibration takes: the head's if there is one, else the gap yes − no."""
        return self.yes_logit - self.no_logit if self.head_logit is None else self.head_logit

    @property
    def head(self) -> float | None:
        """The head's probability."""
        return None if self.head_logit is None else click_probability(self.head_logit)

    @property
    def contrast(self) -> float | None:
        """The probability of the gap above the empty gap (contextual calibration, Zhao et al. 2021)."""
        if self.empty_gap is None:
            return None
        return click_probability(self.gap - self.empty_gap)

    @property
    def best(self) -> float:
        """The probability to go by: the calibrated one, else the head's, else the contrast, else the plain one."""
        return next(p for p in (self.calibrated, self.head, self.contrast, self.probability) if p is not None)

    def extras(self) -> dict[str, object]:
        """Return the keys that are there only where they were asked for."""
        found = {
            "head": self.head,
            "head_logit": self.head_logit,
            "contrast": self.contrast,
            "empty_gap": self.empty_gap,
            "calibrated": self.calibrated,
            "summary": None if self.summary is None else self.summary.brief(),
        }
        return {name: value for name, value in found.items() if value is not None}

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object with the documented keys; `extras`, `excluded` unless 0, never the prompt."""
        result: dict[str, object] = {
            "item": dict(self.item.fields),
            "probability": self.probability,
            "yes_logit": self.yes_logit,
            "no_logit": self.no_logit,
            "answer_mass": self.answer_mass,
            "prompt_tokens": self.prompt_tokens,
            "used": list(self.used),
            "dropped": self.dropped,
            "model": self.model.as_dict(),
        }
        if self.excluded:
            result["excluded"] = self.excluded
        return result | self.extras()


def click_probability(gap: float) -> float:
    """Return the probability that a gap of two logits stands for."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, gap))))


def _plain(fields: Mapping[str, object]) -> Mapping[str, object]:
    """Return fields with None for what is missing (NaN) and Python's own numbers for numpy's: themselves, mostly."""
    known = {name: plain(value) for name, value in fields.items()}
    return fields if all(known[name] is value for name, value in fields.items()) else known


def _number(value: object, name: str, remedy: str) -> float | None:
    try:
        return read_number(value)
    except ValueError:
        raise InputError(f"{name} is {describe(value)}, not a number", remedy=remedy) from None


def _time(value: object) -> float | None:
    try:
        return read_time(value)
    except (ValueError, OverflowError):
        kind = "a time" if isinstance(value, str) else "a number that is a time"
        raise InputError(
            f"timestamp is {describe(value)}, not {kind}", remedy=f"give {TIMES_TAKEN} such as 2024-05-01T20:15:00"
        ) from None
