"""`rella export`: rows for a trainer."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli import options

app = typer.Typer(help="Write rows to tune a model on.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Write rows to tune a model on."""


@app.command()
def reit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A prepared data set.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="JSONL", help="Training rows; validation rows stand beside them.")
    ],
    shots: options.Shots = 256,
    k: options.K = 30,
    mix: options.Mix = "both",
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="messages|alpaca|text",
            help="A chat; instruction, input and output; or the whole text as --model reads it.",
        ),
    ] = "messages",
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
    from dataclasses import asdict

    from rella_cli.loading import engine_settings, open_data, open_rella
    from rella_cli.progress import ProgressBar
    from rella_cli.terminal import facts, print_json
    from rella_cpp import Examples, Histories, TuningSettings, export_rows

    settings = TuningSettings(shots, k, mix, order, seed)  # type: ignore[arg-type]  # it checks them
    engine = engine_settings(ctx, None, 0, "auto", "f16")
    with ExitStack() as stack:
        rella = None
        source, words, catalog = open_data(data, domain, index, allow_mismatch)
        if form == "text":
            rella = stack.enter_context(open_rella(model, words, [], chat_format, engine, no_cache, False))
        bar = stack.enter_context(ProgressBar())
        examples = Examples(source, Histories(source, catalog, words), words, settings)
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
        found = asdict(written)
        print_json({name: str(value) if isinstance(value, Path) else value for name, value in found.items()})
        return
    lines = {"rows": f"{written.rows:,} in {written.train}, {written.liked:.1%} liked"}
    if written.valid is not None:
        lines["validation"] = f"{written.valid_rows:,} in {written.valid}"
    if mix == "both":
        lines["same twice"] = f"{written.same:,} of {shots:,} samples (no more than {k} behaviors before them)"
    facts(lines | {"manifest": str(written.manifest)})
