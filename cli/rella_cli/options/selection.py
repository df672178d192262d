"""Which behaviors of a history prompts show, and what is asked of them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.groups import group
from rella_cli.options.index import index_option

if TYPE_CHECKING:
    from rella_cli.options.model import ModelOptions
    from rella_cpp import Selection, SummarySettings
    from rella_cpp.recommender.tuned_layout import TunedLayout

READING = "Reading the history"
"""The panel of --help with everything about the history."""


def by_option(metavar: str, text: str, panel: str | None = READING) -> Any:
    """Declare --by, which means another thing where data sets are split."""
    return typer.Option("--by", metavar=metavar, help=text, rich_help_panel=panel)


def contrast_option(text: str, panel: str | None = None) -> Any:
    """Declare --contrast."""
    return typer.Option("--contrast", help=text, rich_help_panel=panel)


K = Annotated[int, typer.Option("-k", help="Behaviors to read at most.", show_default=True, rich_help_panel=READING)]
LayoutK = Annotated[
    int | None,
    typer.Option(
        "-k",
        help="Behaviors to read at most: 30 unless given; of a stream 12, or as its adapter was tuned.",
        show_default=False,
        rich_help_panel=READING,
    ),
]
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

    k: LayoutK = None
    retrieval: Annotated[
        str | None,
        typer.Option(
            "--retrieval",
            metavar="subr|recent|both",
            help="subr: those nearest to the item; recent: the latest, a stream's default; both, of a stream: some of "
            "each.",
            show_default="subr",
            rich_help_panel=READING,
        ),
    ] = None
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

    def selection(self, layout: "LayoutOptions", tuned: "TunedLayout") -> "Selection":
        """Make the selection of behaviors for a layout, which checks the options."""
        from rella_cpp import Selection

        return Selection.of(
            tuned.layout,
            tuned.k if self.k is None else self.k,
            self.retrieval,  # type: ignore[arg-type]  # it checks them
            self.order,  # type: ignore[arg-type]
            window=layout.window,  # type: ignore[arg-type]
            allow_empty_history=self.allow_empty_history,
        )


@group
class LayoutOptions:
    """How a history is laid out in a prompt."""

    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            metavar="question|stream",
            help="A yes-or-no question about the item (ReLLa); or a line per behavior that ends in its rating, and the "
            "item's comes next. Else as the adapter was tuned, else question.",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            metavar="anchored|sliding",
            help="Latest behaviors of a stream: K to 2K - 1, so that the next prompt begins with this one; or K.",
            show_default="anchored",
            rich_help_panel=READING,
        ),
    ] = None

    def tuned(self, model: "ModelOptions", summary: "SummarySettings | None" = None) -> "TunedLayout":
        """Return the layout wanted, or that of the model's adapters; refuse a summary in a stream."""
        from rella_cpp.recommender.tuned_layout import tuned_layout
        from rella_cpp.scoring.query import refuse_summary

        tuned = tuned_layout(self.layout, model.adapters(), base=model.path())  # type: ignore[arg-type]  # it checks it
        if summary is not None and tuned.layout == "stream":
            refuse_summary()
        return tuned
