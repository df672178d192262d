"""A table of rankings that another recommender wrote becomes a folder of ours, checked against the data set."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.rankings.lists import FORMAT_VERSION, MANIFEST, MARK, TABLE, Rankings
from rella_cpp.errors import InputError
from rella_cpp.storage.artifacts import named, new_folder, sha256, write_json
from rella_cpp.storage.progress import Progress, no_progress

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet
    from rella_cpp.datasets.rankings.tables import TableOfLists

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
        and `force` is not set or it is something else; or another process writes it.

    """
    # It imports pyarrow, which takes a third of a second.
    from rella_cpp.datasets.rankings.tables import read_lists

    out = named(out)
    with new_folder(out, MARK, "folder of rankings", force=force) as part:
        lists = _by_key(read_lists(Path(table), data, progress))
        _write(part / TABLE, lists, data, progress)
        manifest = {
            MARK: FORMAT_VERSION,
            "rella": version("rella-cpp"),
            "name": name,
            "data": data.identity,
            "counts": {
                "lists": len(lists.keys),
                "users": len(np.unique(lists.keys >> 32)),
                "scores": len(lists.items),
            },
            "depth": {"shortest": int(lists.counts.min()), "longest": int(lists.counts.max())},
            "files": {TABLE: sha256(part / TABLE)},
        }
        write_json(part / MANIFEST, manifest)
    return Rankings.open(out)


@dataclass(frozen=True, slots=True)
class _Lists:
    """Lists by ascending key, each once; `rows` is where in the table an item stood, None where it stands there."""

    keys: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64] | None
    table: "TableOfLists"


def _by_key(found: "TableOfLists") -> _Lists:
    """Bring the lists into order, and what is in several stretches of the table into one list."""
    keys, counts, items, scores, rows = found.keys, found.counts, found.items, found.scores, None
    if np.any(keys[1:] < keys[:-1]):
        order = np.argsort(keys, kind="stable")
        starts = (np.cumsum(counts) - counts)[order]
        keys, counts = keys[order], counts[order]
        rows = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(len(items))
        items, scores = items[rows], scores[rows]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return _Lists(keys[first], np.add.reduceat(counts, first), items, scores, rows, found)


def _write(path: Path, lists: _Lists, data: "DataSet", progress: Progress) -> None:
    """Write the table in row groups of a few lists, so that to find one list takes a millisecond."""
    import pyarrow as pa
    from pyarrow import parquet

    starts = np.append(0, np.cumsum(lists.counts))
    firsts = np.append(np.unique(starts[:-1] // _GROUP, return_index=True)[1], len(lists.keys))
    plain = {"items": pa.list_(pa.int32()), "scores": pa.list_(pa.float64())}
    schema = pa.schema({"user": pa.int32(), "position": pa.int32()} | plain)
    # Scores were mostly float32 once: with their bytes apart, the empty ones pack to nothing, half of the file.
    apart = {"compression": "zstd", "use_dictionary": False, "use_byte_stream_split": ["scores.list.element"]}
    with parquet.ParquetWriter(path, schema, **apart) as writer:
        for first, end in zip(firsts[:-1].tolist(), firsts[1:].tolist(), strict=True):
            progress("writing lists", first, len(lists.keys))
            items, scores = _best_first(lists, first, end, int(starts[first]), data)
            cuts = pa.array((starts[first : end + 1] - starts[first]).astype(np.int32))
            part = {
                "user": (lists.keys[first:end] >> 32).astype(np.int32),
                "position": (lists.keys[first:end] & 0xFFFFFFFF).astype(np.int32),
                "items": pa.ListArray.from_arrays(cuts, items),
                "scores": pa.ListArray.from_arrays(cuts, scores),
            }
            writer.write_table(pa.table(part, schema=schema), row_group_size=end - first)
    progress("writing lists", len(lists.keys), len(lists.keys))


def _best_first(
    lists: _Lists, first: int, end: int, start: int, data: "DataSet"
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Return the items and scores of some lists, whose items begin at `start`; ties keep the table's order.

    Raises
    ------
    InputError
        An item comes twice in a list.

    """
    number = np.repeat(np.arange(first, end), lists.counts[first:end])
    taken = slice(start, start + len(number))
    items, scores = lists.items[taken], lists.scores[taken]
    pairs = number << 32 | items
    order = np.argsort(pairs, kind="stable")
    again = order[1:][pairs[order[1:]] == pairs[order[:-1]]]
    if len(again):
        at = int(again.min())
        user, position = divmod(int(lists.keys[number[at]]), 1 << 32)
        item, row = data.item_id(int(items[at])), start + at
        raise InputError(
            f"the item {item!r} comes twice in the list of user {data.user_id(user)!r} at position {position}",
            source=lists.table.source,
            place=lists.table.place(row if lists.rows is None else int(lists.rows[row])),
            remedy="give each item of a list once",
        )
    if np.any((number[1:] == number[:-1]) & (scores[1:] > scores[:-1])):
        order = np.lexsort((-scores, number))
        items, scores = items[order], scores[order]
    return items, scores
