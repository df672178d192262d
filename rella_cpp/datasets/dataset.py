"""A prepared data set: four tables and a manifest in a folder, written by `prepare`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.layout import FORMAT_VERSION, MANIFEST, SPLITS, TABLES
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.errors import InputError
from rella_cpp.storage.artifacts import sha256
from rella_cpp.storage.manifests import Tables

if TYPE_CHECKING:
    import pyarrow as pa

_AGAIN = "prepare the data set again with --force"
_TABLES = Tables(
    mark="rella_data",
    version=FORMAT_VERSION,
    noun="a prepared data set",
    absent="is no prepared data set",
    give="a prepared data set",
    make="make one: rella data prepare",
    again=_AGAIN,
)


@dataclass(frozen=True, slots=True)
class Interactions:
    """What all users did, sorted by user and time; user u's are the rows `starts[u] : starts[u + 1]`.

    Attributes
    ----------
    item
        Item numbers, int32 of shape (n,).
    rating
        float32 of shape (n,), NaN where one is missing; None where the data has no ratings.
    timestamp
        Unix seconds, int64 of shape (n,); None where the data has no times.
    starts
        int64 of shape (users + 1,).
    average
        The items' mean ratings as they were known, float32 of shape (n,); None where the data has none; see `averages`.

    """

    item: npt.NDArray[np.int32]
    rating: npt.NDArray[np.float32] | None
    timestamp: npt.NDArray[np.int64] | None
    starts: npt.NDArray[np.int64]
    average: npt.NDArray[np.float32] | None = None

    def ratings(self) -> npt.NDArray[np.float32]:
        """Return the ratings of data that has some.

        Raises
        ------
        ValueError
            It has none.

        """
        if self.rating is None:
            raise ValueError("the data set has no ratings")
        return self.rating


@dataclass(frozen=True, slots=True)
class Samples:
    """What is to be scored, sorted by user and position; every array has the shape (n,).

    Attributes
    ----------
    user, item
        Numbers of the user and of the target item, int32.
    position
        Index of the target among the user's interactions, int32: the history is what stands before it.
    label
        1 where the user liked the item, else 0, int8.
    split
        Index into `SPLITS`, uint8.

    """

    user: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    label: npt.NDArray[np.int8]
    split: npt.NDArray[np.uint8]

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the row numbers of a split's samples, int64, ascending.

        Raises
        ------
        InputError
            There is no such split.

        """
        return np.flatnonzero(self.split == split_number(split)).astype(np.int64)


