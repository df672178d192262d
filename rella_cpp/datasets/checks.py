"""Whether a prepared data set is what `write` writes: columns, types, ranges and nulls, and what its manifest says.

The checksums tell of damage; this tells of folders that others wrote, or changed and sealed again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from rella_cpp.datasets.layout import MANIFEST, SPLITS, TABLES
from rella_cpp.domains.domain import Field
from rella_cpp.domains.loading import builtin_domains, load_domain
from rella_cpp.domains.rating import LARGEST, RatingScale
from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError

_REMEDY = "prepare the data set again with --force"
_USERS, _ITEMS, _INTERACTIONS, _SAMPLES = TABLES
_IDS = {"id": pa.string()}
_EVENTS = {"user": pa.int32(), "item": pa.int32()}
_EVENTS_TOO = {"rating": pa.float32(), "timestamp": pa.int64(), "average": pa.float32()}
_JUDGED = {"user": pa.int32(), "position": pa.int32(), "item": pa.int32(), "label": pa.int8()}
_LIST = pa.list_(pa.string())
_TYPES = {"text": (pa.string(),), "value": (pa.string(), pa.int32()), "list": (_LIST, pa.string())}
"""Types of the columns of fields, by the field's type; a list of one may be text."""

Numbers = npt.NDArray[Any]


def check_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    """Refuse a manifest without what `write` writes into one.

    Raises
    ------
    InputError
        An entry is missing, or of another type.

    """
    for name, (fits, wanted) in _ENTRIES.items():
        if name not in manifest:
            raise InputError(f"has no entry {name}", source=path, remedy=_REMEDY)
        if not fits(manifest[name]):
            raise InputError(f"{name} is {describe(manifest[name])}, not {wanted}", source=path, remedy=_REMEDY)
    if missing := [name for name in TABLES if name not in manifest["files"]]:
        raise InputError(f"has no checksum of {missing[0]}", source=path, place="files", remedy=_REMEDY)
    counts = manifest["counts"]
    for name in ("users", "items", "interactions"):
        if not _is_count(counts.get(name)):
            raise InputError(f"{name} is {describe(counts.get(name))}", source=path, place="counts", remedy=_REMEDY)
    for name in ("samples", "liked"):
        if not _are_counts(counts.get(name)) or set(counts[name]) != set(SPLITS):
            raise InputError(f"{name} is {describe(counts.get(name))}", source=path, place="counts", remedy=_REMEDY)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())


