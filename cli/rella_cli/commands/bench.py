"""`rella bench`: how fast a model is on this machine, against what llama.cpp itself does."""

from typing import Annotated

import typer

from rella_cli.options.bundle import with_bundle
from rella_cli.options.engine import EngineOptions, Repeats
from rella_cli.options.groups import with_groups
from rella_cli.options.model import Model
from rella_cli.options.output import Json


@with_bundle
@with_groups
def bench(
    *,
    model: Model = None,
    repeats: Repeats = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Read about a tenth: for a slow model.")] = False,
    engine: EngineOptions,
    as_json: Json = False,
) -> None:
    """Measure how fast a model scores, ranks, embeds and generates, as shares of what llama.cpp itself does.

    What is read is made up, always the same. Let nothing else run meanwhile.
    """
    from rella_cli.log import listen
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import Mix, find_model
    from rella_cpp import bench as measure

    settings = engine.settings()
    listen(bool(engine.verbose))
    with ProgressBar() as bar:
        mix = Mix.quick() if quick else Mix()
        trial = not engine.no_trial
        found = measure(find_model(model), settings, mix=mix, repeats=repeats, progress=bar, trial=trial)
    from rella_cli.views.bench import show_bench

    show_bench(found, as_json=as_json)
