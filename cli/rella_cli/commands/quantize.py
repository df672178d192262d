"""`rella gguf quantize` and `rella gguf advise`: another quantisation of a model, and which one to take."""

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.engine import EngineOptions, Repeats, threads_option
from rella_cli.options.gguf import type_option
from rella_cli.options.groups import only, with_groups
from rella_cli.options.model import ModelArgument
from rella_cli.options.output import Force, Json, out_option


def quantize(
    out: Annotated[Path, out_option("GGUF", "The file to write.")],
    type: Annotated[str, type_option("Q8_0, Q4_K_M, Q4_0, F16 and so on.", "-t")],
    model: ModelArgument = None,
    threads: Annotated[int | None, threads_option("Threads; else all processors.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a model in another quantisation, by llama.cpp. A quantised model gets no better by it."""
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import find_model
    from rella_gguf import quantize as quantize_file

    with ProgressBar() as bar:
        made = quantize_file(find_model(model), out, type, threads=threads, force=force, progress=bar)
    from rella_cli.views.quantization import show_quantization

    show_quantization(made, as_json=as_json)


@with_groups
def advise(
    engine: Annotated[EngineOptions, only("threads", "gpu_layers", "flash_attn", "no_trial")],
    model: ModelArgument = None,
    types: Annotated[
        str | None,
        typer.Option("--types", metavar="TYPE,TYPE", help="What to try; else F16, BF16, Q8_0, Q6_K, Q4_K_M, Q4_0."),
    ] = None,
    layers: Annotated[
        int | None, typer.Option("--layers", help="Layers to measure; else as many as are quickly done.")
    ] = None,
    repeats: Repeats = 3,
    as_json: Json = False,
) -> None:
    """Measure which quantisations of a model are fast on this machine, and what they lose; recommend one."""
    from rella_cli.log import listen
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import ADVISED_TYPES, AdviceSettings, find_model, recommended
    from rella_cpp import advise as measure

    settings = engine.settings()
    names = ADVISED_TYPES if types is None else [name.strip() for name in types.split(",")]
    listen(False)
    path = find_model(model)
    with ProgressBar() as bar:
        wanted = AdviceSettings(names, layers, repeats)
        rows = measure(path, wanted, engine=settings, trial=not engine.no_trial, progress=bar)
    chosen = recommended(rows)
    from rella_cli.views.quantization import show_advice

    show_advice(rows, chosen, quantize_command(model, path, chosen.type), as_json=as_json)


def quantize_command(model: str | None, path: Path, type_name: str) -> str:
    """Write the command that makes the quantisation recommended, in the folder where the user stands."""
    stem = re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", path.name)
    stem = re.sub(r"(?i)[-._](I?Q\d\w*|B?F16|F32)$", "", stem)
    words = ["rella", "gguf", "quantize", *([model] if model else []), "-o", f"{stem}.{type_name}.gguf"]
    return shlex.join([*words, "--type", type_name])
