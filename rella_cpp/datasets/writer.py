"""Writing a prepared data set: its tables and its manifest."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from rella_cpp.datasets.content import Prepared, split_names
from rella_cpp.datasets.layout import FORMAT_VERSION, MANIFEST, SPLITS, TABLES
from rella_cpp.datasets.sampling import users_of
from rella_cpp.storage.artifacts import sha256, write_json
from rella_cpp.storage.progress import Progress, no_progress

_ROWS_A_GROUP = 1 << 20


def write(
    prepared: Prepared,
    folder: Path,
    *,
    format_name: str,
    sources: Mapping[str, str],
    progress: Progress = no_progress,
) -> None:
    """Write the tables and the manifest into a folder; `sources` are the SHA-256 of the source's files by name."""
    for done, (name, table) in enumerate(zip(TABLES, _tables(prepared), strict=True)):
        progress("writing tables", done, len(TABLES))
        parquet.write_table(table, folder / name, row_group_size=_ROWS_A_GROUP, compression="zstd")
    write_json(folder / MANIFEST, _manifest(prepared, folder, format_name, sources))
    progress("writing tables", len(TABLES), len(TABLES))


def _tables(prepared: Prepared) -> tuple[pa.Table, ...]:
    known, samples = prepared.interactions, prepared.samples
    done: dict[str, object] = {"user": users_of(known), "item": known.item}
    if known.rating is not None:
        missing = np.isnan(known.rating)
        done["rating"] = pa.array(known.rating, mask=missing) if missing.any() else known.rating
    if known.timestamp is not None:
        done["timestamp"] = known.timestamp
    if known.average is not None:
        done["average"] = known.average
    columns = {name: getattr(samples, name) for name in ("user", "position", "item", "label")}
    columns["split"] = split_names(samples.split)
    return prepared.users, prepared.items, pa.table(done), pa.table(columns)


def _manifest(prepared: Prepared, part: Path, format_name: str, sources: Mapping[str, str]) -> dict[str, object]:
    """Say what the data set is. No times, no paths: preparing twice gives the same bytes."""
    samples = prepared.samples
    return {
        "rella_data": FORMAT_VERSION,
        "rella": version("rella-cpp"),
        "format": format_name,
        "domain": prepared.domain,
        "rules": dict(prepared.rules),
        "counts": {
            "users": len(prepared.users),
            "items": len(prepared.items),
            "interactions": len(prepared.interactions.item),
            "samples": {
                name: int(count)
                for name, count in zip(SPLITS, np.bincount(samples.split, minlength=len(SPLITS)), strict=True)
            },
            "liked": {
                name: int(samples.label[samples.split == number].sum(dtype=np.int64))
                for number, name in enumerate(SPLITS)
            },
        },
        "left_out": {name: dict(kinds) for name, kinds in prepared.left_out.items() if kinds},
        "repaired": dict(prepared.repaired),
        "files": {name: sha256(part / name) for name in TABLES},
        "sources": dict(sources),
    }
