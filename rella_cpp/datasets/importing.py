"""A table of rankings that another recommender wrote becomes a folder of ours, checked against the data set."""

from pathlib import Path
from typing import TYPE_CHECKING

from rella_cpp.cache import Progress, no_progress
from rella_cpp.datasets.rankings import Rankings

if TYPE_CHECKING:
    from rella_cpp.datasets import DataSet


def import_rankings(
    table: str | Path,
    data: "DataSet",
    out: str | Path,
    *,
    name: str = "",
    force: bool = False,
    progress: Progress = no_progress,
) -> Rankings:
    """Read a table of rankings, check it against the data set and write it as a folder."""
    raise NotImplementedError
