"""`rella export`: rows for a trainer."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rella_cli import options

if TYPE_CHECKING:
    from rella_cpp import TuningRows

_Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="JSONL", help="Training rows; validation rows stand beside them.")
]
_Form = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="messages|alpaca|text",
        help="A chat; instruction, input and output; or the whole text as --model reads it.",
    ),
]

app = typer.Typer(help="Write rows to tune a model on.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Write rows to tune a model on."""


@app.command()
def reit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A prepared data set.")],
    out: _Out,
    shots: options.Shots = 256,
    k: options.K = 30,
    mix: options.Mix = "both",
    form: _Form = "messages",
    valid: Annotated[
        int | None, typer.Option("--valid", help="Samples of the validation split; else as many as shots.")
    ] = None,
    seed: options.Seed = 0,
    domain: options.DataDomain = None,
    order: options.Order = "time",
    index: options.Index = None,
    model: options.Model = None,
    chat_format: options.ChatFormat = None,
    ctx: options.Ctx = None,
    no_trial: options.NoTrial = False,
    no_cache: options.NoCache = False,
    allow_mismatch: options.AllowMismatch = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Write rows for retrieval-enhanced instruction tuning: N samples, each with recent and with retrieved behaviors.

    From the training split alone; the first 2M rows are those of M shots. A manifest beside them ties them to the
    data, the domain's wording, K and the index.
    """
    from contextlib import ExitStack

    from rella_cli.loading import engine_settings, open_data, open_rella
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import Examples, Histories, TuningSettings, export_rows

    settings = TuningSettings(shots, k, mix, order, seed)  # type: ignore[arg-type]  # it checks them
    engine = engine_settings(ctx, None, 0, "auto", "f16")
    with ExitStack() as stack:
        rella = None
        source, words, catalog = open_data(data, domain, index, allow_mismatch, no_cache)
        if form == "text":
            rella = stack.enter_context(
                open_rella(model, words, [], chat_format, engine, no_cache, False, no_trial=no_trial)
            )
        bar = stack.enter_context(ProgressBar())
        examples = Examples(source, Histories(source, catalog, words, bar), words, settings)
        written = export_rows(
            examples,
            out,
            form=form,  # type: ignore[arg-type]
            valid=shots if valid is None else valid,
            judge=rella,
            force=force,
            progress=bar,
        )
    if as_json:
        _print_json(written)
        return
    same = f"{written.same:,} of {shots:,} samples (no more than {k} behaviors before them)"
    _show(written, {"same twice": same} if mix == "both" else {})


@app.command()
def trsr(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A prepared data set.")],
    summaries: Annotated[
        Path, typer.Option("--summaries", metavar="DIR", help="Its summaries (rella summarize DATA -o DIR).")
    ],
    out: _Out,
    shots: Annotated[
        int | None, typer.Option("--shots", help="Summarised training samples that were liked; else all.")
    ] = None,
    form: _Form = "messages",
    valid: Annotated[
        int | None, typer.Option("--valid", help="Summarised samples of the validation split; else all.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which samples and negatives are drawn.")] = 0,
    domain: options.DataDomain = None,
    model: options.Model = None,
    chat_format: options.ChatFormat = None,
    ctx: options.Ctx = None,
    no_trial: options.NoTrial = False,
    no_cache: options.NoCache = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Write rows to tune on with preference summaries (LLM-TRSR): each liked item, and an item never touched beside it.

    The prompts are those of --context summary with --model, whose tokens item texts are cut by. A manifest beside them
    ties them to the data, the domain's wording and the summaries.
    """
    from rella_cli.loading import engine_settings, open_data, open_rella
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import Summaries, TrsrExamples, TrsrSettings, export_rows

    settings = TrsrSettings(shots, seed)
    engine = engine_settings(ctx, None, 0, "auto", "f16")
    source, words, _ = open_data(data, domain, None, False)
    made = Summaries.open(summaries)
    made.check(source, words)
    with (
        open_rella(model, words, [], chat_format, engine, no_cache, False, no_trial=no_trial) as rella,
        ProgressBar() as bar,
    ):
        examples = TrsrExamples(source, made, rella, settings)
        written = export_rows(
            examples,
            out,
            form=form,  # type: ignore[arg-type]
            valid=len(made.rows("valid")) if valid is None else valid,
            judge=rella,
            force=force,
            progress=bar,
        )
    if as_json:
        _print_json(written, left_out=examples.left_out)
        return
    _show(written, {"left out": f"{examples.left_out:,} training samples that were not liked"})


