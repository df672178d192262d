"""Index folders that are damaged, or forged with the right checksums: refused in a line, never read by usearch."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from rella_cpp import Cache, InputError, ItemIndex
from rella_cpp.storage.artifacts import read_json, sha256, write_json


def grown_file(index: ItemIndex, size: int) -> Path:
    """Let the vectors' file be as large as that of a great catalog; its manifest says so."""
    path = index.folder / index.manifest.vectors_file
    with path.open("r+b") as file:
        file.truncate(size)  # a hole, which takes no room on the disk
    replace(index.manifest, files={**index.manifest.files, path.name: sha256(path)}).save(index.folder)
    return path


def test_a_large_file_is_checked_once_and_whenever_it_changed(small_index: ItemIndex, tmp_path: Path) -> None:
    path = grown_file(small_index, 70 << 20)
    told: list[str] = []

    def first_vector(cache: Cache | None = None) -> None:
        told.clear()
        index = ItemIndex.open(small_index.folder, cache=cache)
        index.progress = lambda task, *_: told.append(task)
        assert index.vectors([0]).any()

    first_vector()
    assert told and set(told) == {"reading the file once for its fingerprint, MiB"}
    first_vector()
    assert told == []  # remembered
    first_vector(Cache(None))
    assert told  # nothing is kept, and nothing known
    with path.open("r+b") as file:
        file.seek(68 << 20)
        file.write(b"damage")
    for cache in (None, Cache(None)):
        with pytest.raises(InputError, match=r"vectors-0\.usearch: is damaged .*; build the index again"):
            first_vector(cache)
    (tmp_path / "file").touch()  # a cache that cannot be: what it would remember is found anew
    with pytest.raises(InputError, match="is damaged"):
        first_vector(Cache(tmp_path / "file"))
    grown_file(small_index, 70 << 20)
    first_vector(Cache(tmp_path / "file"))


def rewritten(**facts: object) -> Callable[[Path], None]:
    """Change what the manifest says, and seal it again."""

    def act(folder: Path) -> None:
        path = folder / "manifest.json"
        write_json(path, {**read_json(path, ""), **facts})

    return act


GRAPH = 8 + 30 * 16 * 2
"""Where the graph begins in the vectors' file of `small_index`."""


def forged(start: int, data: bytes) -> Callable[[Path], None]:
    """Overwrite part of the vectors' file, and write its digest into the manifest."""

    def act(folder: Path) -> None:
        path = folder / "vectors-0.usearch"
        whole = bytearray(path.read_bytes())
        whole[start : start + len(data)] = data
        path.write_bytes(whole)
        files = read_json(folder / "manifest.json", "")["files"]
        assert isinstance(files, dict)
        rewritten(files={**files, path.name: sha256(path)})(folder)

    return act


def damage(name: str, data: bytes | None) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        path = next(folder.glob(name))
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)

    return act


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (damage("*.usearch", None), "has no vectors-0.usearch"),
        (damage("*.usearch", b"nonsense" * 20), "vectors-0.usearch: is damaged"),
        (damage("*.parquet", b"nonsense"), "items-0.parquet: is damaged (its checksum"),
        (damage("manifest.json", b"{"), "manifest.json: is damaged"),
        (damage("manifest.json", b'{"format": 9}'), "another format"),
        (damage("manifest.json", b'{"format": 1, "x": 2}'), "is damaged"),
        (damage("pca.npz", b"PK\x03\x04"), "pca.npz: is damaged"),
        (rewritten(dim="16"), "manifest.json: is damaged (dim is '16')"),
        (rewritten(items=-3), "manifest.json: is damaged (items is -3)"),
        (rewritten(dtype="i8"), "manifest.json: is damaged (dtype is 'i8')"),
        (rewritten(files=None), "manifest.json: is damaged (files is None)"),
        (rewritten(pool="all"), "manifest.json: is damaged (pool is 'all')"),
        (rewritten(width=8), "pca.npz: is of the size (16, 16), the manifest says (16, 8)"),
        (rewritten(model=None), "manifest.json: is damaged (model is None)"),
        (
            rewritten(dim=8),
            "vectors-0.usearch: holds 30 vectors of 32 bytes and 30 nodes, the manifest says 30 vectors",
        ),
        (rewritten(dtype="f32"), "the manifest says 30 vectors of 16 as f32; build the index again"),
        (rewritten(items=31), "the manifest says 31 vectors of 16 as f16"),
        (forged(0, b"\xff\xff\xff\x7f"), "vectors-0.usearch: holds 2147483647 vectors of 32 bytes and 0 nodes"),
        (forged(GRAPH + 64, b"\xff" * 8), "and 18446744073709551615 nodes"),
        (forged(GRAPH, b"USEARCH"), "vectors-0.usearch: cannot be read (Not a dense USearch index!)"),
        (forged(GRAPH + 14, b"\x0b"), "vectors-0.usearch: cannot be read (its graph is of other vectors)"),
        (forged(GRAPH + 64 + 8, b"\xff" * 8), "vectors-0.usearch: cannot be read ("),
        (forged(GRAPH + 64 + 40 + 60, b"\x05"), "index: lacks vectors of some items; build"),
        (forged(GRAPH + 64 + 40 + 60 + 10, b"\xff" * 4), "cannot be read (its graph leads to where nothing is)"),
        (forged(GRAPH + 64 + 40 + 60 + 14, b"\xff" * 4), "cannot be read (its graph leads to where nothing is)"),
    ],
)
def test_a_damaged_index_is_refused(small_index: ItemIndex, act: Callable[[Path], None], said: str) -> None:
    act(small_index.folder)
    with pytest.raises(InputError) as caught:
        index = ItemIndex.open(small_index.folder)
        index.vectors([0]), index.ids(), index.projection
        index.search(np.ones(16, np.float32), 3, exact=False)
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


def with_fields(folder: Path, fields: pa.Array) -> None:
    """Write other items, and their digest into the manifest."""
    path = folder / "items-0.parquet"
    parquet.write_table(pa.table({"id": ["1"] * len(fields), "fields": fields}), path)
    files = read_json(folder / "manifest.json", "")["files"]
    assert isinstance(files, dict)
    rewritten(files={**files, path.name: sha256(path)})(folder)


def not_utf8(count: int) -> pa.Array:
    """Give texts that say that they are UTF-8 and are not."""
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in range(count + 1)))
    return pa.StringArray.from_buffers(count, offsets, pa.py_buffer(b"\x80" * count))


@pytest.mark.parametrize("text", ["[1]", "{", '"Heat"', None])
def test_an_item_that_is_none_is_refused(small_index: ItemIndex, text: str | None) -> None:
    with_fields(small_index.folder, pa.array([text] * 30, pa.string()))
    with pytest.raises(InputError, match=r"items-0\.parquet: holds an item that is no JSON object; build the index"):
        ItemIndex.open(small_index.folder).item(0)


def test_texts_that_cannot_be_decoded_are_refused(small_index: ItemIndex) -> None:
    with_fields(small_index.folder, not_utf8(30))
    for read in (ItemIndex.items, lambda index: index.item(0)):
        with pytest.raises(InputError, match=r"items-0\.parquet: cannot be read \(.*UTF8"):
            read(ItemIndex.open(small_index.folder))
