"""`rella lora merge`: adapters into a base model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options

if TYPE_CHECKING:
    from rella_gguf import Change, Merge, MergedTensor, MergePlan


def merge(
    base: Annotated[Path, typer.Argument(metavar="BASE.gguf", help="The model; of a split one, its first part.")],
    adapters: Annotated[
        list[str],
        typer.Argument(metavar="ADAPTER[=SCALE]...", help="GGUF adapters, or folders that PEFT saved."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="OUT.gguf", help="The merged model to write.")
    ] = None,
    type_: Annotated[
        str,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="What the tensors changed become: keep (their own type), F32, F16, BF16, Q8_0, Q4_0, Q4_K or Q6_K. "
            "For the whole file: rella gguf quantize afterwards.",
        ),
    ] = "keep",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would change, and write nothing.")] = False,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads; else the cores, up to 8.")] = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Merge LoRA adapters into a model; tensors that no adapter touches are copied byte for byte."""
    from rella_cli.loading import parse_adapter
    from rella_cli.views.progress import ProgressBar
    from rella_cli.views.terminal import note, print_json
    from rella_gguf import InputError, gguf_adapters, merge_adapters, plan_merge

    if out is None and not dry_run:
        raise InputError(
            "no output is named", remedy="give it as -o OUT.gguf, or list what would change with --dry-run"
        )
    with gguf_adapters([parse_adapter(text) for text in adapters], base, out) as found:
        if dry_run or out is None:
            plan = plan_merge(base, found, out, type=type_, force=force)
            result, notes = _planned(plan), plan.notes
        else:
            with ProgressBar() as progress:
                done = merge_adapters(base, found, out, type=type_, force=force, threads=threads, progress=progress)
            result, notes = asdict(done), done.notes
    if as_json:
        print_json(result)
        return
    for text in notes:
        note(f"note: {text}")
    if dry_run or out is None:
        _show_plan(plan)
    else:
        _show(done, found)


def _planned(plan: "MergePlan") -> dict[str, object]:
    return {
        "base": str(plan.base),
        "type": plan.type,
        "changes": [asdict(change) for change in plan.changes],
        "copied": plan.copied,
        "bytes": plan.size,
        "notes": plan.notes,
    }


def _show_plan(plan: "MergePlan") -> None:
    from rich.table import Table

    from rella_cli.views.terminal import console, facts, line

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


def _show(done: "Merge", adapters: Sequence[tuple[Path, float]]) -> None:
    from rella_cli.views.terminal import facts

    shown: dict[str, str | tuple[str, ...]] = {
        "merged": done.out,
        "base": done.base,
        "adapters": ", ".join(f"{path.name} × {scale:g}" for path, scale in adapters),
        "changed": _kinds(done.changes),
        "copied": _copies(done.copied),
        "size": f"{done.bytes / 1e6:,.1f} MB",
    }
    if done.changes:
        most = max(done.changes, key=lambda change: change.relative_change)
        shown["largest change"] = f"{most.relative_change:.2%} of the weights, {most.tensor}"
    facts(shown)


def _kinds(changes: "Sequence[Change | MergedTensor]") -> tuple[str, ...]:
    """Count the tensors changed by their types before and after."""
    counts = Counter(f"{change.before} → {change.after}" for change in changes)
    return f"{len(changes):,} tensors", *(f"{number:,} {kind}" for kind, number in counts.most_common())


def _copies(number: int) -> str:
    return f"{number:,} tensors, byte for byte"