class DataSet:
    """A prepared data set; tables are read at first use. `DataSet.open` checks a folder and opens it.

    Parameters
    ----------
    folder
        Where it lies.
    manifest
        What its manifest says.
    fingerprint
        SHA-256 of the manifest, which holds those of the tables.

    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], fingerprint: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.fingerprint = fingerprint
        self._records: dict[int, Item] = {}

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open the data set in a folder; every table is compared with the manifest, and its columns are checked.

        Raises
        ------
        InputError
            There is no such folder, it holds no prepared data set or one of another version, or a table is missing,
            damaged or not as `prepare` writes it.

        """
        folder = Path(folder)
        manifest, fingerprint = _TABLES.manifest(folder), sha256(folder / MANIFEST)
        # pyarrow takes a third of a second to import: only what opens tables pays for it.
        from rella_cpp.datasets.checks import check_manifest, check_tables

        check_manifest(manifest, folder / MANIFEST)
        _TABLES.check(folder, manifest, TABLES)
        check_tables(folder, manifest)
        return cls(folder, manifest, fingerprint)

    @property
    def name(self) -> str:
        """The format that it was prepared from, such as `ml-1m`."""
        return str(self.manifest["format"])

    @property
    def identity(self) -> dict[str, str]:
        """What says, in files made of it, which data set it is: name and fingerprint."""
        return {"name": self.name, "fingerprint": self.fingerprint}

    @property
    def domain(self) -> str:
        """The domain's name (or TOML file) that says how prompts show the items."""
        return str(self.manifest["domain"])

    @cached_property
    def users(self) -> "pa.Table":
        """The users: row number = user number; `id` and the fields that the data has."""
        return self._read("users.parquet")

    @cached_property
    def items(self) -> "pa.Table":
        """The items: row number = item number; `id`, `title` and the fields that the data has."""
        return self._read("items.parquet")

    @cached_property
    def interactions(self) -> Interactions:
        """What all users did."""
        table = self._read("interactions.parquet")
        counts = np.bincount(table["user"].to_numpy(), minlength=int(self.manifest["counts"]["users"]))
        names = table.column_names
        return Interactions(
            table["item"].to_numpy(),
            table["rating"].to_numpy() if "rating" in names else None,
            table["timestamp"].to_numpy() if "timestamp" in names else None,
            np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
            table["average"].to_numpy() if "average" in names else None,
        )

    @cached_property
    def samples(self) -> Samples:
        """What is to be scored."""
        table = self._read("samples.parquet")
        numbers = {name: table[name].to_numpy() for name in ("user", "position", "item", "label")}
        parts = [
            # A chunk may have a dictionary of its own.
            np.array([SPLITS.index(name) for name in chunk.dictionary.to_pylist()] or [0], dtype=np.uint8)[
                chunk.indices.to_numpy(zero_copy_only=False)
            ]
            for chunk in table["split"].chunks
        ]
        return Samples(**numbers, split=np.concatenate(parts) if parts else np.empty(0, np.uint8))

    def draw(self, split: str, count: int | None, seed: int) -> npt.NDArray[np.int64]:
        """Draw samples of a split at random: their row numbers, int64, in the order drawn; all where `count` is None.

        The first hundred of a greater count are those of a smaller.

        Raises
        ------
        InputError
            The split has no samples, or fewer than `count`.

        """
        rows = self.samples.rows(split)
        if not len(rows):
            raise InputError(
                f"has no samples in the split {split}",
                source=self.folder,
                remedy="name another --split (bookcrossing has a valid one if prepared with --valid 0.1)",
            )
        if count is not None and count > len(rows):
            raise InputError(
                f"has {len(rows):,} samples in the split {split}, {count:,} are wanted",
                source=self.folder,
                remedy=f"ask for {len(rows):,} at most",
            )
        return rows[np.random.default_rng(seed).permutation(len(rows))[:count]]

    def draw_sorted(self, split: str, limit: int | None, seed: int) -> npt.NDArray[np.int64]:
        """Draw samples as `draw` does; their row numbers ascending, all where the limit is greater.

        Raises
        ------
        InputError
            The split has none.

        """
        available = len(self.samples.rows(split))
        return np.sort(self.draw(split, None if limit is None else min(limit, available), seed))

    def draw_users(self, split: str, users: int, seed: int) -> npt.NDArray[np.int64]:
        """Draw users of a split at random: the row numbers of all their samples in it, int64, ascending.

        The first hundred users of a greater number are those of a smaller; all where it is greater than there are.

        Raises
        ------
        InputError
            The split has no samples.

        """
        rows = np.sort(self.draw(split, None, seed))
        owner = self.samples.user[rows]
        drawn = np.random.default_rng(seed).permutation(np.unique(owner))[:users]
        return rows[np.isin(owner, drawn)]

    def others(self, sample: int) -> npt.NDArray[np.int64]:
        """Return the positions of a sample's earlier behaviors, those with the target itself left out; ascending."""
        start, target = int(self.interactions.starts[self.samples.user[sample]]), self.samples.item[sample]
        earlier = self.interactions.item[start : start + int(self.samples.position[sample])]
        return np.flatnonzero(earlier != target).astype(np.int64)

    def item(self, row: int) -> Item:
        """Return an item's record: the fields that it has, and its `id`. Repeated calls give the same object."""
        known = self._records.get(row)
        if known is None:
            known = Item({name: values[row] for name, values in self._item_columns.items() if values[row] is not None})
            self._records[row] = known
        return known

    def check_stream(self, domain: Domain) -> None:
        """Refuse data that no streams of a domain can be read of.

        Raises
        ------
        InputError
            It has no ratings, the domain does not say how a stream is written, or the data's samples are called liked
            where the domain's levels are not.

        """
        words = domain.stream_words()
        if self.interactions.rating is None:
            raise InputError("has no ratings", source=self.folder, remedy="take --layout question: a stream is of them")
        samples, liked = self.samples, np.array(domain.liked_levels(words))
        rating = as_written(self.interactions.rating[self.interactions.starts[samples.user] + samples.position])
        level = np.searchsorted([level.low for level in words.levels], rating, side="right") - 1
        differs = ~np.isnan(rating) & (liked[np.maximum(level, 0)] != (samples.label == 1))
        if differs.any():
            sample = int(np.flatnonzero(differs)[0])
            called = "liked" if samples.label[sample] else "not liked"
            raise InputError(
                f"sample {sample} is {called}, and its rating {rating[sample]:g} is not so in the domain {domain.name}",
                source=self.folder,
                remedy="give a --domain whose [rating] liked fits the data, or prepare the data with --liked-from",
            )

    def target(self, sample: int) -> Item:
        """Return a sample's item, with its mean rating as it was known, `average`, where the data has that."""
        item, known = self.item(int(self.samples.item[sample])), self.interactions
        if known.average is None:
            return item
        row = known.starts[self.samples.user[sample]] + self.samples.position[sample]
        return Item({**item.fields, "average": float(as_written(known.average[[row]])[0])})

    def candidate(self, row: int, averages: npt.NDArray[np.float32] | None) -> Item:
        """Return an item with its mean rating of `averages`, `average`, where there are such."""
        if averages is None:
            return self.item(row)
        return Item({**self.item(row).fields, "average": float(as_written(averages[[row]])[0])})

    def all_items(self) -> list[Item]:
        """Return all items' records, by number."""
        return [self.item(row) for row in range(self.items.num_rows)]

    def user(self, row: int) -> User:
        """Return a user's record: the fields that are known, without the id."""
        return User({n: v[row] for n, v in self._user_columns.items() if n != "id" and v[row] is not None})

    def item_id(self, row: int) -> str:
        """Return the id that an item has in the source."""
        return str(self._item_columns["id"][row])

    def user_id(self, row: int) -> str:
        """Return the id that a user has in the source."""
        return str(self._user_columns["id"][row])

    def history(self, user: int, position: int) -> list[Behavior]:
        """Return what stands before a position among a user's interactions, oldest first."""
        starts = self.interactions.starts
        start = int(starts[user])
        return self.behaviors(np.arange(start, min(start + max(position, 0), int(starts[user + 1]))))

    def behaviors(self, rows: npt.NDArray[np.integer[Any]]) -> list[Behavior]:
        """Return interactions as records, by their row numbers."""
        known = self.interactions
        items = known.item[rows].tolist()
        ratings = [None] * len(items) if known.rating is None else as_written(known.rating[rows]).tolist()
        times = [None] * len(items) if known.timestamp is None else known.timestamp[rows].tolist()
        averages = [None] * len(items) if known.average is None else as_written(known.average[rows]).tolist()
        return [
            Behavior(self.item(item), None if rating is None or rating != rating else rating, *rest)  # NaN: none
            for item, rating, *rest in zip(items, ratings, times, averages, strict=True)
        ]

    @cached_property
    def _item_columns(self) -> dict[str, list[Any]]:
        return {name: self.items[name].to_pylist() for name in self.items.column_names}

    @cached_property
    def _user_columns(self) -> dict[str, list[Any]]:
        return {name: self.users[name].to_pylist() for name in self.users.column_names}

    def _read(self, name: str) -> "pa.Table":
        # pyarrow takes a third of a second to import: only what reads tables pays for it.
        import pyarrow as pa
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(self.folder / name).read(use_threads=False)  # threads may not start
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"cannot be read: {error}", source=self.folder / name, remedy=_AGAIN) from None


def split_number(name: str) -> int:
    """Return a split's index into `SPLITS`.

    Raises
    ------
    InputError
        There is no such split.

    """
    if name not in SPLITS:
        raise InputError(f"split is {name!r}", remedy=f"one of {', '.join(SPLITS)}")
    return SPLITS.index(name)


def as_written(ratings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return ratings as the decimals that they were written as: 3.7, which as float32 is a little more."""
    exact: npt.NDArray[np.float64] = ratings.astype(np.float64).round(6)
    return exact
