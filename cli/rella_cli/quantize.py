"""`rella gguf quantize` and `rella gguf advise`: another quantisation of a model, and which one to take."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options

if TYPE_CHECKING:
    from rella_cpp.advice import Advice

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[GGUF]",
        help="Model file, or hf:OWNER/REPO[:QUANT] once pulled. Else RELLA_MODEL, else the packaged SmolLM2-135M.",
        show_default=False,
    ),
]


def quantize(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="GGUF", help="The file to write.")],
    type: Annotated[str, typer.Option("--type", "-t", metavar="TYPE", help="Q8_0, Q4_K_M, Q4_0, F16 and so on.")],
    model: ModelArgument = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads; else all processors.")] = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Write a model in another quantisation, by llama.cpp. A quantised model gets no better by it."""
    from rella_cli.views.progress import ProgressBar
    from rella_cli.views.terminal import facts, note, print_json
    from rella_cpp import find_model
    from rella_gguf.quantizing import quantize as quantize_file

    with ProgressBar() as bar:
        made = quantize_file(find_model(model), out, type, threads=threads, force=force, progress=bar)
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


def advise(
    model: ModelArgument = None,
    types: Annotated[
        str | None,
        typer.Option("--types", metavar="TYPE,TYPE", help="What to try; else F16, BF16, Q8_0, Q6_K, Q4_K_M, Q4_0."),
    ] = None,
    layers: Annotated[
        int | None, typer.Option("--layers", help="Layers to measure; else as many as are quickly done.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="How often each is timed.", show_default=True)] = 3,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    flash_attn: options.FlashAttn = "auto",
    no_trial: options.NoTrial = False,
    as_json: options.Json = False,
) -> None:
    """Measure which quantisations of a model are fast on this machine, and what they lose; recommend one."""
    from rella_cli.loading import engine_settings, listen
    from rella_cli.views.progress import ProgressBar
    from rella_cli.views.terminal import print_json
    from rella_cpp import find_model
    from rella_cpp.advice import ADVISED_TYPES, recommended
    from rella_cpp.advice import advise as measure

    settings = engine_settings(None, threads, gpu_layers, flash_attn, "f16")
    wanted = ADVISED_TYPES if types is None else [name.strip() for name in types.split(",")]
    listen(False)
    path = find_model(model)
    with ProgressBar() as bar:
        how = {"layers": layers, "repeats": repeats, "settings": settings, "trial": not no_trial}
        rows = measure(path, types=wanted, progress=bar, **how)  # type: ignore[arg-type]
    chosen = recommended(rows)
    if as_json:
        for row in rows:
            print_json({**asdict(row), "recommended": row is chosen})
    else:
        _show(rows, chosen, _command(model, path, chosen.type))


def _show(rows: "Sequence[Advice]", chosen: "Advice", command: str) -> None:
    from rich.table import Table

    from rella_cli.views.terminal import console, count, line, note

    out = console()
    table = Table(box=None, pad_edge=False)
    for name in ("type", "MB", "tokens/s", "speed", "loss", ""):
        table.add_column(name, justify="left" if name in ("type", "") else "right")
    for row in rows:
        remark = "as it is" if row.as_is else "recommended" if row is chosen else ""
        figures = f"{row.bytes / 1e6:,.0f}", f"{row.tokens_per_second:,.0f}", f"{row.relative:.2f}×", f"{row.loss:.1%}"
        table.add_row(row.type, *figures, remark)
    out.print(table)
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


def _command(model: str | None, path: Path, type_name: str) -> str:
    """Write the command that makes the quantisation recommended, in the folder where the user stands."""
    stem = re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", path.name)
    stem = re.sub(r"(?i)[-._](I?Q\d\w*|B?F16|F32)$", "", stem)
    words = ["rella", "gguf", "quantize", *([model] if model else []), "-o", f"{stem}.{type_name}.gguf"]
    return shlex.join([*words, "--type", type_name])
