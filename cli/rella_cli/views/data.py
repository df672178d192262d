"""How a prepared data set looks."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.table import Table

from rella_cli.views.terminal import console, facts, line, lines, print_json

if TYPE_CHECKING:
    from rella_cpp import Summary

_BAR = 40


def show_data(summary: "Summary", folder: Path, *, as_json: bool, full: bool) -> None:
    """Print what a data set holds; with `full` also its rules, ratings and lengths of histories."""
    if as_json:
        print_json({"folder": str(folder), **summary.as_dict()})
        return
    counted = _counts(summary, folder)
    if not full:
        facts(counted | ({"texts": _text(summary.rules["texts"])} if "texts" in summary.rules else {}))
        return
    rules = {name: value for name, value in summary.rules.items() if name != "averages"}  # told in words
    facts(counted | {f"rule: {name}": _text(value) for name, value in rules.items()})
    if summary.ratings:
        console().print(_bars("ratings", summary.ratings))
    if summary.lengths:
        named = {_span(part.low, part.high): part.samples for part in summary.lengths}
        words = ", ".join(f"{name} {value:,.1f}".removesuffix(".0") for name, value in summary.history.items())
        console().print(_bars(f"samples by length of history ({words})", named))


def _counts(summary: "Summary", folder: Path) -> dict[str, str]:
    counted = {"folder": str(folder), "format": f"{summary.format}, domain {summary.domain}"}
    for name in ("users", "items", "interactions"):
        counted[name] = f"{getattr(summary, name):,}"
    for split in summary.splits:
        rate = "" if split.label_rate is None else f", {split.label_rate:.1%} liked"
        counted[split.name] = f"{split.samples:,} samples of {split.users:,} users{rate}"
    if isinstance(rule := summary.rules.get("averages"), dict):
        counted["averages"] = (
            "each item's mean rating as it was known, of training ratings alone; "
            f"smoothed by {rule.get('smoothing')} of the mean of all items ({rule.get('middle'):g} before any rating)"
        )
    for file, kinds in summary.left_out.items():
        counted[f"left out of {file}"] = "; ".join(f"{number:,} × {kind}" for kind, number in kinds.items())
    if repaired := [f"{number:,} {kind}" for kind, number in summary.repaired.items() if number]:
        counted["mended"] = "; ".join(repaired)
    return counted


def _text(value: object) -> str:
    if isinstance(value, list):
        return ":".join(map(str, value))
    return ", ".join(f"{name} = {entry}" for name, entry in value.items()) if isinstance(value, dict) else str(value)


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _bars(title: str, counts: Mapping[str, int]) -> Table:
    """Return a table with a bar for every count."""
    table = Table(box=None, pad_edge=False, show_header=False, title=lines(f"\n{title}"), title_justify="left")
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column(width=_BAR)
    for name, number in counts.items():
        table.add_row(line(name), f"{number:,}", Bar(max(counts.values()), 0, number, width=_BAR))
    return table
