"""The index of a catalog: the folder where its vectors lie."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rella_cpp import ItemIndex

IndexFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The index.")]


def index_option(text: str, panel: str | None = None) -> Any:
    """Declare --index; `text` says what it is for."""
    return typer.Option("--index", metavar="DIR", help=text, rich_help_panel=panel)


def open_index(folder: str | Path, *, no_cache: bool) -> "ItemIndex":
    """Open an index, whose files are checked once, or with `no_cache` each time."""
    from rella_cpp import Cache, ItemIndex

    return ItemIndex.open(folder, cache=Cache(None) if no_cache else None)
