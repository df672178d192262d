"""`rella evaluate`: a model and plain baselines on a data set's samples, into a run's folder."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options
from rella_cli.summary_options import with_summary

if TYPE_CHECKING:
    from rella_cpp import Rella, SummarySettings

_SAMPLES = "Samples"


@with_summary()
def evaluate(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="A prepared data set.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The run's folder.")] = Path("run"),
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="In place of DATA: ready prompts, [{input, output}] or with an instruction.",
            rich_help_panel=_SAMPLES,
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="clicks|rank|choose",
            help="clicks: liked or not, a sample each; rank: for each user one item liked among items never touched; "
            "choose: each user's next item among them (leave one out).",
            rich_help_panel=_SAMPLES,
        ),
    ] = "clicks",
    split: Annotated[
        str, typer.Option("--split", metavar="train|valid|test", help="Whose samples.", rich_help_panel=_SAMPLES)
    ] = "test",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            help="How many samples (rank, choose: users) to draw; else all of the split.",
            rich_help_panel=_SAMPLES,
        ),
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option(
            "--negatives",
            metavar="N",
            help="rank: items never touched beside the one liked; 20 unless given.",
            show_default=False,
            rich_help_panel=_SAMPLES,
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates",
            metavar="N",
            help="choose: candidates, the next item and items never touched; 15 unless given.",
            show_default=False,
            rich_help_panel=_SAMPLES,
        ),
    ] = None,
    ranking: Annotated[
        Path | None,
        typer.Option(
            "--ranking",
            metavar="DIR",
            help="choose: also show what another recommender's lists say (rella data import-ranking).",
            rich_help_panel=_SAMPLES,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", help="Which samples (rank, choose: users, negatives) are drawn.", rich_help_panel=_SAMPLES
        ),
    ] = 0,
    domain: Annotated[
        str | None, typer.Option("--domain", "-d", metavar="NAME|TOML", help="What the items are; else the data's.")
    ] = None,
    k: options.K = 30,
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            metavar="k=5,10,…",
            help="Several K, one run each, in RUN/kN.",
            rich_help_panel=_SAMPLES,
        ),
    ] = None,
    retrieval: options.Retrieval = "subr",
    order: options.Order = "time",
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="yes-no|likelihood",
            help="rank, choose: ask of each candidate whether it is liked (rank's default), or list all and ask which "
            "comes next (choose's).",
            rich_help_panel="Reading the history",
        ),
    ] = None,
    index: options.Index = None,
    contrast: options.Contrast = False,
    calibration: Annotated[
        list[str] | None,
        typer.Option(
            "--calibration",
            metavar="JSON",
            help="Also show calibrated probabilities (rella calibrate); may be repeated.",
            rich_help_panel="Model",
        ),
    ] = None,
    baselines_only: Annotated[
        bool, typer.Option("--baselines-only", help="No model: the baselines alone, in seconds.")
    ] = False,
    model: options.Model = None,
    lora: options.Lora = None,
    soft: options.Soft = None,
    head: options.Head = None,
    chat_format: options.ChatFormat = None,
    ctx: options.Ctx = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    flash_attn: options.FlashAttn = "auto",
    kv_type: options.KvType = "f16",
    exact: options.Exact = False,
    no_trial: options.NoTrial = False,
    no_cache: options.NoCache = False,
    allow_mismatch: options.AllowMismatch = False,
    force: options.Force = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
    summary: "SummarySettings | None" = None,
) -> None:
    """Evaluate a model beside plain baselines. Killed, the same command goes on; finished, it prints the report."""
    from rella_cli.loading import engine_settings, listen, open_data, open_rella, parse_sweep, resumable
    from rella_cli.protocols import ranking_settings
    from rella_cli.views.progress import ProgressBar
    from rella_cli.views.reports import show_reports
    from rella_cpp import (
        Calibration,
        EvaluationSettings,
        Histories,
        InputError,
        Rankings,
        evaluate,
        evaluate_prompts,
        evaluate_ranking,
        load_domain,
        read_prompts,
    )

    if (data is None) == (prompts is None):
        raise InputError("give DATA or --prompts FILE, and not both", remedy="see rella evaluate --help")
    if prompts is not None and (sweep or calibration or index or contrast or split != "test" or protocol != "clicks"):
        raise InputError(
            "ready prompts have no histories and no splits",
            source=str(prompts),
            remedy="leave out --split, --sweep, --index, --contrast, --calibration and --protocol",
        )
    if summary is not None and (prompts is not None or head):
        raise InputError("ready prompts and heads know no summaries", remedy="leave out --context summary")
    if baselines_only and (prompts is not None or contrast or calibration or head or lora or soft or summary):
        raise InputError("--baselines-only needs DATA and no model's options", remedy="leave one of them out")
    if head and contrast:
        raise InputError("a head has no contrast: it knows no gap without history", remedy="leave one of them out")
    ranked = ranking_settings(context, summary)
    ks = (k,) if sweep is None else parse_sweep(sweep)
    settings = EvaluationSettings(split, limit, seed, ks, retrieval, order, summary)  # type: ignore[arg-type]  # they check
    engine = engine_settings(ctx, threads, gpu_layers, flash_attn, kv_type, exact)
    listen(verbose)
    with ExitStack() as stack:
        stack.enter_context(resumable())
        if data is not None:
            source, words, catalog = open_data(data, domain, index, allow_mismatch, no_cache)
        else:
            source, words, catalog = None, load_domain(domain or "movies"), None
        ready = None if prompts is None else read_prompts(prompts, words)
        lists = None if ranking is None else Rankings.open(ranking)
        fitted = [Calibration.load(path) for path in calibration or []]
        rella = None
        if not baselines_only:
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
                    head=head,
                    allow_mismatch=allow_mismatch,
                    no_trial=no_trial,
                )
            )
            if catalog is not None:
                rella.use_index(catalog, allow_mismatch=allow_mismatch)
            rella.contrast = contrast or any(each.contrast for each in fitted)
        bar = stack.enter_context(ProgressBar())
        if source is None:
            assert rella is not None and ready is not None
            runs = [evaluate_prompts(ready, out, settings, judge=rella, force=force, progress=bar)]
        elif ranked is not None:
            runs = [
                evaluate_ranking(
                    source,
                    out,
                    ranked,
                    judge=rella,
                    histories=Histories(source, catalog, words, bar),
                    ranking=lists,
                    force=force,
                    progress=bar,
                )
            ]
        else:
            if rella is not None and not allow_mismatch:
                for path, each in zip(calibration or [], fitted, strict=True):
                    for value in ks:
                        each.check(rella.settings(), settings.query(value, [], []).reading(words), source=path)
            runs = evaluate(
                source,
                out,
                settings,
                judge=rella,
                histories=Histories(source, catalog, words, bar),
                calibrations=fitted,
                force=force,
                progress=bar,
            )
    show_reports(runs, as_json=as_json)
    if ranked is not None:
        _note_shared(rella)


def _note_shared(rella: "Rella | None") -> None:
    """Say how much of what prompts asked for was read once for several."""
    from rella_cli.views.terminal import note

    asked, computed = (0, 0) if rella is None else rella.judged_tokens
    if asked:
        note(f"prompts of {asked:,} tokens; {computed:,} were computed, since what prompts share is read once")
