"""`rella tune`: few-shot judgement with no trainer."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli import options

_USEFUL = 0.55

app = typer.Typer(help="Fit a judgement on a few hundred samples, with no trainer.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Fit a judgement on a few hundred samples, with no trainer."""


@app.command()
def head(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A prepared data set.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The head's folder.")],
    shots: options.Shots = 256,
    k: options.K = 30,
    mix: options.Mix = "both",
    order: options.Order = "time",
    parts: Annotated[
        str,
        typer.Option(
            "--parts",
            metavar="last,mean,gap",
            help="What it reads: the hidden state at the answer, its mean over target and question, the logit gap.",
        ),
    ] = "last,mean,gap",
    seed: options.Seed = 0,
    domain: options.DataDomain = None,
    index: options.Index = None,
    model: options.Model = None,
    lora: options.Lora = None,
    soft: options.Soft = None,
    chat_format: options.ChatFormat = None,
    ctx: options.Ctx = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    flash_attn: options.FlashAttn = "auto",
    kv_type: options.KvType = "f16",
    no_trial: options.NoTrial = False,
    no_cache: options.NoCache = False,
    allow_mismatch: options.AllowMismatch = False,
    force: options.Force = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Fit a logistic regression on the model's hidden states at the end of N samples' prompts.

    From the training split alone. Any GGUF serves, with adapters or without; --head uses it. Killed, the same command
    goes on where it was.
    """
    from contextlib import ExitStack

    from rella_cli.loading import engine_settings, open_data, open_rella, resumable
    from rella_cli.views.progress import ProgressBar
    from rella_cli.views.terminal import facts, note, print_json
    from rella_cpp import Examples, Histories, TuningSettings, tune_head

    settings = TuningSettings(shots, k, mix, order, seed)  # type: ignore[arg-type]  # it checks them
    engine = engine_settings(ctx, threads, gpu_layers, flash_attn, kv_type)
    with ExitStack() as stack:
        stack.enter_context(resumable())
        source, words, catalog = open_data(data, domain, index, allow_mismatch, no_cache)
        rella = stack.enter_context(
            open_rella(
                model,
                words,
                lora or [],
                chat_format,
                engine,
                no_cache,
                verbose,
                soft=soft,
                allow_mismatch=allow_mismatch,
                no_trial=no_trial,
            )
        )
        bar = stack.enter_context(ProgressBar())
        examples = Examples(source, Histories(source, catalog, words, bar), words, settings)
        fitted = tune_head(
            examples, rella, out, parts=[part.strip() for part in parts.split(",")], force=force, progress=bar
        )
    found = fitted.fitted_on
    if found["cross_validated"]["AUC"] < _USEFUL:
        note("warning: hardly better than chance within the training rows: give more --shots")
    if as_json:
        print_json({"head": str(out), "fitted_on": dict(found)})
        return
    facts(
        {
            "head": str(out),
            "rows": f"{found['rows']:,}",
            "reads": ", ".join(found["parts"]),
            "strength": f"C = {found['strength']:.2g}",
            **{f"{name}, cross-validated": f"{value:.4f}" for name, value in found["cross_validated"].items()},
        }
    )
