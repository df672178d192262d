"""`rella lora merge`: adapters into a base model."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.engine import threads_option
from rella_cli.options.gguf import type_option
from rella_cli.options.output import Force, Json, out_option


def merge(
    base: Annotated[Path, typer.Argument(metavar="BASE.gguf", help="The model; of a split one, its first part.")],
    adapters: Annotated[
        list[str],
        typer.Argument(metavar="ADAPTER[=SCALE]...", help="GGUF adapters, or folders that PEFT saved."),
    ],
    out: Annotated[Path | None, out_option("OUT.gguf", "The merged model to write.")] = None,
    type_: Annotated[
        str,
        type_option(
            "What the tensors changed become: keep (their own type), F32, F16, BF16, Q8_0, Q4_0, Q4_K or Q6_K. "
            "For the whole file: rella gguf quantize afterwards."
        ),
    ] = "keep",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would change, and write nothing.")] = False,
    threads: Annotated[int | None, threads_option("Threads; else the cores, up to 8.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Merge LoRA adapters into a model; tensors that no adapter touches are copied byte for byte."""
    from rella_cli.options.model import parse_adapter
    from rella_cli.views.progress import ProgressBar
    from rella_gguf import InputError, gguf_adapters, merge_adapters, plan_merge

    if out is None and not dry_run:
        raise InputError(
            "no output is named", remedy="give it as -o OUT.gguf, or list what would change with --dry-run"
        )
    with gguf_adapters([parse_adapter(text) for text in adapters], base, out) as found:
        if dry_run or out is None:
            plan = plan_merge(base, found, out, type=type_, force=force)
        else:
            with ProgressBar() as progress:
                done = merge_adapters(base, found, out, type=type_, force=force, threads=threads, progress=progress)
    from rella_cli.views.merge import show_merge, show_plan

    if dry_run or out is None:
        show_plan(plan, as_json=as_json)
    else:
        show_merge(done, found, as_json=as_json)
