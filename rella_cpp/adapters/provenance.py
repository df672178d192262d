"""The record of what an adapter or a soft prompt was tuned on: the manifest of its rows, and its base."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rella_cpp.errors import InputError
from rella_gguf.header import Header, read_header

_LONGEST_NAME = 100
_IDENTITY = ("name", "fingerprint")


def read_record(file: Path, given: Path) -> Mapping[str, Any] | None:
    """Read what an adapter was tuned on: the manifest of its rows, and its base; None where it does not say."""
    from rella_gguf import tuning_record

    record = tuning_record(read_header(file))
    if record is not None and not is_record(record):
        raise InputError(
            "has a record that is no manifest of rows",
            source=given,
            remedy="put the manifest that rella export wrote beside the rows there as rella.json, or nothing",
        )
    return record


def is_record(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is a manifest of rows, with or without its base; what is not said is None there."""
    domain, base = record.get("domain"), record.get("base") or {}
    if not isinstance(domain, dict) or not isinstance(base, dict):
        return False
    texts = (*map(domain.get, _IDENTITY), *map(base.get, _IDENTITY), record.get("chat_format"), record.get("layout"))
    return all(text is None or (isinstance(text, str) and len(text) <= _LONGEST_NAME) for text in texts)


def for_choices(record: Mapping[str, Any] | None) -> bool:
    """Tell whether rows of choices were tuned on (`rella export delrec`), and not such as yes or no answers."""
    return record is not None and "choice" in record["domain"]


def shows_averages(record: Mapping[str, Any] | None) -> bool:
    """Tell whether each line that was tuned on showed an average (`rella export stream`, without --drop)."""
    return record is not None and record.get("averages") is True


def check_record(record: Mapping[str, Any], source: Path, base: Header, made_for: Mapping[str, Any]) -> None:
    """Refuse a base, a wording or a chat format that something was not tuned on; what is not said is not compared.

    Parameters
    ----------
    record
        What it was tuned on.
    source
        The adapter or soft prompt, to name in errors.
    base
        The model in use.
    made_for
        The scorer's settings (`Rella.settings`), and `choice`: the domain's `choice_fingerprint`.

    Raises
    ------
    InputError
        Naming what differs.

    """
    from rella_gguf.lineage import quantized_from

    domain = made_for["domain"]
    wording = record.get("domain") or {"name": domain["name"], "fingerprint": domain["fingerprint"]}
    choice = wording.get("choice", made_for["choice"])
    tuned = record.get("base") or {}
    bases = {None, made_for["model"]["fingerprint"], *quantized_from(base)}
    frame = record.get("chat_format")
    if frame is None and (record.get("layout"), record.get("form")) == ("stream", "text"):
        frame = "none"  # the text of a stream is whole: no trainer frames it
    differences = (
        (
            wording.get("fingerprint") != domain["fingerprint"] or choice != made_for["choice"],
            f"the domain {wording.get('name')} in another wording than {domain['name']} has now",
        ),
        (
            tuned.get("fingerprint") not in bases,
            f"the model {tuned.get('name')} ({str(tuned.get('fingerprint'))[:12]}), not this one",
        ),
        (
            frame not in (None, made_for["chat_format"]),
            f"the chat format {frame}, not {made_for['chat_format']}",
        ),
    )
    layout, used = record.get("layout", "question"), made_for.get("layout", "question")
    if layout != used:
        raise InputError(
            f"was tuned on the layout {layout}, not {used}",
            source=source,
            remedy=f"add --layout {layout}, or take it as it is with --allow-mismatch",
        )
    for differs, what in differences:
        if differs:
            raise InputError(
                f"was tuned on {what}",
                source=source,
                remedy="give what it was tuned on, or take it as it is with --allow-mismatch",
            )