def _are_kinds(value: object) -> bool:
    return isinstance(value, dict) and all(map(_are_counts, value.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


_ENTRIES: dict[str, tuple[Callable[[object], bool], str]] = {
    "format": (_is_text, "text"),
    "domain": (_is_text, "text"),
    "rules": (_is_object, "an object"),
    "counts": (_is_object, "an object of numbers"),
    "left_out": (_are_kinds, "an object of counts by file"),
    "repaired": (_are_counts, "an object of counts"),
    "files": (_are_texts, "an object of checksums"),
    "sources": (_are_texts, "an object of checksums"),
}


def check_tables(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse tables that do not hold what `write` writes.

    Raises
    ------
    InputError
        One cannot be read, or a column is missing, of another type, or has a value that it cannot have.

    """
    counts = manifest["counts"]
    domain = load_domain(manifest["domain"]) if manifest["domain"] in builtin_domains() else None
    users = _records(folder / _USERS, counts["users"], None if domain is None else domain.user)
    items = _records(folder / _ITEMS, counts["items"], None if domain is None else domain.item)
    known, starts = _check_interactions(folder / _INTERACTIONS, counts["interactions"], users, items)
    _check_averages(folder, manifest, None if domain is None else domain.rating)
    _check_samples(folder / _SAMPLES, counts, known, starts)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeError, MemoryError) as error:
        raise InputError(f"cannot be read: {error}", source=path, remedy=_REMEDY) from None


def _open(path: Path, rows: int) -> tuple[parquet.ParquetFile, dict[str, pa.DataType]]:
    """Open a table; return it and its columns' types."""
    with _reading(path):
        file = parquet.ParquetFile(path)
        names, types = file.schema_arrow.names, file.schema_arrow.types
    if len(set(names)) < len(names):
        raise InputError("has several columns of one name", source=path, remedy=_REMEDY)
    if file.metadata.num_rows != rows:
        found = f"has {file.metadata.num_rows:,} rows, the manifest says {rows:,}"
        raise InputError(found, source=path, remedy=_REMEDY)
    return file, dict(zip(names, types, strict=True))


def _check_types(
    path: Path, there: Mapping[str, pa.DataType], wanted: Mapping[str, pa.DataType], optional: Mapping[str, pa.DataType]
) -> None:
    for name in wanted:
        if name not in there:
            raise InputError(f"has no column {name}", source=path, remedy=_REMEDY)
    for name, kind in there.items():
        expected = wanted.get(name, optional.get(name))
        if expected is None:
            raise InputError(f"has a column {name}, which none has", source=path, remedy=_REMEDY)
        if kind != expected:
            raise _wrong(path, name, f"is of the type {kind}, not {expected}")


def _wrong(path: Path, column: str, finding: str) -> InputError:
    return InputError(finding, source=path, place=f"column {column}", remedy=_REMEDY)


def _read(path: Path, file: parquet.ParquetFile) -> pa.Table:
    """Read a table; a text in it that is no UTF-8, or a list that leads out of itself, is refused."""
    with _reading(path):
        table = file.read()
        table.validate(full=True)
    return table


def _refuse_nulls(path: Path, table: pa.Table, names: tuple[str, ...]) -> None:
    for name in names:
        if table[name].null_count:
            row = int(np.argmax(table[name].is_null().to_numpy()))
            raise _wrong(path, name, f"has no value in row {row + 1}")


def _records(path: Path, rows: int, fields: tuple[Field, ...] | None) -> int:
    """Check the users or the items, whose fields are those of the domain where that is known; count them."""
    file, there = _open(path, rows)
    _check_types(path, {name: kind for name, kind in there.items() if name == "id"}, _IDS, {})
    known = None if fields is None else {field.name: field for field in fields}
    for name, kind in there.items():
        if name == "id":
            continue
        if known is not None and name not in known:
            raise InputError(f"has a column {name}, which the domain does not know", source=path, remedy=_REMEDY)
        types = (pa.string(), pa.int32(), _LIST) if known is None else _TYPES[known[name].type]
        if not any(kind == each for each in types):
            raise _wrong(path, name, f"is of the type {kind}, not {' or '.join(map(str, types))}")
    table = _read(path, file)
    required = tuple(name for name, field in (known or {}).items() if field.required)
    for name in required:
        if name not in there:
            raise InputError(f"has no column {name}", source=path, remedy=_REMEDY)
    _refuse_nulls(path, table, ("id", *required))
    if pc.count_distinct(table["id"]).as_py() < rows:
        raise _wrong(path, "id", "holds an id twice")
    for name, kind in there.items():
        if pa.types.is_list(kind) and pc.list_flatten(table[name]).null_count:
            raise _wrong(path, name, "has a list with an entry that is no text")
    return rows


def _numbers(path: Path, table: pa.Table, name: str, end: int, what: str) -> Numbers:
    """Return a column of numbers from 0 to below an end."""
    values: Numbers = table[name].to_numpy()
    bad = (values < 0) | (values >= end)
    if bad.any():
        row = int(np.argmax(bad))
        raise _wrong(path, name, f"is {values[row]} in row {row + 1}; {what}")
    return values


def _check_interactions(path: Path, rows: int, users: int, items: int) -> tuple[Numbers, Numbers]:
    """Check the interactions; return their items, and where each user's begin."""
    file, there = _open(path, rows)
    _check_types(path, there, _EVENTS, _EVENTS_TOO)
    table = _read(path, file)
    _refuse_nulls(path, table, tuple(name for name in there if name != "rating"))
    user = _numbers(path, table, "user", users, f"there are {users:,} users")
    if (user[1:] < user[:-1]).any():
        raise _wrong(path, "user", f"is out of order in row {int(np.argmax(user[1:] < user[:-1])) + 2}")
    known = _numbers(path, table, "item", items, f"there are {items:,} items")
    if "rating" in there and (bad := pc.is_inf(table["rating"]).fill_null(False).to_numpy()).any():
        raise _wrong(path, "rating", f"is infinite in row {int(np.argmax(bad)) + 1}")
    counts = np.bincount(user, minlength=users)
    return known, np.concatenate([[0], np.cumsum(counts)]).astype(np.int32 if rows < 2**31 else np.int64)


def _check_averages(folder: Path, manifest: Mapping[str, Any], scale: RatingScale | None) -> None:
    """Check the items' mean ratings, where the interactions have some: against the scale, where that is known."""
    path = folder / _INTERACTIONS
    file, there = _open(path, manifest["counts"]["interactions"])
    if "average" not in there:
        return
    for name in ("rating", "timestamp"):
        if name not in there:
            raise InputError(f"has averages, but no column {name}", source=path, remedy=_REMEDY)
    with _reading(path):
        table = file.read(["rating", "average"])
    low, high = (-LARGEST, LARGEST) if scale is None else (scale.min, scale.max)
    ends = np.array([low, high], np.float32)  # a rating of 3.7 is a little more than that, as float32
    for name in ("average", "rating"):
        values = table[name].to_numpy()
        bad = ~((values >= ends[0]) & (values <= ends[1]))
        if name == "rating":
            bad &= ~np.isnan(values)
        if bad.any():
            row = int(np.argmax(bad))
            raise _wrong(path, name, f"is {values[row]:g} in row {row + 1}, not a number from {low:g} to {high:g}")
    rule = manifest["rules"].get("averages")
    middle = rule.get("middle") if isinstance(rule, dict) else None
    if isinstance(middle, bool) or not isinstance(middle, int | float) or not low <= middle <= high:
        remedy, source = _REMEDY, folder / MANIFEST
        raise InputError(f"the middle of averages is {describe(middle)}", source=source, place="rules", remedy=remedy)


def _check_samples(path: Path, counts: Mapping[str, Any], known: Numbers, starts: Numbers) -> None:
    file, there = _open(path, sum(counts["samples"].values()))
    split = there.get("split")
    if split is not None and not (pa.types.is_dictionary(split) and split.value_type == pa.string()):
        raise _wrong(path, "split", f"is of the type {split}, not a dictionary of texts")
    _check_types(path, there, {**_JUDGED, "split": split}, {})
    table = _read(path, file)
    _refuse_nulls(path, table, tuple(there))
    users = len(starts) - 1
    user = _numbers(path, table, "user", users, f"there are {users:,} users")
    position = _numbers(path, table, "position", len(known) + 1, f"there are {len(known):,} interactions")
    lengths = np.diff(starts)
    if (bad := position >= lengths[user]).any():
        row = int(np.argmax(bad))
        told = f"is {position[row]} in row {row + 1}; the user has {lengths[user[row]]} interactions"
        raise _wrong(path, "position", told)
    bad = (user[1:] < user[:-1]) | ((user[1:] == user[:-1]) & (position[1:] <= position[:-1]))
    if bad.any():
        raise _wrong(path, "position", f"is out of order in row {int(np.argmax(bad)) + 2}")
    places = starts[user]
    places += position
    if (bad := known[places] != table["item"].to_numpy()).any():
        raise _wrong(path, "item", f"is not the one of that position in row {int(np.argmax(bad)) + 1}")
    label = _numbers(path, table, "label", 2, "it is 0 or 1")
    splits = _splits(path, table["split"])
    found = np.bincount(splits, minlength=len(SPLITS)), np.bincount(splits[label == 1], minlength=len(SPLITS))
    for name, samples, liked in zip(SPLITS, *found, strict=True):
        if (samples, liked) != (counts["samples"][name], counts["liked"][name]):
            raise InputError(
                f"has {samples:,} samples in the split {name}, {liked:,} of them liked; the manifest says"
                f" {counts['samples'][name]:,} and {counts['liked'][name]:,}",
                source=path,
                remedy=_REMEDY,
            )


def _splits(path: Path, values: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Return indices into `SPLITS`; a chunk may have a dictionary of its own."""
    parts = [np.empty(0, np.uint8)]
    for chunk in values.chunks:
        names = chunk.dictionary.to_pylist()
        numbers = np.array([SPLITS.index(name) if name in SPLITS else len(SPLITS) for name in names] or [0], np.uint8)
        parts.append(numbers[chunk.indices.to_numpy()])
        if (bad := parts[-1] == len(SPLITS)).any():
            name = names[chunk.indices[int(np.argmax(bad))].as_py()]
            raise _wrong(path, "split", f"is {name!r} in a row, not one of {', '.join(SPLITS)}")
    return np.concatenate(parts)
