"""The table of an index's items: their ids, and their fields as JSON."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Item
from rella_cpp.domains.values import encodable, settled_ids
from rella_cpp.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_EXACT = 2**53  # from there on floats have gaps between whole numbers


def _fields(item: Item) -> str:
    """Write an item's fields as JSON; 1991.0, as a table with gaps has a year, is 1991."""
    fields = {name: _whole(value) for name, value in item.fields.items()}
    return json.dumps(fields, ensure_ascii=True, sort_keys=True)


def fields_besides_id(item: Item) -> str:
    """Write an item's fields but its id."""
    return _fields(Item({name: value for name, value in item.fields.items() if name != "id"}))


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def item_table(items: Sequence[Item], domain: Domain) -> Any:
    """Make the table of items: id as text, and the fields as JSON.

    Raises
    ------
    InputError
        Two items have one id, or, having none, are shown alike.

    """
    import pyarrow as pa

    found = settled_ids([item.fields.get("id") for item in items])
    ids = [None if known is None else encodable(known) for known in found]
    seen: dict[object, int] = {}
    for place, (item, known) in enumerate(zip(items, ids, strict=True)):
        key = (True, known) if known is not None else (False, domain.show_item(item))
        if key in seen:
            raise InputError(
                f"is the same item as item[{seen[key]}] ({known or key[1]!r})",
                place=f"item[{place}]",
                remedy="give every item once, or an id of its own",
            )
        seen[key] = place
    return pa.table({"id": pa.array(ids, pa.string()), "fields": pa.array(map(_fields, items), pa.string())})


def items_digest(table: Any) -> str:
    """Return the SHA-256 of the items' fields, in their order."""
    digest = hashlib.sha256()
    for text in table["fields"].to_pylist():
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def write_items(table: Any, path: Path) -> None:
    """Write the table as Parquet."""
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def read_column(path: Path, name: str, count: int, remedy: str) -> "pa.ChunkedArray":
    """Read a column of texts.

    Raises
    ------
    InputError
        It cannot be read, or has not `count` rows.

    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.ParquetFile(path).read(columns=[name], use_threads=False)[name].cast(pa.string())
        column.validate(full=True)  # texts that cannot be decoded, too
    except (OSError, pa.ArrowException, KeyError) as error:
        raise InputError(f"cannot be read ({error})", source=path, remedy=remedy) from None
    if len(column) != count:
        raise InputError(f"holds {len(column)} items, the manifest says {count}", source=path, remedy=remedy)
    return column


def read_item(text: object, source: Path, remedy: str) -> Item:
    """Read an item from its fields as JSON.

    Raises
    ------
    InputError
        They are no JSON object.

    """
    try:
        value = json.loads(str(text))
        if not isinstance(value, dict):
            raise ValueError("no object")
        return Item(value)
    except (TypeError, ValueError, RecursionError):
        raise InputError("holds an item that is no JSON object", source=source, remedy=remedy) from None
