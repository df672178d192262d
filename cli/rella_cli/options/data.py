"""A prepared data set, and what goes with it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from rella_cli.options.domain import domain_of, domain_option
from rella_cli.options.groups import group
from rella_cli.options.index import open_index

if TYPE_CHECKING:
    from rella_cpp import DataSet, Domain, Histories, ItemIndex

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A prepared data set.")]
OptionalData = Annotated[Path | None, typer.Argument(metavar="DATA", help="A prepared data set.", show_default=False)]
DataDomain = Annotated[str | None, domain_option("What the items are; else the data's.")]


class OpenedData(NamedTuple):
    """A data set, the domain that fits it, and the index of its items, if one is wanted."""

    data: "DataSet"
    domain: "Domain"
    catalog: "ItemIndex | None"

    def histories(self, progress: Callable[..., None]) -> "Histories":
        """Make what finds the behaviors of its samples."""
        from rella_cpp import Histories

        return Histories(self.data, self.catalog, self.domain, progress)


@group
class DataOptions:
    """The data set, and what its items are."""

    data: Data
    domain: DataDomain = None

    def open(self, index: str | None = None, *, allow_mismatch: bool = False, no_cache: bool = False) -> OpenedData:
        """Open it, and an index; see `open_data`."""
        return open_data(self.data, self.domain, index, allow_mismatch=allow_mismatch, no_cache=no_cache)


def open_data(
    data: Path,
    domain: str | None,
    index: str | None = None,
    *,
    allow_mismatch: bool = False,
    no_cache: bool = False,
) -> OpenedData:
    """Open a data set, the domain that fits it, and an index, of the same wording unless a mismatch is allowed."""
    from rella_cpp import DataSet

    source = DataSet.open(data)
    words = domain_of(source.folder, source.domain, domain)
    catalog = None if index is None else open_index(index, no_cache=no_cache)
    if catalog is not None and not allow_mismatch:
        catalog.manifest.check_domain(words, catalog.folder)
    return OpenedData(source, words, catalog)
