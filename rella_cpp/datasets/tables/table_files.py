"""Tables in files: CSV, TSV, JSON, JSON Lines (these gzipped, too), Parquet, and folders that `datasets` saved."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from rella_cpp.datasets.tables.delimited_text import (
    column_names,
    delimited_parts,
    dialect_of,
    read_delimited,
    refuse_twice,
)
from rella_cpp.datasets.tables.json_rows import Objects, json_lines, json_rows
from rella_cpp.datasets.tables.sheets import Sheet
from rella_cpp.datasets.tables.sources import SourceFile, is_saved_dataset, list_files, listed
from rella_cpp.datasets.tables.streams import EXPANSION
from rella_cpp.domains.values import encodable, is_missing
from rella_cpp.errors import InputError

_CHUNK = 1 << 16
_FEW = 1 << 20
"""Values of a column that are not too many for a file of any size."""
_PART = 1 << 20
"""Values of a column in a part of a table: rows, or what their lists hold."""


@dataclass(frozen=True, slots=True)
class TableKind:
    """A kind of file: its endings, how its columns' names are read, how some of its columns are.

    `parts` gives the columns some rows at a time, for tables that are too long to be read whole; a broken row is
    refused.
    """

    endings: tuple[str, ...]
    names: Callable[[SourceFile], tuple[str, ...]]
    read: Callable[[SourceFile, Sequence[str]], Sheet]
    parts: Callable[[SourceFile, Sequence[str]], Iterator[Sheet]]


def table_kind(file: SourceFile) -> TableKind:
    """Tell a file's kind by its ending.

    Raises
    ------
    InputError
        It is of no known kind.

    """
    if Path(file.path).is_dir():
        if is_saved_dataset(Path(file.path)):
            return _SAVED
        raise InputError(
            "is a folder, and none that `datasets` saved",
            source=file.path,
            remedy="name the file of the interactions: file in a recipe, or as SOURCE",
        )
    for kind in _KINDS:
        if file.table_name.endswith(kind.endings) and (file.name.lower() == file.table_name or kind is not _PARQUET):
            return kind
    if file.delimiter is not None:
        return _KINDS[0]
    known = ", ".join(_endings())
    remedy = next((told for ending, told in _OTHERS.items() if file.name.lower().endswith(ending)), "")
    raise InputError(
        "is of no known kind",
        source=file.name,
        remedy=remedy or f"give a file that ends in {known}, or say --delimiter",
    )


def _endings() -> tuple[str, ...]:
    return tuple(ending for kind in _KINDS for ending in kind.endings)


def _is_table(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(_endings())


def find_table(path: Path) -> SourceFile:
    """Return the table that a path names: the file itself, or the only table in a zip archive.

    Raises
    ------
    InputError
        There is no such file, or it is no table; or the archive is damaged, or holds no table or several.

    """
    if not path.exists():
        raise InputError("no such file", source=path, remedy="check the path")
    if path.is_dir() and not is_saved_dataset(path):
        raise InputError("is a folder, and none that `datasets` saved", source=path, remedy="name the file in it")
    if path.suffix.lower() != ".zip":
        return SourceFile(path.name or path.resolve().name, str(path))
    archive, inside = list_files(path)
    tables = [name for name in inside if _is_table(name)]
    if len(tables) > 1:
        raise InputError(
            f"holds {len(tables)} tables: {listed(tables)}", source=path, remedy="unpack it and name one of them"
        )
    if not tables:
        raise InputError("holds no table", source=path, remedy=f"tables end in {', '.join(_endings())}")
    return SourceFile(PurePosixPath(tables[0]).name, tables[0], archive)


def _read_text(file: SourceFile, columns: Sequence[str], usual: str) -> Sheet:
    dialect = dialect_of(file, usual)
    sheet = read_delimited(file, dialect, dict.fromkeys(columns, "text"))
    sheet.decimal_comma = dialect.delimiter == ";"
    return sheet


def with_points(values: pa.Array) -> pa.Array:
    """Write a point for the comma of numbers (5,0), as tables have them whose fields a semicolon parts."""
    return pc.replace_substring_regex(values, r"^(\s*[-+]?\d*),(\d+\s*)$", r"\1.\2")


def _text_parts(file: SourceFile, columns: Sequence[str], usual: str) -> Iterator[Sheet]:
    return delimited_parts(file, dialect_of(file, usual), columns)


def _parquet_names(file: SourceFile) -> tuple[str, ...]:
    with file.open() as stream:
        try:
            whole = parquet.ParquetFile(stream)
            _refuse_hollow(file, whole.metadata, stream.seek(0, io.SEEK_END))
            return tuple(whole.schema_arrow.names)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"is no whole Parquet file ({error})", source=file.name) from None


def _refuse_hollow(file: SourceFile, facts: parquet.FileMetaData, size: int) -> None:
    """Refuse a file that says that it has far more values in a column than its bytes can tell apart."""
    groups = [facts.row_group(number) for number in range(facts.num_row_groups)]
    columns = range(facts.num_columns)
    values = max((sum(group.column(at).num_values for group in groups) for at in columns), default=0)
    if max(values, facts.num_rows) > _FEW + EXPANSION * size:
        raise InputError(
            f"says that it holds {max(values, facts.num_rows):,} values in {size:,} bytes, as no data set does",
            source=file.name,
            remedy="give another file",
        )


def _read_parquet(file: SourceFile, columns: Sequence[str]) -> Sheet:
    with file.open() as stream:
        try:
            # Without threads, which may not start; `select`, since to it a.b is also the b of a.
            whole = parquet.ParquetFile(stream)
            refuse_twice(file.name, whole.schema_arrow.names, columns)
            table = whole.read(columns=list(columns), use_threads=False).select(list(columns))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"cannot be read ({error})", source=file.name) from None
    return _sheet(file, table)


def _parquet_parts(file: SourceFile, columns: Sequence[str]) -> Iterator[Sheet]:
    with file.open() as stream:
        try:
            whole = parquet.ParquetFile(stream)
            refuse_twice(file.name, whole.schema_arrow.names, columns)
            groups = [whole.metadata.row_group(number) for number in range(whole.num_row_groups)]
            values = max(
                (group.column(at).num_values for group in groups for at in range(group.num_columns)), default=1
            )
            rows = max((group.num_rows for group in groups), default=1)
            for batch in whole.iter_batches(max(1, _PART * rows // max(values, rows, 1)), columns=list(columns)):
                yield _sheet(file, pa.Table.from_batches([batch]))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"cannot be read ({error})", source=file.name) from None


def _saved(file: SourceFile) -> Any:
    """Open a saved Dataset; of a DatasetDict, its splits one after the other."""
    # datasets takes two seconds to import, and only this needs it.
    from datasets import Dataset, concatenate_datasets, load_from_disk

    try:
        found = load_from_disk(file.path)
        return found if isinstance(found, Dataset) else concatenate_datasets(list(found.values()))
    except Exception as error:  # it raises what its many readers raise
        raise InputError(f"cannot be read ({error})", source=file.path, remedy="save it again") from None


def _read_saved(file: SourceFile, columns: Sequence[str]) -> Sheet:
    return _sheet(file, _saved(file).select_columns(list(columns)).with_format("arrow")[:])


def _saved_parts(file: SourceFile, columns: Sequence[str]) -> Iterator[Sheet]:
    known = _saved(file).select_columns(list(columns)).with_format("arrow")
    nested = any(pa.types.is_nested(column.type) for column in known.features.arrow_schema)
    for table in known.iter(_CHUNK >> 8 if nested else _CHUNK):
        yield _sheet(file, table)


def _sheet(file: SourceFile, table: pa.Table) -> Sheet:
    return Sheet(
        file.name,
        {name: _plain(table[name], file.name, name) for name in table.column_names},
        lambda row: f"row {row + 1}",
    )


def _plain(values: pa.ChunkedArray, source: str, name: str) -> pa.Array:
    """Return one array, its texts of the usual kind; a text in it that is no UTF-8 is refused."""
    try:
        values.validate(full=True)
    except pa.ArrowException as error:
        raise InputError(f"cannot be read ({error})", source=source, place=f"column {name}") from None
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        values = values.cast(pa.string())
    return values.combine_chunks() if values.num_chunks else pa.array([], values.type)


def _json_names(file: SourceFile, objects: Objects) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for _, value in objects(file):
        if isinstance(value, dict):
            names.update(dict.fromkeys(value))
    return tuple(names)


def _read_json(file: SourceFile, columns: Sequence[str], objects: Objects) -> Sheet:
    chunks: dict[str, list[pa.Array]] = {name: [] for name in columns}
    pending: dict[str, list[object]] = {name: [] for name in columns}
    removed: list[int] = []
    broken: dict[str, tuple[int, int]] = {}
    row = -1
    for row, (_, value) in enumerate(objects(file)):
        if isinstance(value, str):
            removed.append(row)
            count, first = broken.get(value, (0, row))
            broken[value] = (count + 1, first)
            continue
        for name, values in pending.items():
            values.append(value.get(name))
        if len(removed) + len(values) >= _CHUNK:
            _flush(chunks, pending)
    _flush(chunks, pending)
    joined = {name: _join(parts) for name, parts in chunks.items()}
    return Sheet(file.name, joined, partial(_json_place, file, objects), removed, broken)


def _json_parts(file: SourceFile, columns: Sequence[str], objects: Objects) -> Iterator[Sheet]:
    place = partial(_json_place, file, objects)
    pending: dict[str, list[object]] = {name: [] for name in columns}
    held = 0
    for where, value in objects(file):
        if isinstance(value, str):
            raise InputError(value, source=file.name, place=where, remedy="mend the row")
        for name, values in pending.items():
            entry = value.get(name)
            values.append(entry)
            held += len(entry) if isinstance(entry, list) else 1
        if held >= _PART:
            yield Sheet(file.name, {name: _as_arrow(values) for name, values in pending.items()}, place)
            pending, held = {name: [] for name in columns}, 0
    if held:
        yield Sheet(file.name, {name: _as_arrow(values) for name, values in pending.items()}, place)


def _as_arrow(values: list[object]) -> pa.Array:
    """Return JSON values as pyarrow takes them; as texts where they are of several kinds."""
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _as_texts(values)


def _flush(chunks: Mapping[str, list[pa.Array]], pending: Mapping[str, list[object]]) -> None:
    for name, values in pending.items():
        chunks[name].append(_as_texts(values))
        values.clear()


def _as_texts(values: list[object]) -> pa.Array:
    if any(isinstance(value, list) for value in values):
        lists = [value if isinstance(value, list) or value is None else [value] for value in values]
        known = [None if entry is None else [_scalar(part) for part in entry] for entry in lists]
        return pa.array(known, pa.list_(pa.string()))
    return pa.array([_scalar(value) for value in values], pa.string())


def _scalar(value: object) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, str):
        return encodable(value)
    return str(value) if isinstance(value, bool | float) else json.dumps(value)  # as CSV has them, of pandas


def _join(parts: Sequence[pa.Array]) -> pa.Array:
    lists = next((part.type for part in parts if pa.types.is_list(part.type)), None)
    if lists is not None:
        parts = [
            part if part.type == lists else pa.array([[text] if text else None for text in part.to_pylist()], lists)
            for part in parts
        ]
    return pa.concat_arrays(parts)


def _json_place(file: SourceFile, objects: Objects, row: int) -> str:
    return next(place for at, (place, _) in enumerate(objects(file)) if at == row)


def _delimited(endings: tuple[str, ...], usual: str) -> TableKind:
    return TableKind(
        endings,
        lambda file: column_names(file, dialect_of(file, usual)),
        partial(_read_text, usual=usual),
        partial(_text_parts, usual=usual),
    )


def _json(endings: tuple[str, ...], objects: Objects) -> TableKind:
    return TableKind(
        endings,
        partial(_json_names, objects=objects),
        partial(_read_json, objects=objects),
        partial(_json_parts, objects=objects),
    )


_PARQUET = TableKind((".parquet",), _parquet_names, _read_parquet, _parquet_parts)
_KINDS = (
    _delimited((".csv",), ","),
    _delimited((".tsv", ".inter", ".item", ".user"), "\t"),  # the last three are RecBole's
    _json((".jsonl", ".ndjson"), json_lines),
    _json((".json",), json_rows),
    _PARQUET,
)
_OTHERS = {
    ".xlsx": "save the sheet as CSV",
    ".xls": "save the sheet as CSV",
    ".zip": "unpack it, and name the table in it",
    ".tar.gz": "unpack it, and name the table in it",
    ".tgz": "unpack it, and name the table in it",
    ".bz2": "unpack it, or pack it with gzip",
    ".xz": "unpack it, or pack it with gzip",
    ".zst": "unpack it, or pack it with gzip",
    ".parquet.gz": "unpack it: Parquet is compressed inside",
}
"""What to do about files that are no tables, by ending."""
_SAVED = TableKind((), lambda file: tuple(_saved(file).column_names), _read_saved, _saved_parts)
