"""How a merge of adapters into a model looks: done, or planned."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from rella_cli.views.terminal import console, facts, line, note, print_json

if TYPE_CHECKING:
    from rella_gguf import Change, Merge, MergedTensor, MergePlan


def show_plan(plan: "MergePlan", *, as_json: bool) -> None:
    """Print what would change."""
    if as_json:
        print_json(
            {
                "base": str(plan.base),
                "type": plan.type,
                "changes": [asdict(change) for change in plan.changes],
                "copied": plan.copied,
                "bytes": plan.size,
                "notes": plan.notes,
            }
        )
        return
    _show_notes(plan.notes)
    table = Table(box=None, pad_edge=False)
    for name in ("tensor", "shape", "type", "adapters"):
        table.add_column(name, overflow="fold")
    for change in plan.changes:
        shape = " × ".join(map(str, change.shape))
        kind = f"{change.before} → {change.after}"
        table.add_row(line(change.tensor), shape, kind, line(", ".join(change.adapters)))
    console().print(table)
    facts(
        {"would change": _kinds(plan.changes), "would copy": _copies(plan.copied), "size": f"{plan.size / 1e6:,.1f} MB"}
    )


def show_merge(done: "Merge", adapters: Sequence[tuple[Path, float]], *, as_json: bool) -> None:
    """Print what was merged, and how much it changed."""
    if as_json:
        print_json(asdict(done))
        return
    _show_notes(done.notes)
    told: dict[str, str | tuple[str, ...]] = {
        "merged": done.out,
        "base": done.base,
        "adapters": ", ".join(f"{path.name} × {scale:g}" for path, scale in adapters),
        "changed": _kinds(done.changes),
        "copied": _copies(done.copied),
        "size": f"{done.bytes / 1e6:,.1f} MB",
    }
    if done.changes:
        most = max(done.changes, key=lambda change: change.relative_change)
        told["largest change"] = f"{most.relative_change:.2%} of the weights, {most.tensor}"
    facts(told)


def _show_notes(notes: Sequence[str]) -> None:
    for text in notes:
        note(f"note: {text}")


def _kinds(changes: "Sequence[Change | MergedTensor]") -> tuple[str, ...]:
    """Count the tensors changed by their types before and after."""
    counts = Counter(f"{change.before} → {change.after}" for change in changes)
    return f"{len(changes):,} tensors", *(f"{number:,} {kind}" for kind, number in counts.most_common())


def _copies(number: int) -> str:
    return f"{number:,} tensors, byte for byte"
