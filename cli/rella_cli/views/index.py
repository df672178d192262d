"""How the index of a catalog looks, and what is found in it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from rella_cli.views.terminal import console, facts, line, note, print_json

if TYPE_CHECKING:
    from rella_cpp import Domain, Item, ItemIndex

_SAME = 0.999  # cosine of an item with itself, stored in half precision


def show_index(index: "ItemIndex", more: Mapping[str, float], *, as_json: bool) -> None:
    """Print what an index holds and what made it, and `more` of what was done."""
    manifest = asdict(index.manifest)
    size = sum(file.stat().st_size for file in index.folder.iterdir())
    if as_json:
        print_json({"folder": str(index.folder), **manifest, "bytes": size, **more})
        return
    facts(
        {
            "index": str(index.folder),
            "items": f"{len(index):,}",
            "vectors": f"{manifest['dim']} dimensions, {manifest['dtype']}; PCA keeps {manifest['explained']:.1%}",
            "model": f"{manifest['model']} ({manifest['fingerprint'][:12]})",
            "domain": f"{manifest['domain']} ({manifest['template'][:12]}), averaged over the {manifest['pool']}",
            "size": f"{size / 1e6:,.1f} MB",
            **{name.replace("_", " "): f"{value:,}" for name, value in more.items()},
        }
    )


def show_found(found: "Sequence[tuple[Item, float]]", domain: "Domain", *, as_json: bool) -> None:
    """Print the items found, the nearest first."""
    if as_json:
        for rank, (item, cosine) in enumerate(found, start=1):
            print_json({"rank": rank, "cosine": cosine, "item": dict(item.fields)})
    else:
        table = Table(box=None, pad_edge=False)
        for name in ("", "cosine", "item"):
            table.add_column(name)
        for rank, (item, cosine) in enumerate(found, start=1):
            table.add_row(str(rank), f"{cosine:.3f}", line(domain.show_item(item)))
        console().print(table)
    if found and found[0][1] < _SAME:
        note(
            "note: no item is called so, so the words themselves were embedded: whole titles find more, and so does an "
            "index built with --pool item"
        )
