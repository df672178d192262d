"""`rella score` and `rella rank`: the same options, the same work, two views."""

from dataclasses import asdict
from typing import Annotated

import typer

from rella_cli import options

_FILES = (
    '\n\nA history is a list of behaviors, oldest first: [{"title": "Alien", "year": 1979, "rating": 5}, …]. '
    '`rating` and `timestamp` may be left out. Or it is {"user": {"age": "25-34"}, "history": […]}. '
    "JSON or JSON Lines; - reads standard input."
    "\n\nAn item has the same fields without the rating. `rella domains` lists the fields that each domain shows; "
    "an `id` is never shown, it tells which behavior is the item itself."
)
_SCORE = f"Score items: how likely is the user to like each? Shows what was read for each of them.{_FILES}"
_RANK = f"Rank items by how likely the user is to like them: one table, the likeliest first.{_FILES}"


def register(app: typer.Typer) -> None:
    """Add both commands; which of them runs, the command's name says."""
    app.command("score", help=_SCORE, short_help="Score items: how likely is the user to like each?")(judge)
    app.command("rank", help=_RANK, short_help="Rank items by how likely the user is to like them.")(judge)


def judge(
    context: typer.Context,
    history: Annotated[
        str, typer.Option("--history", metavar="FILE", help="The user's history, or - for standard input.")
    ],
    item: Annotated[str, typer.Option("--item", "--items", metavar="FILE", help="The target item, or a list of them.")],
    user: options.UserFile = None,
    domain: options.DomainName = "movies",
    k: options.K = 30,
    retrieval: options.Retrieval = "subr",
    order: options.Order = "time",
    allow_empty_history: options.AllowEmpty = False,
    index: options.Index = None,
    contrast: options.Contrast = False,
    calibration: options.CalibrationFile = None,
    allow_mismatch: options.AllowMismatch = False,
    model: options.Model = None,
    lora: options.Lora = None,
    head: options.Head = None,
    chat_format: options.ChatFormat = None,
    ctx: options.Ctx = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = -1,
    flash_attn: options.FlashAttn = "auto",
    kv_type: options.KvType = "f16",
    exact: options.Exact = True,
    no_cache: options.NoCache = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="Show the prompt with each score.")] = False,
) -> None:
    """Read the files, load the model, score, show."""
    from rella_cli import scores
    from rella_cli.loading import engine_settings, open_rella, read_past, refuse_second_stdin
    from rella_cli.progress import ProgressBar
    from rella_cpp import ContextError, Selection, load_domain, read_items
    from rella_cpp.inputs import source_name

    refuse_second_stdin(history, item, user)
    settings = engine_settings(ctx, threads, gpu_layers, flash_attn, kv_type, exact)
    selection = Selection(k, retrieval, order, allow_empty_history)  # type: ignore[arg-type]  # it checks them
    words = load_domain(domain)
    past, person = read_past(history, user, words, allow_empty=allow_empty_history)
    items = read_items(item, words)

    with open_rella(model, words, lora or [], chat_format, settings, no_cache, verbose, head, allow_mismatch) as rella:
        rella.contrast = contrast
        if index is not None:
            rella.use_index(index, allow_mismatch=allow_mismatch)
        if calibration is not None:
            rella.use_calibration(calibration, allow_mismatch=allow_mismatch)
        try:
            with ProgressBar() as rella.progress:
                results = rella.rank(past.behaviors, items, user=person, **asdict(selection))
        except ContextError as error:
            raise error.located(source_name(item) if str(error.place).startswith("item[") else None) from None
    view = scores.Ranking if context.info_name == "rank" else scores.Scoring
    view(words, past.behaviors, results).show(as_json=as_json, prompts=show_prompt)
