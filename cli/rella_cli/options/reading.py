"""How the history is read."""

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


_NAMES = {"context_kind": "--context"}
"""What options are called that are not called like their parameters."""


def by_likelihood(context: typer.Context, by: str, *refused: str) -> bool:
    """Tell whether candidates are chosen by likelihood; refuse an unknown way, and options that it does not know.

    Parameters
    ----------
    context
        Says which options were given.
    by
        The value of `--by`.
    refused
        Options, by parameter name, that the command has and a choice does not know, whatever their value.

    Raises
    ------
    InputError
        The way is unknown, or an option was given that it does not know.

    """
    from rella_cpp import InputError

    if by not in ("yes-no", "likelihood"):
        raise InputError(f"by is {by!r}", remedy="one of yes-no, likelihood")
    if by == "yes-no":
        return False
    known: dict[str, Any] = {"retrieval": "recent", "order": "time", "context_kind": "history"}
    for name in (*known, *refused):
        value = context.params.get(name)
        if _given(context, name) and (name not in known or value != known[name]):
            option = f"{_NAMES.get(name, f'--{name}')} {value if name in known else ''}".strip()
            raise InputError(
                f"{option} with --by likelihood: it shows the latest behaviors, oldest first, and reads items' names",
                remedy="leave one of them out",
            )
    return True


def _given(context: typer.Context, name: str) -> bool:
    """Tell whether an option was given, and not left to its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
