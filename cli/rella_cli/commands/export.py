"""`rella export`: rows for a trainer."""

from typing import Annotated

import typer

from rella_cli.options.data import DataOptions
from rella_cli.options.groups import only, with_groups
from rella_cli.options.model import AllowMismatch
from rella_cli.options.rows import (
    DelrecOptions,
    RowSetsOptions,
    RowsOptions,
    SequenceOptions,
    StreamRowsOptions,
    TrsrOptions,
)
from rella_cli.options.samples import ShotOptions, valid_option
from rella_cli.options.selection import K, ReadingOptions
from rella_cli.options.tokenizer import TokenizerOptions

app = typer.Typer(help="Write rows to tune a model on.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Write rows to tune a model on."""


@app.command()
@with_groups
def reit(
    source: DataOptions,
    written: RowsOptions,
    samples: ShotOptions,
    reading: Annotated[ReadingOptions, only("k", "order", "index")],
    tokenizer: TokenizerOptions,
    valid: Annotated[int | None, valid_option("Samples of the validation split; else as many as shots.")] = None,
    allow_mismatch: AllowMismatch = False,
) -> None:
    """Write rows for retrieval-enhanced instruction tuning: N samples, each with recent and with retrieved behaviors.

    From the training split alone; the first 2M rows are those of M shots. A manifest beside them ties them to the
    data, the domain's wording, K and the index.
    """
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import Examples, export_rows

    settings = samples.settings(reading)
    tokenizer.check()
    opened = source.open(reading.index, allow_mismatch=allow_mismatch, no_cache=tokenizer.no_cache)
    with tokenizer.opened_for(written.form, opened.domain) as rella, ProgressBar() as bar:
        examples = Examples(opened.data, opened.histories(bar), opened.domain, settings)
        rows = export_rows(
            examples,
            written.out,
            form=written.form,  # type: ignore[arg-type]  # it checks it
            valid=samples.shots if valid is None else valid,
            judge=rella,
            force=written.force,
            progress=bar,
        )
    from rella_cli.views.rows import show_rows

    same = f"{rows.same:,} of {samples.shots:,} samples (no more than {settings.k} behaviors before them)"
    show_rows(rows, {"same twice": same} if samples.mixed == "both" else {}, as_json=written.as_json)


@app.command()
@with_groups
def trsr(source: DataOptions, written: RowsOptions, samples: TrsrOptions, tokenizer: TokenizerOptions) -> None:
    """Write rows to tune on with preference summaries (LLM-TRSR): each liked item, and an item never touched beside it.

    The prompts are those of --context summary with --model, whose tokens item texts are cut by. A manifest beside them
    ties them to the data, the domain's wording and the summaries.
    """
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import Summaries, TrsrExamples, export_rows

    settings = samples.settings()
    tokenizer.check()
    opened = source.open()
    made = Summaries.open(samples.summaries)
    made.check(opened.data, opened.domain)
    with tokenizer.open(opened.domain) as rella, ProgressBar() as bar:
        examples = TrsrExamples(opened.data, made, rella, settings)
        rows = export_rows(
            examples,
            written.out,
            form=written.form,  # type: ignore[arg-type]  # it checks it
            valid=len(made.rows("valid")) if samples.valid is None else samples.valid,
            judge=rella,
            force=written.force,
            progress=bar,
        )
    from rella_cli.views.rows import show_rows

    told = f"{examples.left_out:,} training samples that were not liked"
    show_rows(rows, {"left out": told}, as_json=written.as_json, more={"left_out": examples.left_out})


@app.command()
@with_groups
def delrec(
    source: DataOptions,
    written: RowSetsOptions,
    samples: DelrecOptions,
    *,
    k: K = 30,
    tokenizer: TokenizerOptions,
) -> None:
    """Write rows to teach a model a sequential recommender's patterns (DELRec): choose the right one of candidates.

    temporal: what came between a history and the next item; simulating: what the recommender puts first; next: what
    came next. Each user's last two interactions are left out: the first of them validates, the last is never shown.
    """
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import DELREC_TASKS, DelrecExamples, Rankings, export_row_sets

    settings = samples.settings(k)
    tokenizer.check()
    opened = source.open()
    lists = None if samples.ranking is None else Rankings.open(samples.ranking)
    examples = {
        task: DelrecExamples(opened.data, opened.domain, task, settings, lists)  # type: ignore[arg-type]  # it checks it
        for task in dict.fromkeys(samples.task or DELREC_TASKS)
    }
    with tokenizer.opened_for(written.form, opened.domain) as rella, ProgressBar() as bar:
        sets = export_row_sets(
            examples,
            written.out,
            form=written.form,  # type: ignore[arg-type]  # it checks it
            valid=samples.rows if samples.valid is None else samples.valid,
            judge=rella,
            force=written.force,
            progress=bar,
        )
    from rella_cli.views.rows import show_rows

    for task, rows in sets.items():
        left_out = examples[task].left_out
        told = {"left out": f"{left_out:,} positions where the recommender lists no candidate"}
        more = {"task": task, "left_out": left_out}
        show_rows(rows, told if task == "simulating" else {}, as_json=written.as_json, more=more)


@app.command()
@with_groups
def stream(
    source: DataOptions,
    written: StreamRowsOptions,
    samples: SequenceOptions,
    *,
    k: K = 12,
    tokenizer: TokenizerOptions,
) -> None:
    """Write rows for streams: sequences of up to 2K behaviors, a line each, of which every rating is an answer.

    From the training split alone, in an order drawn; the first N tokens of more are those of fewer. Validation rows
    are read as --layout stream reads them. Only --tokens and --chat-format need a model.
    """
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import StreamSequences, export_rows

    settings = samples.settings(k)
    tokenizer.check()
    opened = source.open()
    with tokenizer.opened_for_streams(written.form, settings.tokens, opened.domain) as rella, ProgressBar() as bar:
        sequences = StreamSequences(opened.data, opened.histories(bar), opened.domain, settings, rella)
        rows = export_rows(
            sequences,
            written.out,
            form=written.form,  # type: ignore[arg-type]  # it checks it
            valid=samples.valid,
            judge=rella,
            force=written.force,
            progress=bar,
        )
    from rella_cli.views.rows import show_sequences

    show_sequences(rows, sequences, as_json=written.as_json)
