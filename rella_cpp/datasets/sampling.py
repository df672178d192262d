"""Samples of sorted interactions: which ones, and which split each belongs to."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import Interactions, Samples

BY_USERS = "users at random"
"""What a manifest's rules say of a split by users."""

UNKNOWN = -1
"""The label of an interaction that is no sample: whether it was liked is not known."""


def samples_by_time(
    interactions: Interactions, labels: npt.NDArray[np.int8], min_history: int, shares: Sequence[int]
) -> Samples:
    """Make a sample of every labeled interaction with enough before it; the earliest train.

    Ties go by user, then item. `labels` has the shape (interactions,).
    """
    if interactions.timestamp is None:
        raise ValueError("interactions without times cannot be split by time")
    rows, position = _labeled(interactions, labels, min_history)
    # Stable, and rows stand by user and item already: ties keep that order.
    split = assign(np.argsort(interactions.timestamp[rows], kind="stable"), shares)
    return Samples(users_of(interactions)[rows], position, interactions.item[rows], labels[rows], split)


def samples_by_users(
    interactions: Interactions, labels: npt.NDArray[np.int8], min_history: int, shares: Sequence[int], seed: int
) -> Samples:
    """Make a sample of every labeled interaction with enough before it; users are split at random."""
    rows, position = _labeled(interactions, labels, min_history)
    user = users_of(interactions)[rows]
    of_users = assign(shuffle(len(interactions.starts) - 1, seed), shares)
    return Samples(user, position, interactions.item[rows], labels[rows], of_users[user])


def last_samples(interactions: Interactions, min_history: int, shares: Sequence[int], seed: int) -> Samples:
    """Make a sample of every user's last interaction, label 1; users are split at random."""
    users, position = last_of_each(interactions, min_history)
    item = interactions.item[interactions.starts[users] + position]
    split = assign(shuffle(len(users), seed), shares)
    return Samples(users.astype(np.int32), position, item, np.ones(len(users), np.int8), split)


def _labeled(
    interactions: Interactions, labels: npt.NDArray[np.int8], min_history: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the rows of the samples and their positions."""
    position = history_lengths(interactions)
    rows = np.flatnonzero((position >= min_history) & (labels != UNKNOWN))
    return rows, position[rows]


def history_lengths(interactions: Interactions) -> npt.NDArray[np.int32]:
    """Count, for every interaction, those of the same user before it, int32 of shape (n,)."""
    positions = np.arange(len(interactions.item), dtype=np.int32)
    return positions - np.repeat(interactions.starts[:-1].astype(np.int32), np.diff(interactions.starts))


def users_of(interactions: Interactions) -> npt.NDArray[np.int32]:
    """Return every interaction's user, int32 of shape (n,)."""
    users = len(interactions.starts) - 1
    return np.repeat(np.arange(users, dtype=np.int32), np.diff(interactions.starts))


def sizes(count: int, shares: Sequence[int]) -> list[int]:
    """Cut `count` by shares such as (8, 1, 1): all rounded down but the last that is not 0, which has the rest."""
    cut = [count * share // sum(shares) for share in shares]
    cut[max(place for place, share in enumerate(shares) if share)] += count - sum(cut)
    return cut


def assign(order: npt.NDArray[np.int64], shares: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return every sample's split, uint8 of shape (n,), from the order in which samples fill train, valid, test."""
    split = np.empty(len(order), np.uint8)
    start = 0
    for number, size in enumerate(sizes(len(order), shares)):
        split[order[start : start + size]] = number
        start += size
    return split


def draw(count: int, seed: int, purpose: int) -> npt.NDArray[np.float64]:
    """Return numbers from 0 to below 1 that the seed decides, shape (count,); another purpose gives others."""
    return np.random.Generator(np.random.PCG64([seed, purpose])).random(count)


def shuffle(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the numbers below `count` in an order that the seed decides, int64."""
    return np.argsort(draw(count, seed, purpose=0), kind="stable")


def last_of_each(interactions: Interactions, min_history: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the users with enough before their last interaction, int64, and the position of that, int32."""
    counts = np.diff(interactions.starts)
    users = np.flatnonzero(counts > min_history)
    return users, (counts[users] - 1).astype(np.int32)
