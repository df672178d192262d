"""Which behaviors of a history prompts show, and what is asked of them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.groups import group
from rella_cli.options.index import index_option

if TYPE_CHECKING:
    from rella_cpp import Selection

READING = "Reading the history"
"""The panel of --help with everything about the history."""


def by_option(metavar: str, text: str, panel: str | None = READING) -> Any:
    """Declare --by, which means another thing where data sets are split."""
    return typer.Option("--by", metavar=metavar, help=text, rich_help_panel=panel)


def contrast_option(text: str, panel: str | None = None) -> Any:
    """Declare --contrast."""
    return typer.Option("--contrast", help=text, rich_help_panel=panel)


K = Annotated[int, typer.Option("-k", help="Behaviors to read at most.", show_default=True, rich_help_panel=READING)]
By = Annotated[
    str,
    by_option(
        "yes-no|likelihood",
        "Ask of each item whether it is liked; or list all, and ask which comes next: one prompt (DELRec).",
    ),
]
Index = Annotated[
    str | None,
    index_option("Take the items' vectors from an index (rella index build), whichever model made it.", READING),
]
Contrast = Annotated[
    bool,
    contrast_option(
        "Also judge the item with no history, and subtract that gap (one more prompt an item, kept in the cache).",
        READING,
    ),
]


@group
class ReadingOptions:
    """Which behaviors a prompt shows, in which order, and what is asked of them."""

    k: K = 30
    retrieval: Annotated[
        str,
        typer.Option(
            "--retrieval",
            help="subr: those nearest to the item; recent: the latest.",
            rich_help_panel=READING,
        ),
    ] = "subr"
    order: Annotated[
        str,
        typer.Option(
            "--order",
            metavar="time|similarity|reversed|shared",
            help="In the prompt: oldest, nearest or latest first; shared: what most targets retrieve "
            "(fastest to rank).",
            rich_help_panel=READING,
        ),
    ] = "time"
    by: By = "yes-no"
    allow_empty_history: Annotated[
        bool, typer.Option("--allow-empty-history", help="Score without any behavior.", rich_help_panel=READING)
    ] = False
    index: Index = None
    contrast: Contrast = False

    def selection(self) -> "Selection":
        """Make the selection of behaviors, which checks the options."""
        from rella_cpp import Selection

        allow = self.allow_empty_history
        return Selection(self.k, self.retrieval, self.order, allow)  # type: ignore[arg-type]  # it checks them
