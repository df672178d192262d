"""How a quantised file looks, and the advice which one to make."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from rella_cli.views.terminal import console, count, facts, line, note, print_json

if TYPE_CHECKING:
    from rella_cpp import Advice
    from rella_gguf import Quantization


def show_quantization(made: "Quantization", *, as_json: bool) -> None:
    """Print what was written, and in which types."""
    if as_json:
        print_json({**asdict(made), "notes": made.notes})
        return
    facts(
        {
            "written": made.out,
            "type": made.type,
            "size": f"{made.bytes / 1e6:,.1f} MB (the source: {made.source_bytes / 1e6:,.1f} MB, {made.from_type})",
            "tensors": ", ".join(f"{group.tensors} {group.type}" for group in made.tensors),
        }
    )
    for text in made.notes:
        note(text)


def show_advice(rows: "Sequence[Advice]", chosen: "Advice", command: str, *, as_json: bool) -> None:
    """Print each quantisation's speed and loss, and the command that makes the one recommended."""
    if as_json:
        for row in rows:
            print_json({**asdict(row), "recommended": row is chosen})
        return
    out = console()
    out.print(_table(rows, chosen))
    if chosen.as_is:
        out.print("\nNone is clearly faster without losing more: keep the file as it is.", soft_wrap=True)
    else:
        out.print()
        out.print(line(command), soft_wrap=True)
    note(
        "tokens/s: reading a prompt of 256 tokens; loss: the share of the next token's probability that goes elsewhere"
    )
    if chosen.layers < chosen.of_layers:
        measured = f"measured on {count(chosen.layers, 'layer')} of {chosen.of_layers}"
        note(f"{measured}: the speed is an estimate for all of them, and with all of them more is lost")


def _table(rows: "Sequence[Advice]", chosen: "Advice") -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("type", "MB", "tokens/s", "speed", "loss", ""):
        table.add_column(name, justify="left" if name in ("type", "") else "right")
    for row in rows:
        remark = "as it is" if row.as_is else "recommended" if row is chosen else ""
        figures = f"{row.bytes / 1e6:,.0f}", f"{row.tokens_per_second:,.0f}", f"{row.relative:.2f}×", f"{row.loss:.1%}"
        table.add_row(row.type, *figures, remark)
    return table
