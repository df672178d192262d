"""ItemIndex: items and their vectors on disk, opened without reading them."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.finder import Finder, Sought
from rella_cpp.domains.records import Item
from rella_cpp.domains.values import as_whole, id_text
from rella_cpp.errors import InputError
from rella_cpp.retrieval.index.checks import CheckedFiles
from rella_cpp.retrieval.index.graph import REMEDY, check_graph, open_graph, reading
from rella_cpp.retrieval.index.item_table import read_column, read_item
from rella_cpp.retrieval.index.manifest import IndexManifest
from rella_cpp.retrieval.index.projection import Projection
from rella_cpp.storage.artifacts import digest
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

_EXACT = 50_000
"""Up to this many items a search compares with all of them; beyond, usearch's graph is walked."""


class ItemIndex:
    """The vectors of a catalog, by row number; see `build_index`. Opening reads the manifest alone.

    A file is compared with its SHA-256 in the manifest when it is first used: usearch would crash on a damaged one, or
    find other neighbors. For 200 MB of vectors that takes half a second, once: the cache remembers files by path, size,
    time and inode, and the next process has its first vector after 0.03 s.

    Where items are added meanwhile, it goes on with the files that have them: rows stay what they are.

    Attributes
    ----------
    folder
        Where it lies.

    """

    def __init__(self, folder: Path, manifest: IndexManifest, *, cache: Cache | None = None) -> None:
        self.folder = folder
        self._files = CheckedFiles(folder, manifest, cache=cache)
        self._texts: tuple[int, Domain, dict[str, int]] | None = None
        self._names: tuple[int, Domain, Finder] | None = None
        self._walked = -1  # the generation whose graph was checked

    @classmethod
    def open(cls, folder: str | Path, *, cache: Cache | None = None) -> Self:
        """Open an index.

        Raises
        ------
        InputError
            There is none, or a file of it is missing.

        """
        folder = Path(folder)
        while True:
            manifest = IndexManifest.load(folder)
            names = (manifest.vectors_file, manifest.items_file, "pca.npz")
            missing = [name for name in names if not (folder / name).is_file()]
            if not missing:
                return cls(folder, manifest, cache=cache)
            if IndexManifest.load(folder) == manifest:  # else items were added between the two lines above
                raise InputError(f"has no {missing[0]}", source=folder, remedy=REMEDY)

    def __len__(self) -> int:
        """Count the items."""
        return self.manifest.items

    @property
    def manifest(self) -> IndexManifest:
        """What it says of itself."""
        return self._files.manifest

    @property
    def cache(self) -> Cache | None:
        """Where the files' SHA-256 are remembered; None: the user's cache folder."""
        return self._files.cache

    @property
    def progress(self) -> Progress:
        """Told while a large file is compared; does nothing unless set."""
        return self._files.progress

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._files.progress = progress

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides its vectors: model, wording, pooling, and its files."""
        m = self.manifest
        return digest([m.fingerprint, m.engine, m.template, m.pool, m.files])

    @property
    def identity(self) -> dict[str, str]:
        """What says, in files made with it, which index it is: its fingerprint, and its model's name."""
        return {"fingerprint": self.fingerprint, "model": self.manifest.model}

    @cached_property
    def projection(self) -> Projection:
        """From hidden states to this index's vectors."""
        return self._files.read(lambda _: "pca.npz", self._projection)

    def item(self, row: int) -> Item:
        """Return an item."""
        return self._item(self._fields[row].as_py())

    def items(self) -> list[Item]:
        """Return all items, by row."""
        return [self._item(text) for text in self._fields.to_pylist()]

    def ids(self) -> list[str | None]:
        """Return all ids as text, by row; None where an item has none."""
        ids: list[str | None] = self._ids.to_pylist()
        return ids

    def id(self, row: int) -> str | None:
        """Return an item's id as text; None where it has none."""
        known: str | None = self._ids[row].as_py()
        return known

    def row(self, item: Item, domain: Domain) -> int | None:
        """Return an item's row: by its id; where it or the stored one has none, as prompts show it, or by its name.

        Of several items of one name none is meant. None: it is not in the index.

        Raises
        ------
        InputError
            The id is that of an item with another title: the index is another catalog's.

        """
        known = id_text(item.fields.get("id"))
        if known is not None:
            if (row := self._by_id.get(known, self._by_id.get(as_whole(known)))) is not None:
                self.check_name(row, item, domain)
                return row
            if self._ids.null_count == 0:
                return None
            row = self._by_text(domain).get(domain.show_item(item))
            return row if row is not None and self.id(row) is None else None
        row = self._by_text(domain).get(domain.show_item(item))
        return self._finder(domain).find(domain.name_item(item)) if row is None else row

    def sought(self, item: Item, row: int | None, domain: Domain) -> Sought:
        """Say which items an item's name may mean, where `row` says that it was found, or not."""
        name = domain.name_item(item)
        if row is not None:
            return Sought(name, [name])
        return Sought(name, [domain.name_item(self.item(at)) for at in self._finder(domain).meant(name)])

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
        with reading(self._vectors_path):
            found = self._usearch.get(keys)
        if any(vector is None for vector in found):
            raise InputError("lacks vectors of some items", source=self.folder, remedy=REMEDY)
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
        if not exact:
            self._check_walk()
        with reading(self._vectors_path):
            found = self._usearch.search(vector, min(count, len(self)), exact=exact, threads=1)
            rows = np.asarray(found.keys).astype(np.int64).ravel()
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
                raise ValueError("it knows other items")
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

    def writable(self) -> Any:
        """Return the usearch index read into memory, to be added to."""
        return self._files.read(_vectors, lambda path: open_graph(path, self.manifest, view=False))

    @property
    def _usearch(self) -> Any:
        """The usearch index, memory-mapped."""
        return self._files.keep(
            "vectors", lambda: self._files.read(_vectors, lambda path: open_graph(path, self.manifest, view=True))
        )

    def _check_walk(self) -> None:
        """Check the graph before it is walked for the first time."""
        while self._walked != self.manifest.generation:
            self._files.read(_vectors, lambda path: check_graph(path, self.manifest))
            self._walked = self.manifest.generation

    @property
    def _vectors_path(self) -> Path:
        return self.folder / self.manifest.vectors_file

    @property
    def _ids(self) -> "pa.ChunkedArray":
        return self._column("id")

    @property
    def _fields(self) -> "pa.ChunkedArray":
        return self._column("fields")

    def _column(self, name: str) -> "pa.ChunkedArray":
        def read(path: Path) -> "pa.ChunkedArray":
            return read_column(path, name, self.manifest.items, REMEDY)

        return self._files.keep(name, lambda: self._files.read(lambda manifest: manifest.items_file, read))

    def _item(self, text: object) -> Item:
        return read_item(text, self.folder / self.manifest.items_file, REMEDY)

    def _projection(self, path: Path) -> Projection:
        projection, wanted = Projection.load(path), (self.manifest.dim, self.manifest.width)
        if projection.components.shape != wanted:
            raise InputError(
                f"is of the size {projection.components.shape}, the manifest says {wanted}", source=path, remedy=REMEDY
            )
        return projection

    @property
    def _by_id(self) -> dict[str, int]:
        def rows() -> dict[str, int]:
            return {name: row for row, name in enumerate(self.ids()) if name is not None}

        return self._files.keep("rows by id", rows)

    def _finder(self, domain: Domain) -> Finder:
        """Return what finds rows by name (title and year)."""
        if self._names is None or self._names[:2] != (self.manifest.generation, domain):
            finder = Finder([domain.name_item(item) for item in self.items()])
            self._names = (self.manifest.generation, domain, finder)
        return self._names[2]

    def _by_text(self, domain: Domain) -> dict[str, int]:
        """Rows by what prompts show; of items shown alike the first."""
        if self._texts is None or self._texts[:2] != (self.manifest.generation, domain):
            shown = [domain.show_item(item) for item in self.items()]
            rows = {text: row for row, text in reversed(list(enumerate(shown)))}
            self._texts = (self.manifest.generation, domain, rows)
        return self._texts[2]


def _vectors(manifest: IndexManifest) -> str:
    return manifest.vectors_file
