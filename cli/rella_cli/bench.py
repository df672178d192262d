"""`rella bench`: how fast a model is on this machine, against what llama.cpp itself does."""

from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options

if TYPE_CHECKING:
    from rella_cpp.benching.results import Bench


def bench(
    model: options.Model = None,
    repeats: Annotated[int, typer.Option("--repeats", help="How often each is timed.", show_default=True)] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Read about a tenth: for a slow model.")] = False,
    ctx: options.Ctx = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    flash_attn: options.FlashAttn = "auto",
    kv_type: options.KvType = "f16",
    exact: options.Exact = False,
    no_trial: options.NoTrial = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Measure how fast a model scores, ranks, embeds and generates, as shares of what llama.cpp itself does.

    What is read is made up, always the same. Let nothing else run meanwhile.
    """
    from rella_cli.loading import engine_settings, listen
    from rella_cli.views.progress import ProgressBar
    from rella_cli.views.terminal import print_json
    from rella_cpp import find_model
    from rella_cpp.benching.measuring import bench as measure
    from rella_cpp.benching.mix import Mix

    settings = engine_settings(ctx, threads, gpu_layers, flash_attn, kv_type, exact)
    listen(verbose)
    with ProgressBar() as bar:
        mix = Mix.quick() if quick else Mix()
        found = measure(find_model(model), settings, mix=mix, repeats=repeats, progress=bar, trial=not no_trial)
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)


def _show(found: "Bench") -> None:
    from rich.table import Table

    from rella_cli.views.terminal import console, facts, line, note

    facts(_facts(found))
    table = Table(box=None, pad_edge=False)
    for name in ("", "tokens", "computed", "tokens/s", "computed/s", "raw/s", "ratio"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for measure in found.measures:
        rates = (f"{rate:,.0f}" for rate in (measure.rate, measure.computed_rate, measure.raw))
        table.add_row(
            measure.name, f"{measure.asked:,}", f"{measure.computed:,}", *rates, line(f"{measure.ratio:.2f}", "cyan")
        )
    out = console()
    out.print()
    out.print(table)
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


def _facts(found: "Bench") -> dict[str, str]:
    """Write machine, build, model, settings and input mix for a person."""
    from rella_cpp.benching.machine import describe

    lengths = (f"{kind} {mean:,.0f} ({least}–{most})" for kind, (least, mean, most) in found.prompt_tokens.items())
    return {
        **describe(found.surroundings),
        "tokens a prompt": ", ".join(lengths),
        "timed": f"medians of {found.repeats}, in turns",
    }
