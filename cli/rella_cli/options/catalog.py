"""The items of a catalog: those that an index is made of, and how many are recommended."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from rella_cli.options.domain import domain_of
from rella_cli.options.index import index_option
from rella_cli.options.output import Count
from rella_cli.options.samples import candidates_option

if TYPE_CHECKING:
    from rella_cpp import Domain, Item, ItemIndex
    from rella_cpp.inputs import Places

Catalog = Annotated[
    str, typer.Argument(metavar="DATA|ITEMS", help="A prepared data set, or a file of items (JSON, JSON Lines, -).")
]


@dataclass(frozen=True, slots=True)
class WantedOptions:
    """How many items of a catalog to recommend, and how many to judge for that."""

    index: Annotated[str, index_option("The catalog's index (rella index build).")]
    count: Count = 10
    candidates: Annotated[
        int, candidates_option("Items to judge, at least -n: near the liked ones, unlike each other.")
    ] = 30

    def most(self) -> int:
        """Return how many items are judged; refuse to judge or to recommend none."""
        from rella_cpp import InputError

        if self.count < 1 or self.candidates < 1:
            raise InputError(
                f"{self.count} recommendations of {self.candidates} candidates are wanted",
                remedy="give at least 1 of each",
            )
        return max(self.count, self.candidates)


class CatalogItems(NamedTuple):
    """The items of a catalog, where they stood, and what they are."""

    domain: "Domain"
    items: "list[Item]"
    places: "Places"


def read_catalog(catalog: str, domain: str | None, index: "ItemIndex | None" = None) -> CatalogItems:
    """Read items from a prepared data set or a file, in the domain chosen, else that of the index or the data."""
    from rella_cli.log import listen
    from rella_cpp import DataSet, load_domain
    from rella_cpp.inputs import Places, read_placed_items

    listen(False)
    data = DataSet.open(catalog) if catalog != "-" and Path(catalog).is_dir() else None
    if index is not None:
        words = domain_of(index.folder, index.manifest.domain, domain)
    elif data is not None:
        words = domain_of(data.folder, data.domain, domain)
    else:
        words = load_domain(domain or "movies")
    if data is not None:
        items = data.all_items()
        places = Places(str(data.folder), tuple(f"the item {item.fields['id']}" for item in items))
        return CatalogItems(words, items, places)
    found, places = read_placed_items(catalog, words)
    return CatalogItems(words, list(found), places)
