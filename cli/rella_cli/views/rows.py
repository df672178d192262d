"""How the files of rows for a trainer look."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rella_cli.views.terminal import facts, print_json

if TYPE_CHECKING:
    from rella_cpp import StreamSequences, TuningRows


def show_rows(
    rows: "TuningRows", told: Mapping[str, str], *, as_json: bool, more: Mapping[str, object] | None = None
) -> None:
    """Print which files were written, and what is told of them; `more` stands in the JSON beside them."""
    if as_json:
        found = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(rows).items()}
        print_json(found | {**(more or {})})
        return
    liked = "" if rows.liked is None else f", {rows.liked:.1%} liked"
    files = {"rows": f"{rows.rows:,} in {rows.train}{liked}"}
    if rows.valid is not None:
        files["validation"] = f"{rows.valid_rows:,} in {rows.valid}"
    facts(files | {**told} | {"manifest": str(rows.manifest)})


def show_sequences(rows: "TuningRows", sequences: "StreamSequences", *, as_json: bool) -> None:
    """Print the same of rows with many answers."""
    counts, unrated = sequences.counts, sequences.unrated
    tokens = f", {counts.tokens:,} tokens" if counts.tokens else ""
    told = {"answers": f"{counts.answers:,}{tokens}"}
    if counts.valid:
        told["validation answers"] = f"{counts.valid:,}"
    left = {"without a rating": unrated, "that would be a sequence's only line": sequences.alone}
    if said := [f"{count:,} behaviors {why}" for why, count in left.items() if count]:
        told["left out"] = ", ".join(said)
    more = {"answers": counts.answers, "tokens": counts.tokens or None, "valid_answers": counts.valid}
    show_rows(rows, told, as_json=as_json, more=more | {"left_out": unrated, "alone": sequences.alone})
