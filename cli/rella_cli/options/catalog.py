"""The items of a catalog: those that an index is made of, and how it stores them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from rella_cli.options.domain import domain_of
from rella_cli.options.groups import group

if TYPE_CHECKING:
    from rella_cpp import Domain, IndexSettings, Item, ItemIndex
    from rella_cpp.domains.inputs import Places

Catalog = Annotated[
    str, typer.Argument(metavar="DATA|ITEMS", help="A prepared data set, or a file of items (JSON, JSON Lines, -).")
]


@group
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


class CatalogItems(NamedTuple):
    """The items of a catalog, where they stood, and what they are."""

    domain: "Domain"
    items: "list[Item]"
    places: "Places"


def read_catalog(catalog: str, domain: str | None, index: "ItemIndex | None" = None) -> CatalogItems:
    """Read items from a prepared data set or a file, in the domain chosen, else that of the index or the data."""
    from rella_cli.log import listen
    from rella_cpp import DataSet, load_domain
    from rella_cpp.datasets.averages import items_with_averages
    from rella_cpp.domains.inputs import Places
    from rella_cpp.exports.inputs import read_placed_items

    listen(False)
    data = DataSet.open(catalog) if catalog != "-" and Path(catalog).is_dir() else None
    if index is not None:
        words = domain_of(index.folder, index.manifest.domain, domain)
    elif data is not None:
        words = domain_of(data.folder, data.domain, domain)
    else:
        words = load_domain(domain or "movies")
    if data is not None:
        items = items_with_averages(data)
        places = Places(str(data.folder), tuple(f"the item {item.fields['id']}" for item in items))
        return CatalogItems(words, items, places)
    found, places = read_placed_items(catalog, words)
    return CatalogItems(words, list(found), places)
