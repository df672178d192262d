"""What was merged into a model, as its metadata tells: the key `rella.merged`, a JSON list, the latest merge last."""

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from rella_gguf.header import Header
from rella_gguf.inspection import tuning_record
from rella_gguf.lineage import MERGED, quantized_from
from rella_gguf.lora.pairs import LoraAdapter

UNKNOWN = "0" * 64
"""Stands for a SHA-256 that is not known yet, so that the text has its length already."""


def merged_text(base: Header, sha256: str, adapters: Sequence[tuple[LoraAdapter, str]], kind: str) -> str:
    """Write `rella.merged`: what the base says of earlier merges, then this one.

    Parameters
    ----------
    base
        The model merged into.
    sha256
        Of its file (of a split model: of its parts' SHA-256s).
    adapters
        With the SHA-256 of each one's file. What an adapter says of its tuning is kept.
    kind
        The type wanted for the tensors changed.

    Raises
    ------
    GGUFError
        What an adapter says of its tuning was changed.

    """
    chain = list(quantized_from(base))
    named = {"name": base.text("general.name"), "file": base.path.name, "sha256": sha256}
    merge = {
        "base": named | ({"quantized_from": chain} if chain else {}),
        "adapters": [_adapter(adapter, digest) for adapter, digest in adapters],
        "type": kind,
        "rella-cpp": version("rella-cpp"),
    }
    return json.dumps([*_earlier(base), merge], ensure_ascii=False)


def strangers(base: Header, sha256: str, adapters: Sequence[LoraAdapter]) -> Iterator[str]:
    """Say which adapters were tuned on another model than the base, or those that it was quantized from."""
    for adapter in adapters:
        tuned = (tuning_record(adapter.header) or {}).get("base")
        fingerprint = tuned.get("fingerprint") if isinstance(tuned, dict) else None
        if fingerprint not in (None, sha256, *quantized_from(base)):
            yield f"{adapter.path.name} was tuned on another model than {base.path.name} ({str(fingerprint)[:12]})"


def _adapter(adapter: LoraAdapter, digest: str) -> dict[str, object]:
    facts: dict[str, object] = {"file": adapter.path.name, "sha256": digest, "scale": adapter.scale}
    record = tuning_record(adapter.header)
    return facts if record is None else facts | {"record": record}


def _earlier(base: Header) -> list[object]:
    """Read the list of earlier merges; what is none is kept as it is, as the first of them."""
    text = base.text(MERGED)
    try:
        earlier: object = json.loads(text or "[]")
    except (ValueError, RecursionError):
        earlier = text
    return earlier if isinstance(earlier, list) else [earlier]
