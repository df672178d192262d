"""What every format is brought to: numbered users and items, sorted interactions, samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute as pc

from rella_cpp.datasets.averages import SMOOTHING, running_averages, training_rows, within
from rella_cpp.datasets.dataset import Interactions, Samples
from rella_cpp.datasets.layout import SPLITS
from rella_cpp.datasets.sampling import BY_USERS
from rella_cpp.domains.loading import load_domain
from rella_cpp.errors import InputError

_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A data set ready to be written.

    `rules` says how samples were made, `left_out` counts rows by file and reason, `repaired` counts values by what was
    mended.
    """

    domain: str
    users: pa.Table
    items: pa.Table
    interactions: Interactions
    samples: Samples
    rules: Mapping[str, object]
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    repaired: Mapping[str, int] = field(default_factory=dict)


def with_averages(prepared: Prepared) -> Prepared:
    """Add the items' mean ratings as they were known; see `averages`.

    Raises
    ------
    InputError
        The data has no ratings or no times.

    """
    known, scale = prepared.interactions, load_domain(prepared.domain).rating
    if known.rating is None or known.timestamp is None or scale is None:
        lacks = "ratings" if known.rating is None or scale is None else "times"
        raise InputError(f"--averages need ratings and times, and the data has no {lacks}", remedy="leave them out")
    middle = (scale.min + scale.max) / 2
    training = training_rows(known, prepared.samples, by_users=prepared.rules.get("split") == BY_USERS)
    average = np.clip(running_averages(known, training, middle), *within(scale.min, scale.max))
    rules = {**prepared.rules, "averages": {"smoothing": SMOOTHING, "middle": middle}}
    return replace(prepared, interactions=replace(known, average=average), rules=rules)


@dataclass(frozen=True, slots=True)
class Events:
    """What users did, in any order: numbers of users and items, int32; ratings and times where there are some.

    `nanos` are the nanoseconds that the times, rounded down to seconds, leave out.
    """

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    rating: npt.NDArray[np.float32] | None = None
    timestamp: npt.NDArray[np.int64] | None = None
    nanos: npt.NDArray[np.int32] | None = None

    def order(self) -> npt.NDArray[np.int64]:
        """Return the rows' order by user, then time (where there is one, else as they stand), then item number."""
        if self.timestamp is None:
            return np.argsort(self.user, kind="stable")
        if self.nanos is None:
            return np.lexsort((self.item, self.timestamp, self.user))
        return np.lexsort((self.item, self.nanos, self.timestamp, self.user))

    def sorted(self, users: int, order: npt.NDArray[np.int64] | None = None) -> Interactions:
        """Bring the rows into an order, by default `order()`; `users` is how many there are."""
        order = self.order() if order is None else order
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.user, minlength=users), dtype=np.int64)])
        return Interactions(
            self.item[order],
            None if self.rating is None else self.rating[order],
            None if self.timestamp is None else self.timestamp[order],
            starts,
        )


def find_rows(ids: npt.NDArray[_Number], values: npt.NDArray[_Number]) -> npt.NDArray[np.int32]:
    """Return each value's place among ascending ids, int32 of shape (n,); -1 where it is none of them."""
    if not len(ids):
        return np.full(len(values), -1, np.int32)
    rows = np.searchsorted(ids, values).astype(np.int32)
    rows[rows == len(ids)] = 0
    rows[ids[rows] != values] = -1
    return rows


def repeated(
    user: npt.NDArray[np.int32], item: npt.NDArray[np.int32], *times: npt.NDArray[Any] | None
) -> npt.NDArray[np.bool_]:
    """Mark every pair of user and item but the last of its kind, shape (n,).

    With `times`, the coarse before the fine, the last is the latest; of those at one time the one that stands last.
    """
    pairs = user.astype(np.int64) << 32 | item
    marked = np.zeros(len(pairs), np.bool_)
    ordered = np.sort(pairs)
    if np.any(ordered[1:] == ordered[:-1]):
        order = np.lexsort((*(time for time in reversed(times) if time is not None), pairs))
        marked[order[:-1][pairs[order[1:]] == pairs[order[:-1]]]] = True
    return marked


def ascending(ids: pa.Array) -> pa.Array:
    """Return texts without repetition, ascending: as numbers where all are whole numbers."""
    ids = ids.unique()
    if pc.all(pc.match_substring_regex(ids, r"^-?\d{1,18}$")).as_py():
        table = pa.table({"number": ids.cast(pa.int64()), "text": ids})
        return table.sort_by([("number", "ascending"), ("text", "ascending")])["text"].combine_chunks()
    return ids.take(pc.sort_indices(ids))


def find_texts(ids: pa.Array, values: pa.Array) -> npt.NDArray[np.int32]:
    """Return each text's place among ids, int32 of shape (n,); -1 where it is none of them."""
    rows: npt.NDArray[np.int32] = pc.index_in(values, ids).fill_null(-1).to_numpy(zero_copy_only=False)
    return rows


def split_names(split: npt.NDArray[np.uint8]) -> pa.DictionaryArray:
    """Return splits as a column of names."""
    return pa.DictionaryArray.from_arrays(pa.array(split.astype(np.int8)), pa.array(list(SPLITS)))
