"""SUBR, semantic user behavior retrieval (ReLLa §3.2): the vectors nearest to the target's, exactly."""

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import RellaError


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
