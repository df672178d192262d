"""The vectors' file: usearch's graph and the vectors in it. What usearch does not say in a line is said here."""

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import InputError
from rella_cpp.retrieval.index.manifest import IndexManifest
from rella_cpp.retrieval.index.walk import check_walk

REMEDY = "build the index again"
_BYTES = {"f16": 2, "f32": 4}
_HEAD = struct.Struct("<II")  # how many vectors, bytes of each; the vectors follow
_GRAPH = 64  # bytes behind them, of usearch's version and kinds; the graph follows
_NODES = struct.Struct(f"<{_GRAPH}xQ")  # how many nodes it has


def new_graph(dim: int, dtype: str) -> Any:
    """Make a graph without vectors."""
    from usearch.index import Index, MetricKind

    return Index(ndim=dim, metric=MetricKind.Cos, dtype=dtype)


def open_graph(path: Path, manifest: IndexManifest, *, view: bool) -> Any:
    """Open a file of vectors that is as it was written: memory-mapped, or with `view` False read, to be added to.

    Raises
    ------
    InputError
        It is not what the manifest says, or usearch cannot read it.

    """
    from usearch.index import Index, MetricKind, ScalarKind

    kinds = {"f16": ScalarKind.F16, "f32": ScalarKind.F32}
    wanted = {
        "count_present": manifest.items,
        "dimensions": manifest.dim,
        "kind_scalar": kinds[manifest.dtype],
        "kind_metric": MetricKind.Cos,
    }
    if not view:
        check_graph(path, manifest)
    with reading(path):
        _check_head(path, manifest)
        facts = Index.metadata(path) or {}
        if wanted != {name: facts.get(name) for name in wanted}:
            raise ValueError("its graph is of other vectors")
        index = Index.restore(path, view=view)
        if index is None:
            raise ValueError("it is gone")
    return index


def add_vectors(index: Any, first: int, vectors: npt.NDArray[np.float32], path: Path) -> None:
    """Add vectors under ascending keys; by one thread, since the graph depends on the order of insertion."""
    try:
        index.add(np.arange(first, first + len(vectors), dtype=np.uint64), vectors, threads=1)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise InputError(f"cannot be made ({error})", source=path, remedy="free memory, or index fewer items") from None


def save_graph(index: Any, path: Path) -> None:
    """Write a usearch index; a full disk raises OSError, as it does elsewhere."""
    try:
        index.save(path)
    except RuntimeError as error:  # usearch does not say why
        raise OSError(errno.ENOSPC, f"{error}: no space left, perhaps") from None


def check_graph(path: Path, manifest: IndexManifest) -> None:
    """Refuse a graph that cannot be walked; for 180,000 items that takes 0.2 s.

    Raises
    ------
    InputError
        It leads out of itself.

    """
    with reading(path):
        _check_head(path, manifest)
        check_walk(path, _HEAD.size + manifest.items * manifest.dim * _BYTES[manifest.dtype] + _GRAPH)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file usearch could not read, or search in.

    Raises
    ------
    InputError
        It could not.

    """
    try:
        yield
    except (RuntimeError, ValueError, MemoryError, OSError) as error:
        raise InputError(f"cannot be read ({error})", source=path, remedy=REMEDY) from None


def _check_head(path: Path, manifest: IndexManifest) -> None:
    """Compare the numbers of the manifest with those of the file, before usearch takes as much memory as they say."""
    with path.open("rb") as file:
        rows, width = _HEAD.unpack(file.read(_HEAD.size).ljust(_HEAD.size, b"\0"))
        file.seek(rows * width, os.SEEK_CUR)
        (nodes,) = _NODES.unpack(file.read(_NODES.size).ljust(_NODES.size, b"\0"))
    if (rows, width, nodes) != (manifest.items, manifest.dim * _BYTES[manifest.dtype], manifest.items):
        raise InputError(
            f"holds {rows} vectors of {width} bytes and {nodes} nodes, the manifest says {manifest.items} vectors of "
            f"{manifest.dim} as {manifest.dtype}",
            source=path,
            remedy=REMEDY,
        )
