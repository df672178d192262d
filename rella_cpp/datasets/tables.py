"""Tables in files: CSV, TSV, JSON Lines, Parquet, and folders that `datasets` saved."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from rella_cpp.datasets.delimited import Dialect, column_names, read_delimited
from rella_cpp.datasets.sheets import Sheet
from rella_cpp.datasets.sources import SourceFile, is_saved_dataset
from rella_cpp.errors import InputError
from rella_cpp.records import encodable

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class TableKind:
    """A kind of file: its endings, how its columns' names are read, how some of its columns are."""

    endings: tuple[str, ...]
    names: Callable[[SourceFile], tuple[str, ...]]
    read: Callable[[SourceFile, Sequence[str]], Sheet]


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
        if file.name.lower().endswith(kind.endings):
            return kind
    known = ", ".join(ending for kind in _KINDS for ending in kind.endings)
    raise InputError("is of no known kind", source=file.name, remedy=f"give a file that ends in {known}")


def _read_text(file: SourceFile, columns: Sequence[str], delimiter: str) -> Sheet:
    return read_delimited(file, Dialect(delimiter), dict.fromkeys(columns, "text"))


def _parquet_names(file: SourceFile) -> tuple[str, ...]:
    with file.open() as stream:
        try:
            return tuple(parquet.read_schema(stream).names)
        except pa.ArrowException as error:
            raise InputError(f"is no whole Parquet file ({error})", source=file.name) from None


def _read_parquet(file: SourceFile, columns: Sequence[str]) -> Sheet:
    with file.open() as stream:
        try:
            table = parquet.read_table(stream, columns=list(columns))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"cannot be read ({error})", source=file.name) from None
    return _sheet(file, table)


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


def _sheet(file: SourceFile, table: pa.Table) -> Sheet:
    return Sheet(file.name, {name: _plain(table[name]) for name in table.column_names}, lambda row: f"row {row + 1}")


def _plain(values: pa.ChunkedArray) -> pa.Array:
    """Return one array, its texts of the usual kind."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        values = values.cast(pa.string())
    return values.combine_chunks() if values.num_chunks else pa.array([], values.type)


def _json_lines(file: SourceFile) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Give every line that is not blank: its number from 1, and its object or what is wrong with it."""
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                yield number, "is not JSON"
                continue
            yield number, value if isinstance(value, dict) else "is no object"


def _json_names(file: SourceFile) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for _, value in _json_lines(file):
        if isinstance(value, dict):
            names.update(dict.fromkeys(value))
    return tuple(names)


def _read_json(file: SourceFile, columns: Sequence[str]) -> Sheet:
    chunks: dict[str, list[pa.Array]] = {name: [] for name in columns}
    pending: dict[str, list[object]] = {name: [] for name in columns}
    removed: list[int] = []
    broken: dict[str, tuple[int, int]] = {}
    row = -1
    for row, (_, value) in enumerate(_json_lines(file)):
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
    return Sheet(file.name, joined, partial(_json_place, file), removed, broken)


def _flush(chunks: Mapping[str, list[pa.Array]], pending: Mapping[str, list[object]]) -> None:
    for name, values in pending.items():
        if any(isinstance(value, list) for value in values):
            lists = [value if isinstance(value, list) or value is None else [value] for value in values]
            known = [None if entry is None else [_scalar(part) for part in entry] for entry in lists]
            chunks[name].append(pa.array(known, pa.list_(pa.string())))
        else:
            chunks[name].append(pa.array([_scalar(value) for value in values], pa.string()))
        values.clear()


def _scalar(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else encodable(value)
    return json.dumps(value)


def _join(parts: Sequence[pa.Array]) -> pa.Array:
    lists = next((part.type for part in parts if pa.types.is_list(part.type)), None)
    if lists is not None:
        parts = [
            part if part.type == lists else pa.array([[text] if text else None for text in part.to_pylist()], lists)
            for part in parts
        ]
    return pa.concat_arrays(parts)


def _json_place(file: SourceFile, row: int) -> str:
    number = next(number for at, (number, _) in enumerate(_json_lines(file)) if at == row)
    return f"line {number}"


_KINDS = (
    TableKind((".csv",), lambda file: column_names(file, Dialect(",")), partial(_read_text, delimiter=",")),
    TableKind((".tsv",), lambda file: column_names(file, Dialect("\t")), partial(_read_text, delimiter="\t")),
    TableKind((".jsonl", ".ndjson"), _json_names, _read_json),
    TableKind((".parquet",), _parquet_names, _read_parquet),
)
_SAVED = TableKind((), lambda file: tuple(_saved(file).column_names), _read_saved)
