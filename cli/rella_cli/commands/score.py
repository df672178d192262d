"""`rella score`, `rank` and `explain`: the same work, three views; `rella score --jsonl`: a worker."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from rella_cli.options.bundle import with_bundle
from rella_cli.options.choice import by_likelihood
from rella_cli.options.engine import EngineOptions
from rella_cli.options.groups import with_groups, without
from rella_cli.options.history import placed_in_files
from rella_cli.options.model import ModelOptions
from rella_cli.options.output import check_page, save_score_page
from rella_cli.options.question import AnswerOptions, Question, QuestionOptions
from rella_cli.options.selection import LayoutOptions, ReadingOptions
from rella_cli.options.summary import SummaryOptions
from rella_cli.signals import ending_quietly

if TYPE_CHECKING:
    from rella_cpp import Explanation, Likelihood, Rella, Score, Selection, SummarySettings

_FILES = (
    '\n\nA history is a list of behaviors, oldest first: [{"title": "Alien", "year": 1979, "rating": 5}, …]. '
    "`timestamp` may be left out, and with --layout question `rating`, too. "
    'Or it is {"user": {"age": "25-34"}, "history": […]}. '
    "JSON or JSON Lines; - reads standard input."
    "\n\nAn item has the same fields without the rating. `rella domains` lists the fields that each domain shows; "
    "an `id` is never shown, it tells which behavior is the item itself."
)
_WORKER = (
    "\n\nWith --jsonl, a worker for other programs: each line of standard input is a request, "
    '{"id": 1, "user": {…}, "history": […], "item": {…}} or "items": […], with "k", "retrieval", "order", "window" '
    'and "allow_empty_history" where they differ from the options; each gets one line, in order, at once: '
    '{"id": 1, "line": 1, "score": {…}}, "scores": […] or "error": {…}. End of input or SIGTERM ends it.'
)
_SCORE = f"Score items: how likely is the user to like each? Shows what was read for each of them.{_FILES}{_WORKER}"
_RANK = f"Rank items by how likely the user is to like them: one table, the likeliest first.{_FILES}"


_EXPLAIN = (
    "Explain scores: what did each behavior do to the logit, what the profile, the averages, and a calibration? "
    "Each number is the logit less that of the same prompt without one thing. As rella score --why." + _FILES
)
_MOST = 10_000
"""Requests under way at a time."""
_OF_WORKERS = ("jsonl", "concurrent", "unordered")
_COMMANDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "score": (_SCORE, "Score items: how likely is the user to like each?", {"reading": without("by")}),
    "rank": (_RANK, "Rank items by how likely the user is to like them.", {"output": without(*_OF_WORKERS)}),
    "explain": (
        _EXPLAIN,
        "Explain scores: what did each behavior do to them?",
        {"reading": without("by"), "output": without(*_OF_WORKERS, "why"), "engine": without("exact")},
    ),
}
"""Each command's help, in long and in short, and what it leaves out of its groups: one item is no choice (`--by`)."""


def register(app: typer.Typer, wanted: str | None) -> None:
    """Add the command wanted, or all three; which of them runs, the command's name says."""
    for name, (told, short, parts) in _COMMANDS.items():
        if wanted in (None, name):
            command = with_bundle(with_groups(score, **parts), shipped=True)
            app.command(name, help=told, short_help=short)(command)


def score(
    context: typer.Context,
    files: QuestionOptions,
    output: AnswerOptions,
    reading: ReadingOptions,
    layout: LayoutOptions,
    model: ModelOptions,
    engine: EngineOptions,
    summarizing: SummaryOptions,
) -> None:
    """Read the files, load the model, score, show; or load the model and answer requests."""
    from rella_cpp import load_domain

    summary = summarizing.wanted(reading)
    _check_concurrent(output)
    chooses = by_likelihood(context, reading.by, "index", "contrast", "calibration", "head", "why", "page")
    if output.jsonl:
        _check_worker(files, output)
    why = output.why or context.info_name == "explain"
    if output.page is not None:
        check_page(output.page, force=output.force)
    engine = engine.exactly() if why else engine
    engine.settings()
    tuned = layout.tuned(model, summary)
    selection = reading.selection(layout, tuned)
    words = load_domain(files.domain)
    asked = None if output.jsonl else files.read(context, words, allow_empty=reading.allow_empty_history)
    if asked is None:
        with (
            ending_quietly() as be_ready,
            model.open(words, engine, layout=tuned.layout, index=reading.index, contrast=reading.contrast) as rella,
        ):
            be_ready()
            _serve(rella, output, selection, summary)
        return
    with model.open(words, engine, layout=tuned.layout, index=reading.index, contrast=reading.contrast) as rella:
        chosen = _choose(rella, asked, selection) if chooses else []
        reasons = _explain(rella, asked, selection, summary) if why else []
        scored = [] if chooses or why else _rank(rella, asked, selection, summary)
    from rella_cli.views import choices, scores  # they bring rich

    scored = [reason.score for reason in reasons] or scored
    how = {"as_json": output.as_json, "prompts": output.show_prompt}
    if chooses:
        choices.Choosing(words, asked.behaviors, chosen).show(**how)
        return
    ranks = context.info_name == "rank"
    view = (scores.Ranking if ranks else scores.Scoring)(words, asked.behaviors, scored, reasons)
    if output.page is not None:  # first: whoever reads the scores may stop
        titles = {"rank": "Items ranked", "explain": "Scores explained"}
        save_score_page(output.page, titles.get(context.info_name or "", "Items scored"), view)
    view.show(**how)


