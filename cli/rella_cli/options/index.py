"""The index of a catalog: where its vectors lie, and how they are stored."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rella_cpp import IndexSettings, ItemIndex

IndexFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The index.")]


def index_option(text: str, panel: str | None = None) -> Any:
    """Declare --index; `text` says what it is for."""
    return typer.Option("--index", metavar="DIR", help=text, rich_help_panel=panel)


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """How an index stores vectors."""

    dim: Annotated[int, typer.Option("--dim", help="Dimensions after PCA, at most.")] = 512
    pool: Annotated[
        str, typer.Option("--pool", metavar="prompt|item", help="Average the whole text, or the item's own words.")
    ] = "prompt"
    dtype: Annotated[str, typer.Option("--dtype", metavar="f16|f32", help="How vectors are stored.")] = "f16"

    def settings(self) -> "IndexSettings":
        """Make the settings, which checks them."""
        from rella_cpp import IndexSettings

        return IndexSettings(self.dim, self.pool, self.dtype)  # type: ignore[arg-type]  # it checks them


def open_index(folder: str | Path, *, no_cache: bool) -> "ItemIndex":
    """Open an index, whose files are checked once, or with `no_cache` each time."""
    from rella_cpp import Cache, ItemIndex

    return ItemIndex.open(folder, cache=Cache(None) if no_cache else None)
