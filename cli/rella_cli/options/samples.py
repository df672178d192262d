"""Which samples of a data set are taken, and how many."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.groups import group
from rella_cli.options.selection import ReadingOptions

if TYPE_CHECKING:
    from rella_cpp import Selection, StreamSettings, TuningSettings


def seed_option(text: str, panel: str | None = None) -> Any:
    """Declare --seed; `text` says what is drawn."""
    return typer.Option("--seed", help=text, rich_help_panel=panel)


def limit_option(text: str, panel: str | None = None) -> Any:
    """Declare --limit."""
    return typer.Option("--limit", help=text, rich_help_panel=panel)


def split_option(metavar: str, text: str, panel: str | None = None) -> Any:
    """Declare --split: a part of the data, or the shares of all parts."""
    return typer.Option("--split", metavar=metavar, help=text, rich_help_panel=panel)


def shots_option(text: str) -> Any:
    """Declare --shots."""
    return typer.Option("--shots", help=text)


def valid_option(text: str, metavar: str | None = None) -> Any:
    """Declare --valid: what validates."""
    return typer.Option("--valid", metavar=metavar, help=text)


def candidates_option(text: str, metavar: str | None = None, panel: str | None = None) -> Any:
    """Declare --candidates; with a metavar, `text` tells the default."""
    return typer.Option("--candidates", metavar=metavar, help=text, show_default=metavar is None, rich_help_panel=panel)


def ranking_option(text: str, panel: str | None = None) -> Any:
    """Declare --ranking: the lists of another recommender."""
    return typer.Option("--ranking", metavar="DIR", help=text, rich_help_panel=panel)


@group
class ShotOptions:
    """The samples that a model is tuned on (ReiT)."""

    shots: Annotated[int, shots_option("Samples of the training split.")] = 256
    mix: Annotated[
        str | None,
        typer.Option(
            "--mix",
            metavar="both|original|retrieved",
            help="Each sample with its recent and its retrieved behaviors (ReiT), or with one of them.",
            show_default="both",
        ),
    ] = None
    seed: Annotated[int, seed_option("Which samples are drawn.")] = 0

    @property
    def mixed(self) -> str:
        """Which histories each sample is written with."""
        return self.mix or "both"

    def settings(self, reading: ReadingOptions) -> "TuningSettings":
        """Make the settings, which checks the options."""
        from rella_cpp import TuningSettings

        k = 30 if reading.k is None else reading.k
        return TuningSettings(self.shots, k, self.mixed, reading.order, self.seed)  # type: ignore[arg-type]  # it checks

    def stream_settings(self, selection: "Selection") -> "StreamSettings":
        """Make the settings of samples that are read as streams, which checks the options."""
        from rella_cpp import InputError, StreamSettings

        if self.mix is not None:
            raise InputError("--mix chooses among histories of --layout question", remedy="leave it out")
        return StreamSettings(self.shots, selection.k, selection.window or "anchored", self.seed)
