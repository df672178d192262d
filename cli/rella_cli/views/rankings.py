"""How the imported lists of another recommender look."""

from pathlib import Path
from typing import TYPE_CHECKING

from rella_cli.views.terminal import facts, note, print_json

if TYPE_CHECKING:
    from rella_cpp import RankingsSummary


def show_rankings(summary: "RankingsSummary", folder: Path, *, as_json: bool) -> None:
    """Print how many lists there are, and how many targets have one."""
    if as_json:
        print_json({"folder": str(folder), **summary.as_dict()})
        return
    depth = (
        f"{summary.shortest:,}" if summary.shortest == summary.longest else f"{summary.shortest:,}–{summary.longest:,}"
    )
    told = {
        "folder": str(folder),
        "rankings": f"{summary.name or 'without a name'}, for {summary.data}",
        "lists": f"{summary.lists:,} of {summary.users:,} users, of {depth} items",
    }
    for split, share in (("test", summary.test), ("valid", summary.valid)):
        told[f"{split} targets"] = "none in the data" if share is None else f"{share:.1%} have a list"
    if summary.first is not None and summary.near is not None:
        told["test targets listed"] = f"{summary.first:.1%} first, {summary.near:.1%} among the first 10 of all items"
    facts(told)
    if summary.test == 0:
        note("no test target has a list: give lists for users' last positions, or mend positions that are too low")
