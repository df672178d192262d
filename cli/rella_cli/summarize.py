"""`rella summarize`: what people prefer, written down block by block (LLM-TRSR): one history, or a data set's."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options
from rella_cli.summary_options import with_summary

if TYPE_CHECKING:
    from rella_cpp import CollectionSettings, Domain, Rella, SummarySettings

    Load = Callable[[Domain], Rella]

_DATA = "Samples of a data set"


@with_summary(always=True)
def summarize(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="A prepared data set.", show_default=False)
    ] = None,
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="FILE", help="In place of DATA: one history, or - for standard input."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="SUMMARIES", help="The summaries' folder.", rich_help_panel=_DATA),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="train|valid|test|all", help="Whose samples.", rich_help_panel=_DATA)
    ] = "all",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", help="How many samples to draw of each split, as rella evaluate does.", rich_help_panel=_DATA
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which samples are drawn.", rich_help_panel=_DATA)] = 0,
    force: options.Force = False,
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain", "-d", metavar="NAME|TOML", help="What the items are; else the data's, of a history movies."
        ),
    ] = None,
    model: options.Model = None,
    chat_format: options.ChatFormat = None,
    ctx: options.Ctx = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    flash_attn: options.FlashAttn = "auto",
    kv_type: options.KvType = "f16",
    exact: options.Exact = False,
    no_trial: options.NoTrial = False,
    no_cache: options.NoCache = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
    summary: "SummarySettings | None" = None,
) -> None:
    """Write down what people prefer. Of one history: shows its blocks, and how the summary grew.

    Of a data set: one summary for each sample, of what stands before its target. Killed, the same command goes on;
    finished, it prints the report.
    """
    from rella_cli.loading import engine_settings, open_rella
    from rella_cpp import CollectionSettings, InputError

    assert summary is not None
    if (data is None) == (history is None):
        raise InputError("give DATA or --history FILE, and not both", remedy="see rella summarize --help")
    if history is not None and (out is not None or split != "all" or limit is not None or seed or force):
        raise InputError(
            "-o, --split, --limit, --seed and --force are for DATA", source=history, remedy="leave them out"
        )
    if data is not None and out is None:
        raise InputError("the summaries need a folder", source=data, remedy="name it: -o SUMMARIES")
    engine = engine_settings(ctx, threads, gpu_layers, flash_attn, kv_type, exact)

    def load(words: "Domain") -> "Rella":
        return open_rella(model, words, [], chat_format, engine, no_cache, verbose, no_trial=no_trial)

    if history is not None:
        _one(history, domain or "movies", load, summary, as_json=as_json)
    elif data is not None and out is not None:
        settings = CollectionSettings(split, limit, seed, summary)
        _all_of(data, domain, out, load, settings, force=force, as_json=as_json)


def _one(history: str, domain: str, load: "Load", settings: "SummarySettings", *, as_json: bool) -> None:
    """Summarise one history; show how."""
    from rella_cli.loading import listen, placed_in_files
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import load_domain, read_history

    listen(False)
    words = load_domain(domain)
    past = read_history(history, words)
    behaviors = past.behaviors
    with load(words) as rella, placed_in_files(past), ProgressBar() as rella.progress:
        (found,) = rella.summarize([behaviors], settings)
        base = rella.vectors.base
    from rella_cli.views import summaries  # it brings rich

    summaries.Growing(words, behaviors, found, settings, base).show(as_json=as_json)


def _all_of(
    data: Path,
    domain: str | None,
    out: Path,
    load: "Load",
    settings: "CollectionSettings",
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Summarise a data set's samples; show the report."""
    from rella_cli.loading import open_data, resumable
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import write_summaries

    source, words, _ = open_data(data, domain, None, False)
    with resumable(), load(words) as rella, ProgressBar() as bar:
        written = write_summaries(source, out, settings, author=rella.summarizer, force=force, progress=bar)
    from rella_cli.views import summaries  # it brings rich

    summaries.show_written(written, as_json=as_json)
