"""`rella bundle make|info|check`: one folder that is a recommender."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.domain import domain_option
from rella_cli.options.engine import EngineOptions
from rella_cli.options.groups import group, with_groups, without
from rella_cli.options.model import ModelOptions
from rella_cli.options.output import Json, OutputOptions, out_option
from rella_cli.options.selection import LayoutOptions, ReadingOptions

if TYPE_CHECKING:
    from rella_cpp import BundleSettings, Selection

app = typer.Typer(help="Make and check bundles: one folder that is a recommender.", no_args_is_help=True)

BundleFolder = Annotated[str, typer.Argument(metavar="DIR|NAME", help="The bundle.")]


@group
class ContentOptions:
    """What a bundle is called, and what is put into it."""

    name: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Its name; else its folder's.")] = None
    with_model: Annotated[
        bool,
        typer.Option(
            "--with-model",
            help="Copy the base model into it even if it is the packaged one or one from a hub.",
        ),
    ] = False
    link: Annotated[
        bool, typer.Option("--link", help="Link its files (hard links, on the same disk) instead of copying them.")
    ] = False
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="RUN", help="Put this evaluation's figures into its card; may be repeated."),
    ] = None
    card: Annotated[
        Path | None,
        typer.Option("--card", metavar="JSON", help="An object of texts for its card: licence, what it cannot do, …"),
    ] = None

    def settings(
        self, model: ModelOptions, selection: "Selection", domain: str, card: dict[str, Any]
    ) -> "BundleSettings":
        """Make the settings of the bundle."""
        from rella_cpp import BundleSettings

        return BundleSettings(
            name=self.name,
            model=model.model or os.environ.get("RELLA_MODEL"),
            with_model=self.with_model,
            link=self.link,
            selection=selection,
            calibration=None if model.calibration is None else Path(model.calibration),
            domain=Path(domain) if domain.endswith(".toml") else None,
            card=card,
        )


@app.command()
@with_groups
def make(
    *,
    out: Annotated[Path, out_option("DIR", "The folder to make.")],
    content: ContentOptions,
    domain: Annotated[str, domain_option("What the items are: a built-in domain (`rella domains`) or a file.")] = (
        "movies"
    ),
    reading: Annotated[ReadingOptions, without("by", "allow_empty_history", "contrast")],
    layout: LayoutOptions,
    model: Annotated[ModelOptions, without("allow_mismatch")],  # it would never open
    engine: EngineOptions,
    output: OutputOptions,
) -> None:
    """Make a bundle of a model and what goes with it: the options of `rella score`, tried together, and copied."""
    from rella_cpp import load_domain, save_bundle
    from rella_cpp.storage.artifacts import refuse_taken

    engine.settings()
    refuse_taken(out, "rella_bundle", "bundle", force=output.force, manifest="bundle.json")
    tuned = layout.tuned(model)
    selection = reading.selection(layout, tuned)
    card = _card(content, model.calibration)
    words = load_domain(domain)
    with model.open(words, engine, layout=tuned.layout, index=reading.index) as rella:
        manifest = save_bundle(rella, out, content.settings(model, selection, domain, card), force=output.force)
    from rella_cli.views.bundle import show_bundle

    show_bundle(out, manifest, as_json=output.as_json)


@app.command()
def info(bundle: BundleFolder, as_json: Json = False) -> None:
    """Show what a bundle says of itself, without checking its parts."""
    from rella_cli.views.bundle import show_bundle
    from rella_cpp.bundles.bundle import find_bundle
    from rella_cpp.bundles.manifest import Manifest

    folder = find_bundle(bundle)
    show_bundle(folder, Manifest.load(folder), as_json=as_json)


@app.command()
def check(bundle: BundleFolder, as_json: Json = False) -> None:
    """Read every file of a bundle, compare it with its fingerprint, and name those that differ."""
    from rella_cli.views.bundle import show_checked
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import Cache
    from rella_cpp.bundles.bundle import faults, find_bundle
    from rella_cpp.bundles.manifest import Manifest
    from rella_cpp.errors import refuse
    from rella_cpp.recommender.opening import checked_bundle

    folder, cache = find_bundle(bundle), Cache(None)
    manifest = Manifest.load(folder)
    with ProgressBar(patience=2) as bar:
        refuse(list(faults(folder, manifest, cache, bar)))
        checked_bundle(folder, cache=cache, progress=bar)  # its base, too
    show_checked(folder, manifest, as_json=as_json)


def _card(content: ContentOptions, calibration: str | None) -> dict[str, Any]:
    """Return what the bundle's card says: what was given, and the figures of runs."""
    from rella_cpp import Calibration, InputError, Run
    from rella_cpp.evaluation.reports.report import measured
    from rella_cpp.storage.artifacts import read_json

    card = {} if content.card is None else read_json(content.card, "give a JSON object", sealed=False)
    if not content.runs:
        return card
    if "measured" in card:
        raise InputError("has measured, and so has --run", source=content.card, remedy="leave one out")
    own = ("model", "head", "contrast", *([] if calibration is None else [Calibration.load(calibration).name]))
    return card | {"measured": [measured(Run.open(folder), folder.name, own) for folder in content.runs]}
