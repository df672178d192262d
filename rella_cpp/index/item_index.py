"""ItemIndex: items and their vectors on disk, opened without reading them."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.domains import Domain
from rella_cpp.errors import InputError
from rella_cpp.files import digest, sha256
from rella_cpp.index.manifest import IndexManifest
from rella_cpp.index.projection import Projection
from rella_cpp.records import Item

if TYPE_CHECKING:
    import pyarrow as pa

_REMEDY = "build the index again"
_CHECKED = 1 << 26  # bytes of a file that is read whole to check it; larger ones would make opening slow
_EXACT = 50_000
"""Up to this many items a search compares with all of them; beyond, usearch's graph is walked."""


class ItemIndex:
    """The vectors of a catalog, by row number; see `build_index`. Opening reads the manifest alone.

    Attributes
    ----------
    folder
        Where it lies.
    manifest
        What it says of itself.

    """

    def __init__(self, folder: Path, manifest: IndexManifest) -> None:
        self.folder, self.manifest = folder, manifest

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open an index.

        Raises
        ------
        InputError
            There is none, or a file of it is missing.

        """
        folder = Path(folder)
        manifest = IndexManifest.load(folder)
        for name in (manifest.vectors_file, manifest.items_file, "pca.npz"):
            if not (folder / name).is_file():
                raise InputError(f"has no {name}", source=folder, remedy=_REMEDY)
        return cls(folder, manifest)

    def __len__(self) -> int:
        """Count the items."""
        return self.manifest.items

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides its vectors: model, wording, pooling, and its files."""
        m = self.manifest
        return digest([m.fingerprint, m.engine, m.template, m.pool, m.files])

    @cached_property
    def projection(self) -> Projection:
        """From hidden states to this index's vectors."""
        self._check("pca.npz")
        return Projection.load(self.folder / "pca.npz")

    def item(self, row: int) -> Item:
        """Return an item."""
        return self._parsed(self._fields[row].as_py())

    def items(self) -> list[Item]:
        """Return all items, by row."""
        return [self._parsed(text) for text in self._fields.to_pylist()]

    def _parsed(self, text: str | None) -> Item:
        """Read an item as it is stored."""
        try:
            fields = json.loads(text or "")
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise self._unreadable(f"{text!r:.100} is no item")
        return Item(fields)

    def _unreadable(self, finding: str) -> InputError:
        path = self.folder / self.manifest.items_file
        return InputError(f"cannot be read ({finding})", source=path, remedy="build the index again")

    def ids(self) -> list[str | None]:
        """Return all ids as text, by row; None where an item has none."""
        ids: list[str | None] = self._ids.to_pylist()
        return ids

    def id(self, row: int) -> str | None:
        """Return an item's id as text; None where it has none."""
        known: str | None = self._ids[row].as_py()
        return known

    def row(self, item: Item, domain: Domain) -> int | None:
        """Return an item's row: by its id, or where it or the stored one has none, as prompts show it; else None.

        Raises
        ------
        InputError
            The id is that of an item with another title: the index is another catalog's.

        """
        known = item.fields.get("id")
        if known is not None:
            if (row := self._by_id.get(str(known))) is not None:
                self.check_name(row, item, domain)
                return row
            if self._ids.null_count == 0:
                return None
            row = self._by_text(domain).get(domain.show_item(item))
            return row if row is not None and self.id(row) is None else None
        return self._by_text(domain).get(domain.show_item(item))

    def find(self, text: str, field: str, domain: Domain) -> int | None:
        """Return the row of the item that a text names; None where it names none. Case does not count.

        The first whose field it is, or which prompts show so; else the first whose field begins with it, at a word's
        end.
        """
        wanted = text.strip().casefold()
        begins: int | None = None
        for row, item in enumerate(self.items()):
            name = str(item.fields.get(field, "")).casefold()
            if wanted in (name, domain.show_item(item).casefold()):
                return row
            if begins is None and wanted and name.startswith(wanted) and not name[len(wanted)].isalnum():
                begins = row
        return begins

    def vectors(self, rows: Sequence[int] | npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """Return the vectors of rows, float32 of shape (len(rows), dim), as stored: of unit length but for rounding."""
        keys = np.asarray(rows, dtype=np.uint64)
        if not len(keys):
            return np.zeros((0, self.manifest.dim), np.float32)
        found = self._usearch.get(keys)
        if any(vector is None for vector in found):
            raise InputError("lacks vectors of some items", source=self.folder, remedy=_REMEDY)
        return np.stack(found).reshape(len(keys), self.manifest.dim).astype(np.float32)

    def project(self, hidden: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Turn hidden states, float32 of shape (n, n_embd), into vectors as this index would store them."""
        stored = np.float16 if self.manifest.dtype == "f16" else np.float32
        return self.projection(hidden).astype(stored).astype(np.float32)

    def search(
        self, vector: npt.NDArray[np.float32], count: int, *, exact: bool | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Find the items nearest to a vector of shape (dim,).

        Parameters
        ----------
        count
            How many.
        exact
            Compare with every item, or walk usearch's graph; None: exactly up to 50,000 items.

        Returns
        -------
        Rows, int64, and cosines, float32, each of shape (min(count, items),); greatest first, of equal ones the
        lower row.

        """
        exact = len(self) <= _EXACT if exact is None else exact
        found = self._usearch.search(vector, min(count, len(self)), exact=exact, threads=1)
        rows = np.asarray(found.keys, dtype=np.int64).ravel()
        cosines = 1 - np.asarray(found.distances, dtype=np.float32).ravel()
        order = np.lexsort((rows, -cosines))
        return rows[order], cosines[order]

    def check_name(self, row: int, item: Item, domain: Domain) -> None:
        """Refuse an item that has the id of another one in this index: the index is another catalog's.

        Raises
        ------
        InputError
            Their required fields differ, case aside.

        """
        stored = self.item(row)
        mine, its = domain.item_fields(item), domain.item_fields(stored)
        if any(mine[e.name].casefold() != its.get(e.name, "").casefold() for e in domain.item if e.required):
            raise InputError(
                f"has {domain.show_item(stored)[:60]!r} under the id {item.fields['id']}, "
                f"not {domain.show_item(item)[:60]!r}",
                source=self.folder,
                remedy="give the index of this catalog",
            )

    def _check(self, name: str) -> None:
        """Compare a file with its digest; one of many megabytes only by its size, which usearch checks."""
        path = self.folder / name
        try:
            damaged = path.stat().st_size <= _CHECKED and sha256(path) != self.manifest.files.get(name)
        except OSError as error:  # gone, if items were added since this index was opened
            raise InputError(error.strerror or str(error), source=path, remedy="open the index again") from None
        if damaged:
            raise InputError("is damaged (its checksum is another)", source=path, remedy=_REMEDY)

    @cached_property
    def _usearch(self) -> Any:
        """The usearch index, memory-mapped."""
        from usearch.index import Index

        path = self.folder / self.manifest.vectors_file
        self._check(path.name)
        try:
            index = Index.restore(path, view=True)
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(f"cannot be read ({error})", source=path, remedy=_REMEDY) from None
        if index is None or len(index) != self.manifest.items or index.ndim != self.manifest.dim:
            found = "nothing" if index is None else f"{len(index)} vectors of {index.ndim}"
            wanted = f"{self.manifest.items} of {self.manifest.dim}"
            raise InputError(f"holds {found}, the manifest says {wanted}", source=path, remedy=_REMEDY)
        return index

    @cached_property
    def _ids(self) -> "pa.ChunkedArray":
        return self._texts_of("id")

    @cached_property
    def _fields(self) -> "pa.ChunkedArray":
        return self._texts_of("fields")

    def _texts_of(self, name: str) -> "pa.ChunkedArray":
        """Read a column, and see that it holds texts that can be decoded: pyarrow looks only when they are."""
        import pyarrow as pa

        column = self._column(name)
        try:
            column = column.cast(pa.string())
            column.validate(full=True)
        except pa.ArrowException as error:
            raise self._unreadable(str(error)) from None
        return column

    def _column(self, name: str) -> "pa.ChunkedArray":
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / self.manifest.items_file
        self._check(path.name)
        try:
            column = pq.read_table(path, columns=[name])[name]
        except (OSError, pa.ArrowException, KeyError) as error:
            raise InputError(f"cannot be read ({error})", source=path, remedy=_REMEDY) from None
        if len(column) != self.manifest.items:
            raise InputError(
                f"holds {len(column)} items, the manifest says {self.manifest.items}", source=path, remedy=_REMEDY
            )
        return column

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids()) if name is not None}

    def _by_text(self, domain: Domain) -> dict[str, int]:
        """Rows by what prompts show; of items shown alike the first."""
        if self._texts is None or self._texts[0] != domain:
            shown = [domain.show_item(item) for item in self.items()]
            self._texts = (domain, {text: row for row, text in reversed(list(enumerate(shown)))})
        return self._texts[1]

    _texts: tuple[Domain, dict[str, int]] | None = None
