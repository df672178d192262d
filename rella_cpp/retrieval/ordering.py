"""The order `shared`: behaviors that most targets retrieve stand first, so that prompts share long beginnings."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

from rella_cpp.retrieval.history import HistoryRows

Key = TypeVar("Key", bound=Hashable)


def share(lists: Sequence[Sequence[Key]]) -> list[list[Key]]:
    """Order several lists so that many of them begin alike, each with all that it had.

    What all of a group have comes first. Of the rest, what most of them have divides those that have it, who put it
    next, from the others, and both go on alone; so an FP-tree grows (Han et al. 2000), but with counts within each
    branch. What only one has keeps its order.

    Parameters
    ----------
    lists
        Each without repetitions.

    Returns
    -------
    For each list its entries in their new order.

    Examples
    --------
    Three of these four have b, who put it first; of what those have left, two have a, who put it next. The c of rbc
    and of sc is in two branches by then, and counts for neither.

    >>> ["".join(entries) for entries in share(["pab", "aqb", "rbc", "sc"])]
    ['bap', 'baq', 'brc', 'sc']

    """
    ordered: list[list[Key]] = [[] for _ in lists]
    groups = [(list(range(len(lists))), [dict.fromkeys(entries) for entries in lists])]
    while groups:
        members, left = groups.pop()
        counts = Counter(key for entries in left for key in entries)
        for key in [key for key in left[0] if counts[key] == len(members)] if members else ():
            del counts[key]
            for member, entries in zip(members, left, strict=True):
                ordered[member].append(key)
                del entries[key]
        most = max(counts, key=lambda key: counts[key], default=None)  # of equal ones the first
        if most is None or counts[most] < 2:
            for member, entries in zip(members, left, strict=True):
                ordered[member] += entries
            continue
        pairs = list(zip(members, left, strict=True))
        for having in (True, False):
            part = [(member, entries) for member, entries in pairs if (most in entries) == having]
            groups.append(([member for member, _ in part], [entries for _, entries in part]))
    return ordered


def share_rows(histories: Sequence[HistoryRows]) -> list[list[list[int]]]:
    """Bring the rows that the prompts of some histories want into the order `shared`; behaviors alike count as one."""
    names = [rows.names() for rows in histories]
    row_of = [
        [{own[row]: row for row in wanted} for wanted in rows.wanted]
        for own, rows in zip(names, histories, strict=True)
    ]
    ordered = iter(share([list(wanted) for targets in row_of for wanted in targets]))
    return [[[wanted[name] for name in next(ordered)] for wanted in targets] for targets in row_of]
