"""Building an index of a catalog, and adding to it."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Item
from rella_cpp.engine.identity import ModelIdentity
from rella_cpp.errors import InputError
from rella_cpp.prompts.lengths import LongItem
from rella_cpp.retrieval.encoder import Pool
from rella_cpp.retrieval.index.graph import add_vectors, new_graph, save_graph
from rella_cpp.retrieval.index.item_index import ItemIndex
from rella_cpp.retrieval.index.item_table import fields_besides_id, item_table, items_digest, write_items
from rella_cpp.retrieval.index.manifest import IndexManifest
from rella_cpp.retrieval.index.projection import Projection
from rella_cpp.storage.artifacts import first_difference, named, new_folder, refuse_foreign, sha256
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.storage.versions import library_versions
from rella_gguf.files import locked, refuse_link, writing

DType = Literal["f16", "f32"]

_MARK = "explained"  # a key that only an index's manifest has
_RAW = "raw.f32"  # hidden states, until the projection is fitted
_CHUNK = 4096  # items embedded, projected or added at a time: what memory holds


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How an index is made.

    `dim` is the dimension after PCA, at most (the paper's 512); `pool` the positions averaged; `dtype` how vectors are
    stored.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    dim: int = 512
    pool: Pool = "prompt"
    dtype: DType = "f16"

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.dim, int) or not 1 <= self.dim <= 65_536:
            raise InputError(f"dim is {self.dim!r}", remedy="give a whole number of dimensions, 1 to 65536")
        for name, value, known in (("pool", self.pool, get_args(Pool)), ("dtype", self.dtype, get_args(DType))):
            if value not in known:
                raise InputError(f"{name} is {value!r}", remedy=f"one of {', '.join(known)}")


class Embedder(Protocol):
    """What embeds items: a model's `ItemVectors`."""

    domain: Domain

    @property
    def base(self) -> ModelIdentity:
        """Which model, adapters set aside."""

    @property
    def width(self) -> int:
        """Length of a vector, n_embd."""

    @property
    def engine_key(self) -> str:
        """What else the vectors' bits depend on."""

    def embed(
        self, items: Sequence[Item], *, pool: Pool = "prompt", progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Return vectors, float32 of shape (n, n_embd)."""


def build_index(
    embedder: Embedder,
    items: Sequence[Item],
    out: str | Path,
    *,
    settings: IndexSettings | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> ItemIndex:
    """Embed a catalog and write its index.

    Vectors go through the embedder's cache: a run that was killed goes on where it was, and building again with other
    settings embeds nothing twice. The result does not depend on how often it was killed.

    Parameters
    ----------
    items
        The catalog; ids, where there are some, differ.
    out
        The folder to make.
    force
        Overwrite what is there. Otherwise an index with the same settings and items is returned as it is.

    Raises
    ------
    InputError
        Two items have one id; or `out` holds something else, or another process writes it.
    ContextError
        An item's text does not fit the context.

    """
    settings, out, items = settings or IndexSettings(), named(out), [Item.of(item) for item in items]
    table = item_table(items, embedder.domain)
    refuse_foreign(out, _MARK, "index")
    there = (out / "manifest.json").is_file() and not force
    with nullcontext() if there else new_folder(out, _MARK, "index", force=force) as folder:
        wanted = _facts(embedder, settings, len(items))
        if folder is None:
            return _same(out, wanted, settings, table)
        raw = _write_raw(folder, embedder, items, settings.pool, progress)
        projection = Projection.fit(raw, settings.dim)
        projection.save(folder / "pca.npz")
        graph = _graph(raw, projection, settings.dtype, out, progress)
        del raw
        (folder / _RAW).unlink()
        write_items(table, folder / "items-0.parquet")
        save_graph(graph, folder / "vectors-0.usearch")
        IndexManifest(
            **wanted,
            width=projection.components.shape[1],
            dim=len(projection.components),
            items_digest=items_digest(table),
            explained=projection.explained,
            asked_dim=settings.dim,
            files=_digests(folder, "items-0.parquet", "vectors-0.usearch", "pca.npz"),
            versions=library_versions(),
        ).save(folder)
    return ItemIndex.open(out)


def _facts(embedder: Embedder, settings: IndexSettings, items: int) -> dict[str, Any]:
    """Return what an index's manifest says before anything is embedded."""
    return {
        "model": embedder.base.name,
        "fingerprint": embedder.base.fingerprint,
        "engine": embedder.engine_key,
        "domain": embedder.domain.name,
        "template": embedder.domain.item_fingerprint,
        "pool": settings.pool,
        "dtype": settings.dtype,
        "items": items,
    }


def _write_raw(
    folder: Path, embedder: Embedder, items: Sequence[Item], pool: Pool, progress: Progress
) -> npt.NDArray[np.float32]:
    """Embed items into a file; return it mapped, float32 of shape (items, n_embd)."""
    with (folder / _RAW).open("wb") as file:  # written, not mapped: a full disk must raise, not kill
        for _, vectors in _embedded(embedder, items, pool, progress):
            file.write(np.ascontiguousarray(vectors, dtype=np.float32).data)
    return np.memmap(folder / _RAW, np.float32, "r", shape=(len(items), embedder.width))


def _graph(raw: npt.NDArray[np.float32], projection: Projection, dtype: DType, out: Path, progress: Progress) -> Any:
    """Build the usearch index of the projected vectors; `out` is for messages."""
    graph = new_graph(len(projection.components), dtype)
    for start in range(0, len(raw), _CHUNK):
        add_vectors(graph, start, projection(raw[start : start + _CHUNK]), out)
        progress("building the graph", min(start + _CHUNK, len(raw)), len(raw))
    return graph


def add_to_index(
    index: ItemIndex, embedder: Embedder, items: Sequence[Item], *, progress: Progress = no_progress
) -> tuple[ItemIndex, int]:
    """Add new items to an index; return it opened anew, and how many were added. All are added, or none.

    Items that are there already, with the same fields, are left as they are; so a run that was killed can be run again.

    Raises
    ------
    InputError
        The embedder or its domain is another than the index was built with, an id is taken by another item, or another
        process writes the index.

    """
    with locked(index.folder):
        index = ItemIndex.open(index.folder, cache=index.cache)  # as it is now that nobody else writes
        index.progress = progress
        folder, manifest = index.folder, index.manifest
        manifest.check_model(embedder.base.name, embedder.base.fingerprint, folder)
        manifest.check_domain(embedder.domain, folder)
        new = _new_items(index, embedder.domain, [Item.of(item) for item in items])
        if not new:
            return index, 0
        table = item_table([*index.items(), *new], embedder.domain)

        vectors = index.writable()
        try:
            for start, raw in _embedded(embedder, new, manifest.pool, progress):  # type: ignore[arg-type]
                add_vectors(vectors, len(index) + start, index.projection(raw), folder)
        except LongItem as error:
            number = next(place for place, item in enumerate(items) if item is new[error.number])
            raise LongItem.of(number, error.finding) from None
        grown = replace(manifest, items=len(index) + len(new), generation=manifest.generation + 1)
        with writing(folder):
            for name in (grown.vectors_file, grown.items_file):
                refuse_link(folder / name)
            try:
                save_graph(vectors, folder / grown.vectors_file)
                write_items(table, folder / grown.items_file)
                files = _digests(folder, grown.items_file, grown.vectors_file, "pca.npz")
            except BaseException:
                for name in (grown.vectors_file, grown.items_file):
                    (folder / name).unlink(missing_ok=True)
                raise
            replace(grown, items_digest=items_digest(table), files=files).save(
                folder
            )  # from here on the new files count
            for name in (manifest.vectors_file, manifest.items_file):
                (folder / name).unlink(missing_ok=True)
        return ItemIndex.open(folder, cache=index.cache), len(new)


def _new_items(index: ItemIndex, domain: Domain, items: Sequence[Item]) -> list[Item]:
    """Return the items that the index lacks; refuse those that it has with other fields."""
    item_table(items, domain)  # refuses doubles, by their places here
    new: list[Item] = []
    for place, item in enumerate(items):
        row = index.row(item, domain)
        if row is None:
            new.append(item)
        elif fields_besides_id(index.item(row)) != fields_besides_id(item):
            raise InputError(
                f"{domain.show_item(item)[:60]!r} is in the index with other fields",
                source=index.folder,
                place=f"item[{place}]",
                remedy="leave it out, or build the index again",
            )
    return new


def search_text(index: ItemIndex, embedder: Embedder, text: str, count: int = 10) -> list[tuple[Item, float]]:
    """Find the items nearest to a text; each with its cosine, greatest first.

    A text that is the title of an item, or its beginning, or how prompts show it, stands for that item, whatever its
    case. Any other is read as if it were an item's title.

    Raises
    ------
    InputError
        The embedder or its domain is another than the index was built with, or `count` is less than 1.

    """
    if count < 1:
        raise InputError(f"count is {count}", remedy="give at least 1")
    index.manifest.check_model(embedder.base.name, embedder.base.fingerprint, index.folder)
    index.manifest.check_domain(embedder.domain, index.folder)
    title = next(entry.name for entry in embedder.domain.item if entry.required)
    row = index.find(text, title, embedder.domain)
    if row is None:
        hidden = embedder.embed([Item({title: text})], pool=index.manifest.pool)  # type: ignore[arg-type]
        vector = index.project(hidden)[0]
    else:
        vector = index.vectors([row])[0]
    rows, cosines = index.search(vector, count)
    return [(index.item(int(row)), float(cosine)) for row, cosine in zip(rows, cosines, strict=True)]


def _same(out: Path, wanted: dict[str, object], settings: IndexSettings, table: Any) -> ItemIndex:
    """Return the index that is there, if it is the one wanted."""
    index = ItemIndex.open(out)
    there = index.manifest
    found: dict[str, object] = {name: getattr(there, name) for name in wanted}
    difference = first_difference(
        {**found, "dim": there.asked_dim, "contents of its items": there.items_digest[:12]},
        {**wanted, "dim": settings.dim, "contents of its items": items_digest(table)[:12]},
    )
    if there.generation and not difference:
        difference = ("history", "built of fewer items and added to", "built of these")
    if difference:
        name, was, now = difference
        raise InputError(
            f"is an index with another {name}: {was}, not {now}",
            source=out,
            remedy="name another folder, or overwrite it with --force",
        )
    return index


def _embedded(
    embedder: Embedder, items: Sequence[Item], pool: Pool, progress: Progress
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Embed a chunk at a time; yield each chunk's first place and its vectors."""
    for start in range(0, len(items), _CHUNK):
        chunk = items[start : start + _CHUNK]

        def report(task: str, done: int, total: int, before: int = start, size: int = len(chunk)) -> None:
            progress(task, before + size - total + done, len(items))

        try:
            yield start, embedder.embed(chunk, pool=pool, progress=report)
        except LongItem as error:
            raise LongItem.of(start + error.number, error.finding) from None


def _digests(folder: Path, *names: str) -> dict[str, str]:
    return {name: sha256(folder / name) for name in names}
