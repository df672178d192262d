"""Writes rankings of a recommender that knows nothing: any items, in any order."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from rella_cpp import DataSet, Rankings
from rella_cpp.storage.artifacts import sha256, write_json


def write_rankings(folder: Path, data: DataSet, places: Iterable[tuple[int, int]], *, depth: int) -> Rankings:
    """Write a list of `depth` random items for every (user, position), and open them."""
    random = np.random.default_rng(0)
    rows = [
        {
            "user": user,
            "position": position,
            "items": random.permutation(data.items.num_rows)[:depth].tolist(),
            "scores": np.arange(depth, 0.0, -1.0).tolist(),
        }
        for user, position in sorted(places)
    ]
    folder.mkdir()
    parquet.write_table(pa.Table.from_pylist(rows), folder / "rankings.parquet")
    manifest = {
        "rella_rankings": 1,
        "name": "Random",
        "data": {"name": data.name, "fingerprint": data.fingerprint},
        "counts": {"lists": len(rows), "users": len({row["user"] for row in rows}), "scores": len(rows) * depth},
        "depth": {"shortest": depth, "longest": depth},
        "files": {"rankings.parquet": sha256(folder / "rankings.parquet")},
    }
    write_json(folder / "manifest.json", manifest)
    return Rankings.open(folder)
