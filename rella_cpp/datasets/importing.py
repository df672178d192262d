"""A table of rankings that another recommender wrote becomes a folder of ours, checked against the data set."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rella_cpp.cache import Progress, no_progress
from rella_cpp.datasets.rankings import FORMAT_VERSION, MANIFEST, MARK, TABLE, Rankings
from rella_cpp.errors import InputError
from rella_cpp.files import new_folder, refuse_foreign, sha256, write_json
from rella_gguf.files import refuse_existing

if TYPE_CHECKING:
    from rella_cpp.datasets import DataSet
    from rella_cpp.datasets.ranking_tables import TableOfLists

_GROUP = 1 << 16
"""Scores in a row group: what is read to find one list."""


def import_rankings(
    table: str | Path,
    data: "DataSet",
    out: str | Path,
    *,
    name: str = "",
    force: bool = False,
    progress: Progress = no_progress,
) -> Rankings:
    """Write a table of rankings as a folder that `Rankings.open` opens.

    A row of the table is `user`, `position`, `item` and `score`, or `user`, `position` and the lists `items` and
    `scores`; users and items by their ids in the data set. Lists are sorted by score; ties keep the table's order. The
    same lists give the same folder, in whichever form and order they come.

    Parameters
    ----------
    table
        A CSV, TSV, JSON, JSON Lines or Parquet file, a zip of one, or a folder that `datasets` saved.
    name
        What the recommender is called.

    Raises
    ------
    InputError
        The table cannot be read, holds no list, or a row of it does not fit the data set; or `out` is there already,
        and `force` is not set or it is something else.

    """
    # It imports pyarrow, which takes a third of a second.
    from rella_cpp.datasets.ranking_tables import read_lists

    out = Path(out)
    if not force:
        refuse_existing(out)
    refuse_foreign(out, MARK, "folder of rankings")
    found = read_lists(Path(table), data, progress)
    keys, counts, items, scores = _sorted(found, data)
    with new_folder(out) as part:
        _write(part / TABLE, keys, counts, items, scores, progress)
        manifest = {
            MARK: FORMAT_VERSION,
            "rella": version("rella-cpp"),
            "name": name,
            "data": {"name": data.name, "fingerprint": data.fingerprint},
            "counts": {"lists": len(keys), "users": len(np.unique(keys >> 32)), "scores": len(items)},
            "depth": {"shortest": int(counts.min()), "longest": int(counts.max())},
            "files": {TABLE: sha256(part / TABLE)},
        }
        write_json(part / MANIFEST, manifest)
    return Rankings.open(out)


def _sorted(
    found: "TableOfLists", data: "DataSet"
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Return the lists' keys, ascending, their lengths, items and scores, the best first."""
    keys, of_stretch = np.unique(found.keys, return_inverse=True)
    number = np.repeat(of_stretch.astype(np.int32), found.counts)
    _refuse_repeated(found, keys, number, data)
    items, scores = found.items, found.scores
    same = number[1:] == number[:-1]
    if np.any(number[1:] < number[:-1]) or np.any(same & (scores[1:] > scores[:-1])):
        order = np.lexsort((-scores, number))
        items, scores = items[order], scores[order]
    return keys, np.bincount(number, minlength=len(keys)), items, scores


def _refuse_repeated(
    found: "TableOfLists", keys: npt.NDArray[np.int64], number: npt.NDArray[np.int32], data: "DataSet"
) -> None:
    """Refuse an item that comes twice in a list; `number` is every item's list."""
    pairs = number.astype(np.int64) << 32 | found.items
    ordered = np.sort(pairs)
    if not np.any(ordered[1:] == ordered[:-1]):
        return
    order = np.argsort(pairs, kind="stable")
    at = int(order[1:][pairs[order[1:]] == pairs[order[:-1]]].min())
    user, position = divmod(int(keys[number[at]]), 1 << 32)
    raise InputError(
        f"the item {data.item_id(int(found.items[at]))!r} comes twice in the list of user {data.user_id(user)!r}"
        f" at position {position}",
        source=found.source,
        place=found.place(at),
        remedy="give each item of a list once",
    )


def _write(
    path: Path,
    keys: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    scores: npt.NDArray[np.float64],
    progress: Progress,
) -> None:
    """Write the table in row groups of a few lists, so that to find one list takes a millisecond."""
    import pyarrow as pa
    from pyarrow import parquet

    starts = np.append(0, np.cumsum(counts))
    firsts = np.append(np.unique(starts[:-1] // _GROUP, return_index=True)[1], len(keys))
    plain = {"items": pa.list_(pa.int32()), "scores": pa.list_(pa.float64())}
    schema = pa.schema({"user": pa.int32(), "position": pa.int32()} | plain)
    with parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        for first, end in zip(firsts[:-1].tolist(), firsts[1:].tolist(), strict=True):
            progress("writing lists", first, len(keys))
            cuts = pa.array((starts[first : end + 1] - starts[first]).astype(np.int32))
            values = slice(starts[first], starts[end])
            part = {
                "user": (keys[first:end] >> 32).astype(np.int32),
                "position": (keys[first:end] & 0xFFFFFFFF).astype(np.int32),
                "items": pa.ListArray.from_arrays(cuts, items[values]),
                "scores": pa.ListArray.from_arrays(cuts, scores[values]),
            }
            writer.write_table(pa.table(part, schema=schema), row_group_size=end - first)
    progress("writing lists", len(keys), len(keys))