def _serve(rella: "Rella", output: AnswerOptions, selection: "Selection", summary: "SummarySettings | None") -> None:
    """Answer requests: one at a time, or those that wait together."""
    from rella_cli.commands.worker import serve, serve_together
    from rella_cpp.serving.service import LONGEST_HISTORY, Service

    longest = None if output.concurrent is None else LONGEST_HISTORY
    layout = rella.prompts.layout
    service = Service(
        rella, rella.domain, selection, summary, layout=layout, prompts=output.show_prompt, longest=longest
    )
    if output.concurrent is None:
        serve(service)
        return
    from rella_cpp.serving.scheduler import Scheduler

    most, exact = output.concurrent, rella.engine.settings.exact
    rella.engine.remember()
    with Scheduler(rella.judge, most=most) as scheduler:
        serve_together(service, scheduler, exact=exact, most=most, ordered=not output.unordered)


def _check_concurrent(output: AnswerOptions) -> None:
    """Refuse what only workers do without a worker, and a number that is none."""
    from rella_cpp import InputError

    if output.concurrent is not None and not output.jsonl:
        raise InputError("--concurrent without --jsonl", remedy="add it, and send requests on standard input")
    if output.unordered and output.concurrent is None:
        raise InputError("--unordered without --concurrent", remedy="add it: one at a time, results are in order")
    if output.concurrent is not None and not 1 <= output.concurrent <= _MOST:
        raise InputError(f"--concurrent is {output.concurrent}", remedy=f"give 1 to {_MOST:,} requests")


def _check_worker(files: QuestionOptions, output: AnswerOptions) -> None:
    """Refuse a worker that is given files, or has nothing to read."""
    from rella_cpp import InputError

    if sys.stdin is None:
        raise InputError("it is closed", source="standard input", remedy="send requests there, one a line")
    for name, file in (("--history", files.history), ("--item", files.item), ("--user", files.user)):
        if file is not None:
            raise InputError(f"{name} with --jsonl", remedy="leave it out: each request on standard input has its own")
    for name, given in (("--why", output.why), ("--html", output.page)):
        if given:
            raise InputError(f"{name} with --jsonl", remedy="leave one out: a worker gives scores")


def _rank(rella: "Rella", asked: Question, selection: "Selection", summary: "SummarySettings | None") -> "list[Score]":
    from rella_cli.views.progress import ProgressBar

    with placed_in_files(asked.past, asked.places), ProgressBar() as rella.progress:
        return rella.rank(asked.behaviors, asked.items, user=asked.user, summary=summary, **asdict(selection))


def _explain(
    rella: "Rella", asked: Question, selection: "Selection", summary: "SummarySettings | None"
) -> "list[Explanation]":
    from rella_cli.views.progress import ProgressBar

    with placed_in_files(asked.past, asked.places), ProgressBar() as rella.progress:
        return rella.explain(asked.behaviors, asked.items, user=asked.user, summary=summary, **asdict(selection))


def _choose(rella: "Rella", asked: Question, selection: "Selection") -> "list[Likelihood]":
    from rella_cli.views.progress import ProgressBar

    allow = selection.allow_empty_history
    with placed_in_files(asked.past, asked.places), ProgressBar() as rella.progress:
        return rella.choose(asked.behaviors, asked.items, user=asked.user, k=selection.k, allow_empty_history=allow)
