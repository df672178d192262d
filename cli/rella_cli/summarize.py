"""`rella summarize`: what a person prefers, written down block by block (LLM-TRSR)."""

from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options
from rella_cli.summary_options import with_summary

if TYPE_CHECKING:
    from rella_cpp import SummarySettings


@with_summary(always=True)
def summarize(
    history: Annotated[
        str | None, typer.Option("--history", metavar="FILE", help="A person's history, or - for standard input.")
    ] = None,
    domain: options.DataDomain = None,
    model: options.Model = None,
    chat_format: options.ChatFormat = None,
    ctx: options.Ctx = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    flash_attn: options.FlashAttn = "auto",
    kv_type: options.KvType = "f16",
    exact: options.Exact = False,
    no_cache: options.NoCache = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
    summary: "SummarySettings | None" = None,
) -> None:
    """Write down what a person prefers: shows the blocks of the history, and how the summary grew."""
    from rella_cli.loading import engine_settings, open_rella
    from rella_cli.progress import ProgressBar
    from rella_cpp import InputError, load_domain, read_history

    if history is None:
        raise InputError("there is no history", remedy="give --history FILE")
    assert summary is not None
    engine = engine_settings(ctx, threads, gpu_layers, flash_attn, kv_type, exact)
    words = load_domain(domain or "movies")
    behaviors = read_history(history, words).behaviors
    with open_rella(model, words, [], chat_format, engine, no_cache, verbose) as rella, ProgressBar() as rella.progress:
        (found,) = rella.summarize([behaviors], summary)
        model_name = rella.model
    from rella_cli import summaries  # it brings rich

    summaries.Growing(words, behaviors, found, summary, model_name).show(as_json=as_json)
