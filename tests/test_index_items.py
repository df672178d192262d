"""An index whose checksums are right and whose items are not: no text, or no items."""

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rella_cpp import InputError, ItemIndex
from rella_cpp.files import sha256


def with_fields(index: ItemIndex, fields: pa.Array) -> ItemIndex:
    """Write other items into an index, with the right checksum in the manifest."""
    path = index.folder / index.manifest.items_file
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index("fields"), "fields", fields), path)
    files = {**index.manifest.files, path.name: sha256(path)}
    dataclasses.replace(index.manifest, files=files).save(index.folder)
    return ItemIndex.open(index.folder)


def not_utf8(count: int) -> pa.Array:
    """Give texts that say that they are UTF-8 and are not."""
    data = b"\x80" * count
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in range(count + 1)))
    return pa.StringArray.from_buffers(count, offsets, pa.py_buffer(data))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"Heat"', "cannot be read ('\"Heat\"' is no item)"),
        ("{", "cannot be read ('{' is no item)"),
        (None, "cannot be read (None is no item)"),
        (b"\x80", "UTF8"),
    ],
)
def test_damaged_items_are_refused_in_a_line(small_index: ItemIndex, text: str | bytes | None, said: str) -> None:
    count = len(small_index)
    fields = not_utf8(count) if isinstance(text, bytes) else pa.array([text] * count, pa.string())
    index = with_fields(small_index, fields)
    for read in (index.items, lambda: index.item(0)):
        with pytest.raises(InputError) as caught:
            read()
        assert said in str(caught.value) and Path(str(caught.value.source)).name == index.manifest.items_file
