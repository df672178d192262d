"""How the figures of a bench look."""

from typing import TYPE_CHECKING

from rich.table import Table

from rella_cli.views.terminal import console, facts, line, note, print_json

if TYPE_CHECKING:
    from rella_cpp import Bench


def show_bench(found: "Bench", *, as_json: bool) -> None:
    """Print what was measured, and what the figures mean."""
    if as_json:
        print_json(found.as_dict())
        return
    facts(_facts(found))
    out = console()
    out.print()
    out.print(_table(found))
    out.print()
    out.print(
        f"{found.measures[-1].prompts} texts are generated {found.generation_speedup:.1f} times as fast together as "
        "one after another.",
        soft_wrap=True,
    )
    note(
        "raw/s: what llama_decode itself does with such tokens; ratio: tokens/s as a share of raw/s × tokens / "
        "computed, the rate if nothing else took time"
    )


def _table(found: "Bench") -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("", "tokens", "computed", "tokens/s", "computed/s", "raw/s", "ratio"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for measure in found.measures:
        rates = (f"{rate:,.0f}" for rate in (measure.rate, measure.computed_rate, measure.raw))
        table.add_row(
            measure.name, f"{measure.asked:,}", f"{measure.computed:,}", *rates, line(f"{measure.ratio:.2f}", "cyan")
        )
    return table


def _facts(found: "Bench") -> dict[str, str]:
    """Write machine, build, model, settings and input mix for a person."""
    from rella_cpp.benchmark.machine import describe

    lengths = (f"{kind} {mean:,.0f} ({least}–{most})" for kind, (least, mean, most) in found.prompt_tokens.items())
    return {
        **describe(found.surroundings),
        "tokens a prompt": ", ".join(lengths),
        "timed": f"medians of {found.repeats}, in turns",
    }
