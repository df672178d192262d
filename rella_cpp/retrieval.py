"""SUBR, semantic user behavior retrieval (ReLLa §3.2): the K behaviors nearest to the target, not the K latest."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.values import describe, quoted
from rella_cpp.errors import InputError, RellaError
from rella_cpp.prompts import Order

_MOST = 1_000_000

Retrieval = Literal["subr", "recent"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which behaviors of a history a prompt shows: how many, by what choice, in what order.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    k: int = 30
    retrieval: Retrieval = "subr"
    order: Order = "time"
    allow_empty_history: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.k, int) or not 1 <= self.k <= _MOST:
            shown = describe(self.k) if isinstance(self.k, str) else quoted(self.k)
            raise InputError(f"K is {shown}", remedy="give a whole number of behaviors, 1 to 1,000,000 (-k 30)")
        for name, value, known in (
            ("retrieval", self.retrieval, get_args(Retrieval)),
            ("order", self.order, get_args(Order)),
        ):
            if value not in known:
                raise InputError(f"{name} is {quoted(value)}", remedy=f"one of {', '.join(known)}")


def nearest(
    vectors: npt.NDArray[np.float32], target: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Find the rows of `vectors` with the greatest cosine to `target`, exactly.

    Parameters
    ----------
    vectors
        float32 of shape (n, d).
    target
        float32 of shape (d,).
    k
        How many; all where n is smaller.

    Returns
    -------
    Row numbers, int64 of shape (min(k, n),), and their cosines, float32; greatest first, of equal ones the later row.

    Raises
    ------
    RellaError
        usearch fails.

    """
    from usearch.index import MetricKind, search

    count = 4 * k  # more than asked for, to see the ties at the edge
    while True:
        try:
            found = search(vectors, target, min(count, len(vectors)), MetricKind.Cos, exact=True, threads=1)
        except RuntimeError as error:
            raise RellaError(f"usearch cannot compare {len(vectors):,} vectors ({error})") from None
        rows = np.asarray(found.keys, dtype=np.int64).ravel()
        cosines = 1 - np.asarray(found.distances, dtype=np.float32).ravel()
        order = np.lexsort((-rows, -cosines))
        rows, cosines = rows[order], cosines[order]
        if count >= len(vectors) or cosines[-1] < cosines[k - 1]:
            return rows[:k], cosines[:k]
        count *= 4  # the K-th and the last are equal: there may be more of them
