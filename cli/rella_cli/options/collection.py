"""Whose preferences are summarised: one history, or those of a data set's samples."""

from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rella_cli.options.data import OptionalData
from rella_cli.options.domain import domain_option
from rella_cli.options.groups import group
from rella_cli.options.history import Series, history_option
from rella_cli.options.output import Force, out_option
from rella_cli.options.samples import limit_option, seed_option, split_option

if TYPE_CHECKING:
    from rella_cpp import CollectionSettings, SummarySettings

_DATA = "Samples of a data set"


@group
class SummarizedOptions:
    """Whose history is summarised: one file's, or those of a data set's samples."""

    data: OptionalData = None
    history: Annotated[str | None, history_option("In place of DATA: one history, or - for standard input.")] = None
    domain: Annotated[str | None, domain_option("What the items are; else the data's, of a history movies.")] = None
    series: Series = False


@group
class CollectionOptions:
    """The summaries of a data set: of which samples, and where they go."""

    out: Annotated[Path | None, out_option("SUMMARIES", "The summaries' folder.", _DATA)] = None
    split: Annotated[str, split_option("train|valid|test|all", "Whose samples.", _DATA)] = "all"
    limit: Annotated[
        int | None, limit_option("How many samples to draw of each split, as rella evaluate does.", _DATA)
    ] = None
    seed: Annotated[int, seed_option("Which samples are drawn.", _DATA)] = 0
    force: Force = False

    def given(self) -> bool:
        """Tell whether any of these options is not left to its default."""
        return astuple(self) != astuple(CollectionOptions())

    def settings(self, summary: "SummarySettings") -> "CollectionSettings":
        """Make the settings, which checks the options."""
        from rella_cpp import CollectionSettings

        return CollectionSettings(self.split, self.limit, self.seed, summary)
