"""`rella recommend`: the whole offline recommender in one command."""

from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options
from rella_cli.summary_options import with_summary

if TYPE_CHECKING:
    from rella_cpp import SummarySettings


@with_summary(recent=("--recent",))
def recommend(
    context: typer.Context,
    history: Annotated[
        str, typer.Option("--history", metavar="FILE", help="The user's history, or - for standard input.")
    ],
    index: Annotated[str, typer.Option("--index", metavar="DIR", help="The catalog's index (rella index build).")],
    count: options.Count = 10,
    candidates: Annotated[
        int,
        typer.Option("--candidates", help="Items to judge, at least -n: near the liked ones, unlike each other."),
    ] = 30,
    user: options.UserFile = None,
    domain: Annotated[
        str | None, typer.Option("--domain", "-d", metavar="NAME|TOML", help="What the items are; else the index's.")
    ] = None,
    k: options.K = 30,
    retrieval: options.Retrieval = "subr",
    order: options.Order = "time",
    by: options.By = "yes-no",
    contrast: options.Contrast = False,
    calibration: options.CalibrationFile = None,
    allow_mismatch: options.AllowMismatch = False,
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
    verbose: options.Verbose = False,
    as_json: options.Json = False,
    summary: "SummarySettings | None" = None,
) -> None:
    """Recommend items of a catalog: candidates from its index, near to what the user liked, judged by the model."""
    from rella_cli.loading import domain_of, engine_settings, open_index, open_rella, placed_in_files, read_past
    from rella_cli.views.choices import RecommendingNext, by_likelihood
    from rella_cli.views.progress import ProgressBar
    from rella_cli.views.scores import Recommending
    from rella_cpp import InputError, Selection

    chooses = by_likelihood(context, by, "contrast", "calibration", "head")
    settings = engine_settings(ctx, threads, gpu_layers, flash_attn, kv_type, exact)
    Selection(k, retrieval, order)  # type: ignore[arg-type]  # it checks them
    if count < 1 or candidates < 1:
        raise InputError(
            f"{count} recommendations of {candidates} candidates are wanted", remedy="give at least 1 of each"
        )
    catalog = open_index(index, no_cache)
    words = domain_of(catalog.folder, catalog.manifest.domain, domain)
    past, person = read_past(history, user, words)
    tuned = {"soft": soft, "head": head}
    with open_rella(
        model,
        words,
        lora or [],
        chat_format,
        settings,
        no_cache,
        verbose,
        **tuned,
        allow_mismatch=allow_mismatch,
        no_trial=no_trial,
    ) as rella:
        rella.contrast = contrast
        rella.use_index(catalog, allow_mismatch=allow_mismatch)
        if calibration is not None:
            rella.use_calibration(calibration, allow_mismatch=allow_mismatch)
        with placed_in_files(past), ProgressBar() as rella.progress:
            most = max(count, candidates)
            if chooses:
                chosen = rella.recommend_next(past.behaviors, count, candidates=most, user=person, k=k)
            else:
                found = rella.recommend(
                    past.behaviors,
                    count,
                    candidates=most,
                    user=person,
                    k=k,
                    retrieval=retrieval,  # type: ignore[arg-type]
                    order=order,  # type: ignore[arg-type]
                    summary=summary,
                )
    if chooses:
        RecommendingNext(words, past.behaviors, chosen).show(as_json=as_json)
    else:
        Recommending(words, past.behaviors, found).show(as_json=as_json)
