"""`rella tune`: few-shot judgement with no trainer."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.data import DataOptions
from rella_cli.options.engine import EngineOptions
from rella_cli.options.groups import only, with_groups, without
from rella_cli.options.model import ModelOptions
from rella_cli.options.output import OutputOptions, out_option
from rella_cli.options.samples import ShotOptions
from rella_cli.options.selection import LayoutOptions, ReadingOptions

app = typer.Typer(help="Fit a judgement on a few hundred samples, with no trainer.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Fit a judgement on a few hundred samples, with no trainer."""


@app.command()
@with_groups
def head(
    *,
    source: DataOptions,
    out: Annotated[Path, out_option("DIR", "The head's folder.")],
    samples: ShotOptions,
    reading: Annotated[ReadingOptions, only("k", "order", "index")],
    layout: LayoutOptions,
    parts: Annotated[
        str,
        typer.Option(
            "--parts",
            metavar="last,mean,gap",
            help="What it reads: the hidden state at the answer, its mean over target and question, the logit gap.",
        ),
    ] = "last,mean,gap",
    model: Annotated[ModelOptions, without("head", "calibration")],
    engine: Annotated[EngineOptions, without("exact")],
    output: OutputOptions,
) -> None:
    """Fit a logistic regression on the model's hidden states at the end of N samples' prompts.

    From the training split alone. Any GGUF serves, with adapters or without; --head uses it. Killed, the same command
    goes on where it was.
    """
    from rella_cli.views.progress import ProgressBar, resumable
    from rella_cpp import Examples, StreamSamples, tune_head

    tuned = layout.tuned(model)
    selection = reading.selection(layout, tuned)
    engine.settings()
    examples: Examples | StreamSamples
    with resumable():
        opened = source.open(reading.index, allow_mismatch=model.allow_mismatch, no_cache=model.no_cache)
        with model.open(opened.domain, engine, layout=tuned.layout) as rella, ProgressBar() as bar:
            if tuned.layout == "stream":
                streams = samples.stream_settings(selection)
                examples = StreamSamples(opened.data, opened.histories(bar), opened.domain, streams)
            else:
                settings = samples.settings(reading)
                examples = Examples(opened.data, opened.histories(bar), opened.domain, settings)
            wanted = [part.strip() for part in parts.split(",")]
            fitted = tune_head(examples, rella, out, parts=wanted, force=output.force, progress=bar)
    from rella_cli.views.fits import show_head

    show_head(fitted, out, as_json=output.as_json)
