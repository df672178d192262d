"""`rella score` and `rella rank`: the same options, the same work, two views; `rella score --jsonl`: a worker."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from rella_cli import options
from rella_cli.summary_options import with_summary

if TYPE_CHECKING:
    from rella_cpp import Behavior, Domain, History, Item, Likelihood, Rella, Score, Selection, SummarySettings, User
    from rella_cpp.inputs import Places

_FILES = (
    '\n\nA history is a list of behaviors, oldest first: [{"title": "Alien", "year": 1979, "rating": 5}, …]. '
    '`rating` and `timestamp` may be left out. Or it is {"user": {"age": "25-34"}, "history": […]}. '
    "JSON or JSON Lines; - reads standard input."
    "\n\nAn item has the same fields without the rating. `rella domains` lists the fields that each domain shows; "
    "an `id` is never shown, it tells which behavior is the item itself."
)
_WORKER = (
    "\n\nWith --jsonl, a worker for other programs: each line of standard input is a request, "
    '{"id": 1, "user": {…}, "history": […], "item": {…}} or "items": […], with "k", "retrieval", "order" and '
    '"allow_empty_history" where they differ from the options; each gets one line, in order, at once: '
    '{"id": 1, "line": 1, "score": {…}}, "scores": […] or "error": {…}. End of input or SIGTERM ends it.'
)
_SCORE = f"Score items: how likely is the user to like each? Shows what was read for each of them.{_FILES}{_WORKER}"
_RANK = f"Rank items by how likely the user is to like them: one table, the likeliest first.{_FILES}"


def register(app: typer.Typer) -> None:
    """Add both commands; which of them runs, the command's name says."""
    app.command("score", help=_SCORE, short_help="Score items: how likely is the user to like each?")(judge)
    app.command("rank", help=_RANK, short_help="Rank items by how likely the user is to like them.")(judge)


@with_summary()
def judge(
    context: typer.Context,
    history: Annotated[
        str | None, typer.Option("--history", metavar="FILE", help="The user's history, or - for standard input.")
    ] = None,
    item: Annotated[
        str | None, typer.Option("--item", "--items", metavar="FILE", help="The target item, or a list of them.")
    ] = None,
    user: options.UserFile = None,
    domain: options.DomainName = "movies",
    k: options.K = 30,
    retrieval: options.Retrieval = "subr",
    order: options.Order = "time",
    by: options.By = "yes-no",
    allow_empty_history: options.AllowEmpty = False,
    index: options.Index = None,
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
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="Show the prompt with each score.")] = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Answer requests on standard input, one JSON object a line (score only).")
    ] = False,
    summary: "SummarySettings | None" = None,
) -> None:
    """Read the files, load the model, score, show; or load the model and answer requests."""
    from rella_cli.loading import engine_settings, open_rella
    from rella_cpp import Selection, load_domain

    chooses = _chooses(context, by)
    if jsonl:
        _check_worker(context, history, item, user)
    settings = engine_settings(ctx, threads, gpu_layers, flash_attn, kv_type, exact)
    selection = Selection(k, retrieval, order, allow_empty_history)  # type: ignore[arg-type]  # it checks them
    words = load_domain(domain)
    given = None if jsonl else _read(context, history, item, user, words, allow_empty_history)

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
        if index is not None:
            rella.use_index(index, allow_mismatch=allow_mismatch)
        if calibration is not None:
            rella.use_calibration(calibration, allow_mismatch=allow_mismatch)
        if given is None:
            from rella_cli.worker import serve

            serve(rella, words, selection, summary, prompts=show_prompt)
            return
        results = [] if chooses else _rank(rella, given, selection, summary)
        chosen = _choose(rella, given, selection) if chooses else []
    from rella_cli.views import choices, scores  # they bring rich

    if chooses:
        choices.Choosing(words, given.behaviors, chosen).show(as_json=as_json, prompts=show_prompt)
        return
    view = scores.Ranking if context.info_name == "rank" else scores.Scoring
    view(words, given.behaviors, results).show(as_json=as_json, prompts=show_prompt)


def _chooses(context: typer.Context, by: str) -> bool:
    """Tell whether to choose by likelihood; one item is no choice, so `score` refuses it."""
    if by == "yes-no":
        return False
    from rella_cli.views.choices import by_likelihood
    from rella_cpp import InputError

    if context.info_name == "score":
        raise InputError("score has no --by: one item is no choice", remedy="use rella rank --by likelihood")
    return by_likelihood(context, by, "index", "contrast", "calibration", "head", "jsonl")


class _Given(NamedTuple):
    """What the files hold, and where the items stood."""

    past: "History"
    items: "tuple[Item, ...]"
    user: "User | None"
    places: "Places"

    @property
    def behaviors(self) -> "tuple[Behavior, ...]":
        """The history."""
        return self.past.behaviors


def _check_worker(context: typer.Context, history: str | None, item: str | None, user: str | None) -> None:
    """Refuse a worker that is to rank, is given files, or has nothing to read."""
    from rella_cpp import InputError

    if context.info_name == "rank":
        raise InputError("rank has no --jsonl", remedy="use rella score --jsonl: of several items, each has its rank")
    if sys.stdin is None:
        raise InputError("it is closed", source="standard input", remedy="send requests there, one a line")
    for name, file in (("--history", history), ("--item", item), ("--user", user)):
        if file is not None:
            raise InputError(f"{name} with --jsonl", remedy="leave it out: each request on standard input has its own")


def _read(
    context: typer.Context,
    history: str | None,
    item: str | None,
    user: str | None,
    domain: "Domain",
    allow_empty: bool,
) -> _Given:
    """Read the files; --history and --item are required unless a worker is asked for."""
    from rella_cli.loading import read_past, refuse_second_stdin
    from rella_cpp.inputs import read_placed_items

    if history is None:
        context.fail("Missing option '--history'.")
    if item is None:
        context.fail("Missing option '--item' / '--items'.")
    refuse_second_stdin(history, item, user)
    past, person = read_past(history, user, domain, allow_empty=allow_empty)
    items, places = read_placed_items(item, domain)
    return _Given(past, items, person, places)


def _rank(rella: "Rella", given: _Given, selection: "Selection", summary: "SummarySettings | None") -> "list[Score]":
    from rella_cli.loading import placed_in_files
    from rella_cli.views.progress import ProgressBar

    with placed_in_files(given.past, given.places), ProgressBar() as rella.progress:
        return rella.rank(given.behaviors, given.items, user=given.user, summary=summary, **asdict(selection))


def _choose(rella: "Rella", given: _Given, selection: "Selection") -> "list[Likelihood]":
    from rella_cli.loading import placed_in_files
    from rella_cli.views.progress import ProgressBar

    allow = selection.allow_empty_history
    with placed_in_files(given.past, given.places), ProgressBar() as rella.progress:
        return rella.choose(given.behaviors, given.items, user=given.user, k=selection.k, allow_empty_history=allow)
