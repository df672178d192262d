"""`rella tune`: a head with no trainer; an adapter on a data set's streams, into a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from rella_cli.options.bundle import bundle_option, with_bundle
from rella_cli.options.data import DataOptions
from rella_cli.options.engine import EngineOptions
from rella_cli.options.groups import group as group_of_options
from rella_cli.options.groups import only, with_groups, without
from rella_cli.options.model import Model, ModelOptions
from rella_cli.options.output import Json, OutputOptions, Quiet, out_option
from rella_cli.options.samples import ShotOptions
from rella_cli.options.selection import K, LayoutOptions, ReadingOptions

app = typer.Typer(help="Tune a model: a head with no trainer, or an adapter into a bundle.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Tune a model: a head with no trainer, or an adapter into a bundle."""


@app.command()
@with_bundle
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
    from rella_cli.views.progress import resumable
    from rella_cpp import Examples, StreamSamples, tune_head

    tuned = layout.tuned(model)
    selection = reading.selection(layout, tuned)
    engine.settings()
    examples: Examples | StreamSamples
    with resumable():
        opened = source.open(reading.index, allow_mismatch=model.allow_mismatch, no_cache=model.no_cache)
        with model.open(opened.domain, engine, layout=tuned.layout) as rella, engine.progress() as bar:
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


@group_of_options
class StreamTrainingOptions:
    """How an adapter is trained, and what its figures are of."""

    minutes: Annotated[
        float, typer.Option("--minutes", help="How long to train; checks and evaluations come on top.")
    ] = 30.0
    tokens: Annotated[int | None, typer.Option("--train-tokens", help="Train on this many tokens instead.")] = None
    rank: Annotated[int, typer.Option("--rank", help="The adapter's rank.")] = 8
    users: Annotated[int, typer.Option("--test-users", help="Users whose samples are calibrated and measured on.")] = 30


@app.command()
@with_groups
def stream(
    source: DataOptions,
    bundle: Annotated[Path, bundle_option("OUT", "The bundle to make.")],
    training: StreamTrainingOptions,
    *,
    k: K = 12,
    download: Annotated[
        str | None,
        typer.Option(
            "--prepare",
            metavar="FORMAT",
            help="DATA is a download to prepare first: ml-1m, ml-25m (and ml-latest-small), bookcrossing or amazon.",
        ),
    ] = None,
    model: Model = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tune a model on a data set's ratings and make a bundle: rows, training, calibration, figures before and after.

    Needs the extra `train`. Killed, the same command goes on.
    """
    from rella_cli.views.progress import ProgressBar, resumable
    from rella_cpp import StreamTraining, find_model, tune_stream
    from rella_cpp.storage.artifacts import refuse_taken
    from rella_cpp.training.stream import prepared_download

    settings = StreamTraining(training.minutes, training.tokens, k, training.rank, users=training.users)
    refuse_taken(bundle, "rella_bundle", "bundle", force=False, manifest="bundle.json")
    with resumable(), ProgressBar(quiet=quiet) as bar:
        if download is not None:
            data = prepared_download(download, source.data, bundle, bar)
            source = DataOptions(data.folder, source.domain)
        opened = source.open()
        made = tune_stream(opened.data, opened.domain, find_model(model), bundle, settings, progress=bar)
    from rella_cli.views.bundle import show_bundle

    show_bundle(bundle, made, as_json=as_json)