@app.command()
def delrec(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A prepared data set.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for TASK.jsonl, validation rows beside them.")
    ],
    ranking: Annotated[
        Path | None,
        typer.Option(
            "--ranking",
            metavar="DIR",
            help="What a sequential recommender expects (rella data import-ranking); the task simulating needs it.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="temporal|simulating|next", help="Write this one alone; may be repeated."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", help="Training rows of each task.")] = 256,
    valid: Annotated[
        int | None, typer.Option("--valid", help="Validation rows of each task, at most; else as many as rows.")
    ] = None,
    k: options.K = 30,
    candidates: Annotated[int, typer.Option("--candidates", help="Items to choose among, the right one too.")] = 15,
    form: _Form = "messages",
    seed: Annotated[int, typer.Option("--seed", help="Which targets and candidates are drawn.")] = 0,
    domain: options.DataDomain = None,
    model: options.Model = None,
    chat_format: options.ChatFormat = None,
    ctx: options.Ctx = None,
    no_trial: options.NoTrial = False,
    no_cache: options.NoCache = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Write rows to teach a model a sequential recommender's patterns (DELRec): choose the right one of candidates.

    temporal: what came between a history and the next item; simulating: what the recommender puts first; next: what
    came next. Each user's last two interactions are left out: the first of them validates, the last is never shown.
    """
    from contextlib import ExitStack

    from rella_cli.loading import engine_settings, open_data, open_rella
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import DELREC_TASKS, DelrecExamples, DelrecSettings, Rankings, export_row_sets

    settings = DelrecSettings(rows, k, candidates, seed)
    engine = engine_settings(ctx, None, 0, "auto", "f16")
    with ExitStack() as stack:
        source, words, _ = open_data(data, domain, None, False)
        lists = None if ranking is None else Rankings.open(ranking)
        examples = {
            name: DelrecExamples(source, words, name, settings, lists)  # type: ignore[arg-type]  # it checks them
            for name in dict.fromkeys(task or DELREC_TASKS)
        }
        rella = None
        if form == "text":
            rella = stack.enter_context(
                open_rella(model, words, [], chat_format, engine, no_cache, False, no_trial=no_trial)
            )
        bar = stack.enter_context(ProgressBar())
        written = export_row_sets(
            examples,
            out,
            form=form,  # type: ignore[arg-type]
            valid=rows if valid is None else valid,
            judge=rella,
            force=force,
            progress=bar,
        )
    for name, made in written.items():
        left_out = examples[name].left_out
        if as_json:
            _print_json(made, task=name, left_out=left_out)
        else:
            told = f"{left_out:,} positions where the recommender lists no candidate"
            _show(made, {"left out": told} if name == "simulating" else {})


def _print_json(written: "TuningRows", **more: object) -> None:
    from dataclasses import asdict

    from rella_cli.views.terminal import print_json

    found = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(written).items()}
    print_json(found | more)


def _show(written: "TuningRows", more: Mapping[str, str]) -> None:
    from rella_cli.views.terminal import facts

    liked = "" if written.liked is None else f", {written.liked:.1%} liked"
    lines = {"rows": f"{written.rows:,} in {written.train}{liked}"}
    if written.valid is not None:
        lines["validation"] = f"{written.valid_rows:,} in {written.valid}"
    facts(lines | {**more} | {"manifest": str(written.manifest)})
