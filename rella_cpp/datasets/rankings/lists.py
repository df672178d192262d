"""Rankings by another recommender (SASRec, GRU4Rec, …): at a user's position, the items it expects next and scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import InputError
from rella_cpp.storage.artifacts import brief, sha256
from rella_cpp.storage.manifests import Tables

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    from rella_cpp.datasets.dataset import DataSet

FORMAT_VERSION = 1
MARK = "rella_rankings"
MANIFEST = "manifest.json"
TABLE = "rankings.parquet"
_AGAIN = "import the rankings again with --force"
_TABLES = Tables(
    mark=MARK,
    version=FORMAT_VERSION,
    noun="rankings",
    absent="holds no rankings",
    give="imported rankings",
    make="make them: rella data import-ranking",
    again=_AGAIN,
)
_KEPT = 4
"""Row groups of the table that are kept in memory."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a recommender expects next.

    Attributes
    ----------
    items
        Item numbers, the best first, int64 of shape (n,), n > 0.
    scores
        Their scores, on the recommender's own scale, descending, float64 of shape (n,).

    """

    items: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]

    @property
    def unlisted(self) -> float:
        """The score of items that are not listed: below the lowest that is, by its own size and by 1 at least."""
        lowest = float(self.scores[-1])
        return lowest - max(1.0, abs(lowest))

    def scores_of(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the scores of some items, float64 of their shape (m,); all that are not listed have `unlisted`."""
        order = np.argsort(self.items)
        ids = self.items[order]
        places = np.minimum(np.searchsorted(ids, items), len(ids) - 1)
        return np.where(ids[places] == items, self.scores[order[places]], self.unlisted)


class Rankings:
    """Rankings in a folder, by user and position. `Rankings.open` checks a folder and opens it.

    Only which lists there are is held in memory; the lists are read a row group at a time.

    Parameters
    ----------
    folder
        Where they lie.
    manifest
        What their manifest says.
    fingerprint
        SHA-256 of the manifest, which holds that of the table.

    """

    def __init__(self, folder: Path, manifest: dict[str, Any], fingerprint: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.fingerprint = fingerprint
        self._groups: dict[int, pa.Table] = {}

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open the rankings in a folder; the table is compared with the manifest.

        Raises
        ------
        InputError
            There is no such folder, it holds no rankings or some of another version, or the table is missing or
            damaged.

        """
        folder = Path(folder)
        manifest, fingerprint = _TABLES.manifest(folder), sha256(folder / MANIFEST)
        _check_entries(manifest, folder / MANIFEST)
        _TABLES.check(folder, manifest, [TABLE])
        return cls(folder, manifest, fingerprint)

    def __len__(self) -> int:
        """Count the lists."""
        return int(self.manifest["counts"]["lists"])

    @property
    def name(self) -> str:
        """The recommender's name, as it was given: `SASRec`; may be empty."""
        return str(self.manifest["name"])

    @property
    def depth(self) -> tuple[int, int]:
        """Lengths of the shortest and of the longest list."""
        return int(self.manifest["depth"]["shortest"]), int(self.manifest["depth"]["longest"])

    def check(self, data: "DataSet") -> None:
        """Refuse a data set that they were not made for.

        Raises
        ------
        InputError
            It is another one.

        """
        made_for = self.manifest["data"]
        if made_for["fingerprint"] != data.fingerprint:
            told = f"{made_for['name']} ({brief(made_for['fingerprint'])})"
            raise InputError(
                f"are rankings for {told}, not for {data.name} ({brief(data.fingerprint)})",
                source=self.folder,
                remedy="import the table again for this data set",
            )

    @cached_property
    def users(self) -> npt.NDArray[np.int64]:
        """Every list's user number, int64 of shape (lists,), ascending."""
        return self._keys >> 32

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """Every list's position among its user's interactions, int64 of shape (lists,), ascending for each user."""
        return self._keys & 0xFFFFFFFF

    def find(self, user: int, position: int) -> Ranking | None:
        """Return the list for a user's position; None where there is none.

        Parameters
        ----------
        user
            The user's number in the data set.
        position
            Index of the target among the user's interactions, as in `Samples`: the list was made from what stands
            before it.

        """
        if not (0 <= user < 1 << 31 and 0 <= position < 1 << 31):
            return None
        key = user << 32 | position
        row = int(np.searchsorted(self._keys, key))
        return None if row == len(self._keys) or self._keys[row] != key else self._ranking(row)

    def holds(self, users: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell for which users and positions there is a list, bool of shape (n,)."""
        return np.isin(users << 32 | positions, self._keys)

    def _ranking(self, row: int) -> Ranking:
        group = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        table, at = self._group(group), row - int(self._first_rows[group])
        return Ranking(
            table["items"][at].values.to_numpy().astype(np.int64),
            table["scores"][at].values.to_numpy().astype(np.float64),
        )

    def _group(self, number: int) -> "pa.Table":
        """Read a row group; the latest few are kept, since whoever walks the samples needs the same one again."""
        known = self._groups.pop(number, None)
        if known is None:
            known = self._read(number)
            while len(self._groups) >= _KEPT:
                del self._groups[next(iter(self._groups))]
        self._groups[number] = known
        return known

    def _read(self, number: int) -> "pa.Table":
        import pyarrow as pa

        try:
            return self._file.read_row_group(number, columns=["items", "scores"], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"cannot be read: {error}", source=self.folder / TABLE, remedy=_AGAIN) from None

    @cached_property
    def _file(self) -> "ParquetFile":
        # pyarrow takes a third of a second to import: only what reads tables pays for it.
        import pyarrow as pa
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(self.folder / TABLE)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"cannot be read: {error}", source=self.folder / TABLE, remedy=_AGAIN) from None

    @cached_property
    def _keys(self) -> npt.NDArray[np.int64]:
        """Every list's user << 32 | position, ascending."""
        table = self._file.read(columns=["user", "position"], use_threads=False)
        user, position = (table[name].to_numpy().astype(np.int64) for name in ("user", "position"))
        keys: npt.NDArray[np.int64] = user << 32 | position
        return keys

    @cached_property
    def _first_rows(self) -> npt.NDArray[np.int64]:
        """The number of the first list in every row group."""
        file = self._file.metadata
        rows = [file.row_group(number).num_rows for number in range(file.num_row_groups)]
        return np.cumsum([0, *rows[:-1]], dtype=np.int64)


def _check_entries(manifest: Mapping[str, Any], path: Path) -> None:
    """Refuse a manifest without what is read of it."""
    wanted = {
        "files": (TABLE,),
        "counts": ("lists", "users", "scores"),
        "depth": ("shortest", "longest"),
        "data": ("name", "fingerprint"),
    }
    parts = {name: manifest.get(name) for name in wanted}
    whole = all(isinstance(part, dict) and set(wanted[name]) <= set(part) for name, part in parts.items())
    if not whole or not isinstance(manifest.get("name"), str):
        raise InputError("lacks entries", source=path, remedy=_AGAIN)
