"""What a model was made from, as its metadata tells: the files that it was quantized from, and merges."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rella_gguf.header import Header

MERGED = "rella.merged"
"""What was merged into a model: a JSON list, the latest merge last."""
_QUANTIZED_FROM = "rella.quantized_from"
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, ArithmeticError)
_FARTHEST = 16  # files that a chain goes back: none is as long


@dataclass(frozen=True, slots=True)
class Origin:
    """A model that another was made from.

    Attributes
    ----------
    fingerprint
        SHA-256 of its file (of a split one: of its parts' SHA-256s).
    adapters
        What was merged into it on the way, each adapter by the SHA-256 of its file, and its scale. Without any the
        other has its weights, but for rounding.

    """

    fingerprint: str
    adapters: tuple[tuple[str, float], ...] = ()


def quantized_from_key(step: int) -> str:
    """Return the metadata key for the fingerprint of the file that is `step` quantizations back, 1 the latest."""
    return _QUANTIZED_FROM if step == 1 else f"{_QUANTIZED_FROM}.{step}"


QUANTIZED_FROM_KEYS = tuple(map(quantized_from_key, range(1, _FARTHEST + 1)))
"""All that may be in a file. A merge starts anew: it has other weights."""


def quantized_from(header: Header) -> tuple[str, ...]:
    """Return the fingerprints of the files that a model was quantized from, the latest first."""
    found = []
    for key in QUANTIZED_FROM_KEYS:
        if not (text := header.text(key)):
            break
        found.append(text)
    return tuple(found)


def origins(header: Header) -> tuple[Origin, ...]:
    """Return all models that a model was made from, the latest first; `adapters` are all that were merged since."""
    found = [Origin(text) for text in quantized_from(header)]
    merged: tuple[tuple[str, float], ...] = ()
    for fingerprint, earlier, adapters in _merges(header):
        merged = (*adapters, *merged)
        found += [Origin(text, merged) for text in (fingerprint, *earlier)]
    return tuple(found)


def merged_records(header: Header) -> list[Mapping[str, Any]]:
    """Return how the adapters that were merged into a model were tuned, the latest merge last; of those that say it."""
    try:
        records = [each.get("record") for merge in json.loads(_merged(header)) for each in merge["adapters"]]
    except _DAMAGE:
        return []
    return [record for record in records if isinstance(record, dict)]


def _merges(header: Header) -> Iterator[tuple[str, list[str], tuple[tuple[str, float], ...]]]:
    """Read the merges, the latest first: the base, what that was quantized from, the adapters; up to a damaged one."""
    try:
        for merge in reversed(json.loads(_merged(header))):
            base: Mapping[str, Any] = merge["base"]
            adapters = tuple((str(each["sha256"]), float(each["scale"])) for each in merge["adapters"])
            yield str(base["sha256"]), list(map(str, base.get("quantized_from", []))), adapters
    except _DAMAGE:
        return


def _merged(header: Header) -> str:
    """Return the merges as they stand in a file, JSON; `[]` where there are none."""
    return header.text(MERGED) or "[]"
