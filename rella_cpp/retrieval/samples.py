"""Samples' histories, and SUBR over an index: exact over the user's own behaviors, whatever their number."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import as_written
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.values import as_whole
from rella_cpp.errors import InputError
from rella_cpp.prompts.streams.text import Unshown
from rella_cpp.retrieval.index.item_index import ItemIndex
from rella_cpp.retrieval.nearest import nearest
from rella_cpp.retrieval.selection import Retrieval, Selection, window_start
from rella_cpp.storage.progress import Progress

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet


class Histories:
    """Chooses behaviors of a data set's samples by position: 0 is the user's first interaction.

    Parameters
    ----------
    data
        The data set.
    index
        Where vectors come from; None: only the latest behaviors can be chosen.
    domain
        Finds the data's items in the index where they have no ids there.
    progress
        Told while the index's files are checked.

    Attributes
    ----------
    data, domain
        As given.
    vectors
        The index; None without one.

    Raises
    ------
    InputError
        The index lacks items that occur in the data.

    """

    def __init__(
        self, data: "DataSet", index: ItemIndex | None, domain: Domain, progress: Progress | None = None
    ) -> None:
        if index is not None and progress is not None:
            index.progress = progress
        self.data, self.domain, self.vectors = data, domain, index
        self._starts = data.interactions.starts
        self._rows = np.zeros(0, np.int64) if index is None else _index_rows(data, index, domain)
        self._user, self._matrix = -1, np.zeros((0, 0), np.float32)

    def start(self, row: int) -> int:
        """Return the row, among all interactions, of the first one of a sample's user."""
        return int(self._starts[self.data.samples.user[row]])

    def others(self, row: int) -> npt.NDArray[np.int64]:
        """Return the positions of a sample's earlier behaviors, those with the target itself left out; ascending."""
        return self.data.others(row)

    def choose(self, row: int, k: int, retrieval: Retrieval) -> npt.NDArray[np.int64]:
        """Choose K behaviors by position, ascending; all, for SUBR without an index: then the scorer chooses."""
        if retrieval == "recent":
            return self.latest(row, k)
        if self.vectors is None:
            return self.others(row)
        return np.sort(self.nearest(row, k)[0])

    def stream(self, row: int, selection: Selection) -> tuple[npt.NDArray[np.int64], Unshown]:
        """Choose a stream's behaviors by position, ascending, and say what of the user's ratings came before them.

        For SUBR without an index these are all rated ones: then the scorer chooses. Else it shows just these.
        """
        start, others, k = self.start(row), self.others(row), selection.k
        earlier = self.data.interactions.ratings()[start : start + int(self.data.samples.position[row])]
        rated = np.flatnonzero(~np.isnan(earlier))
        lines = others[np.isin(others, rated, assume_unique=True)]
        chosen = lines
        if selection.retrieval != "subr":
            begins = window_start(len(rated), k, selection.window or "anchored")
            chosen = lines[lines >= (rated[begins] if begins < len(rated) else len(earlier))]
        if selection.retrieval != "recent":
            before = lines if selection.retrieval == "subr" else lines[: len(lines) - len(chosen)]
            found = before if self.vectors is None else self._nearest(row, before, k)[0]
            chosen = np.sort(found) if selection.retrieval == "subr" else np.concatenate([np.sort(found), chosen])
        left = np.setdiff1d(lines, chosen, assume_unique=True)
        total = float(as_written(earlier[left]).sum())
        return chosen, Unshown(len(left), total)

    def latest(self, row: int, k: int) -> npt.NDArray[np.int64]:
        """Return the positions of the K latest behaviors, ascending."""
        others = self.others(row)
        return others[max(0, len(others) - k) :]

    def nearest(self, row: int, k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return the positions of the K behaviors nearest to the target, and their cosines; nearest first.

        Of equal cosines the later behavior comes first.
        """
        return self._nearest(row, self.others(row), k)

    def _nearest(
        self, row: int, positions: npt.NDArray[np.int64], k: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return those of some positions that are nearest to the target, as `nearest` does."""
        assert self.vectors is not None, "SUBR needs an index"
        if not len(positions):
            return positions, np.zeros(0, np.float32)
        matrix = self._of_user(int(self.data.samples.user[row]))
        target = self.vectors.vectors(self._rows[[self.data.samples.item[row]]])[0]
        wanted = matrix[: positions[-1] + 1] if len(positions) == positions[-1] + 1 else matrix[positions]
        found, cosines = nearest(wanted, target, k)
        return positions[found], cosines

    def mean_cosines(self, user: int, position: int, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the mean cosine of each item to all of a user's behaviors before a position but the item itself.

        float64 of shape (len(items),); 0 where there are no behaviors.
        """
        assert self.vectors is not None, "cosines need an index"
        earlier = self.data.interactions.item[self._starts[user] :][:position]
        behaviors, targets = _unit(self._of_user(user)[:position]), _unit(self.vectors.vectors(self._rows[items]))
        # No matrix product: its last bits depend on the row's place, and would break the ties of items alike.
        cosines = np.einsum("td,bd->tb", targets, behaviors)
        counted = items[:, None] != earlier[None, :]
        means: npt.NDArray[np.float64] = (cosines * counted).sum(axis=1) / np.maximum(1, counted.sum(axis=1))
        return means

    def _of_user(self, user: int) -> npt.NDArray[np.float32]:
        """Return the vectors of a user's interactions, float32 of shape (n, dim); the last user's are kept."""
        assert self.vectors is not None
        if user != self._user:
            items = self.data.interactions.item[self._starts[user] : self._starts[user + 1]]
            self._user, self._matrix = user, self.vectors.vectors(self._rows[items])
        return self._matrix


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return vectors at unit length, float64; what is stored is so but for rounding."""
    exact = vectors.astype(np.float64)
    exact /= np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-12)
    return exact


def _index_rows(data: "DataSet", index: ItemIndex, domain: Domain) -> npt.NDArray[np.int64]:
    """Return each item's row in the index, int64 of shape (items,), -1 for those that nobody touched and it lacks."""
    ids: dict[str, int] = {name: row for row, name in enumerate(index.ids()) if name is not None}
    rows = np.full(data.items.num_rows, -1, np.int64)
    for number, name in enumerate(data.items["id"].to_pylist()):
        rows[number] = ids.get(str(name), ids.get(as_whole(str(name)), -1))
    if len(ids) < len(index):
        for place in np.flatnonzero(rows < 0).tolist():
            found = index.row(data.item(place), domain)
            rows[place] = -1 if found is None else found
    for number in np.flatnonzero(rows >= 0).tolist():
        index.check_name(int(rows[number]), data.item(number), domain)
    used = np.unique(data.interactions.item)
    missing = used[rows[used] < 0]
    if len(missing):
        raise InputError(
            f"lacks {len(missing):,} of the {len(used):,} items of {data.folder} "
            f"(the first: {domain.show_item(data.item(int(missing[0])))[:60]!r})",
            source=index.folder,
            remedy="add them (rella index add)",
        )
    return rows
