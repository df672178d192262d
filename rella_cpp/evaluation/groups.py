"""Which samples are scored together: those whose prompts begin with each other, so that what one has read serves all.

A stream of K = 2 reads the latest 2 to 3 rated behaviors, from an even number of them on. Of a user with seven ratings,
whose samples are the last five, these are the windows:

    sample at   2     3      4     5      6
    reads       0 1   0 1 2  2 3   2 3 4  4 5

so the samples at 2 and 3 are one window, those at 4 and 5 the next. A group is one user's window, or as many windows
that stand next to each other as make eight samples.
"""

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.prompts.layout import Layout
from rella_cpp.retrieval.selection import Selection, window_start
from rella_cpp.storage.journal import groups_of

LEAST = 8
"""Samples scored together, at least."""
MOST = 128
"""Samples scored together, at most: memory is bounded whatever K is."""


def sample_groups(data: DataSet, rows: npt.NDArray[np.int64], selection: Selection, layout: Layout) -> list[range]:
    """Group samples that are to be scored together.

    Parameters
    ----------
    data
        The data set.
    rows
        The samples' row numbers, int64, ascending.
    selection, layout
        Which behaviors their prompts show. Where these do not make prompts begin with each other, groups are of eight.

    Returns
    -------
    For each group the places of its samples among `rows`; all places in order. A function of the arguments alone, so
    that what resumes has the same company.

    """
    begins = _window_starts(data, rows, selection, layout)
    if begins is None:
        return groups_of(len(rows), LEAST)
    user = data.samples.user[rows]
    cuts = [*(1 + np.flatnonzero((np.diff(user) != 0) | (np.diff(begins) != 0))).tolist(), len(rows)]
    groups, start = list[range](), 0
    for window, cut in zip([0, *cuts], cuts, strict=False):
        if window - start >= LEAST:
            groups.append(range(start, window))
            start = window
        while cut - start > MOST:
            groups.append(range(start, start + MOST))
            start += MOST
    return [*groups, range(start, len(rows))] if start < len(rows) else groups


def _window_starts(
    data: DataSet, rows: npt.NDArray[np.int64], selection: Selection, layout: Layout
) -> npt.NDArray[np.int64] | None:
    """Return for each sample how many of the user's behaviors stand before those that its prompt begins with.

    None where the prompts of a user do not begin with each other.
    """
    shown, samples = selection.shown(layout), data.samples
    if (shown.retrieval, shown.order) != ("recent", "time") or shown.window == "sliding":
        return None
    position = samples.position[rows].astype(np.int64)
    if shown.window is None:
        return np.maximum(0, position - shown.k)
    known = np.concatenate([[0], np.cumsum(~np.isnan(data.interactions.ratings()))])
    start = data.interactions.starts[samples.user[rows]]
    rated = known[start + position] - known[start]
    return np.array([window_start(int(count), shown.k, "anchored") for count in rated], np.int64)
