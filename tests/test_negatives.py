from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from look_alikes import amazon, write_files

from rella_cpp import DataSet, InputError, prepare
from rella_cpp.datasets.last_liked import LastLiked
from rella_cpp.datasets.layout import SPLITS
from rella_cpp.datasets.negatives import Candidates
from rella_cpp.evaluation.baselines.popularity import TrainingCounts


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Split by users: 60 users with 2 to 7 of 40 products."""
    folder, dice = tmp_path_factory.mktemp("bought"), np.random.default_rng(0)
    histories = {str(n): dice.choice(40, 2 + n % 6, replace=False).tolist() for n in range(60)}
    return prepare("amazon", write_files(folder / "a.zip", amazon(histories, 40)), folder / "data")


def draw(
    data: DataSet, split: str = "test", limit: int | None = None, seed: int = 0, negatives: int = 20
) -> Candidates:
    return Candidates.draw(data, LastLiked.of(data), split, limit, seed, negatives)


def test_each_user_has_the_last_thing_liked_among_items_never_touched(sparse_data: DataSet) -> None:
    drawn, known, samples = draw(sparse_data, "train"), sparse_data.interactions, sparse_data.samples
    touched = set(known.item.tolist())
    for row, user in enumerate(drawn.user.tolist()):
        own = known.item[known.starts[user] : known.starts[user + 1]].tolist()
        liked = np.flatnonzero((samples.user == user) & (samples.label == 1))
        wanted = max(liked, key=lambda sample: samples.position[sample])
        place = int(drawn.positive[row])
        assert drawn.position[row] == samples.position[wanted]
        assert drawn.items[row, place] == samples.item[wanted] == own[drawn.position[row]]
        others = np.delete(drawn.items[row], place).tolist()
        assert len(set(others)) == 20 and set(others) <= touched - set(own)  # later and disliked ones are own, too
    # No constant place: over ten seeds each of the 21 comes to some 30 users of 600, and five deviations are 27.
    places = np.concatenate([draw(sparse_data, "train", seed=seed).positive for seed in range(10)])
    assert np.abs(np.bincount(places, minlength=21) - len(places) / 21).max() < 27


def test_negatives_hang_on_the_seed_and_the_user_alone(sparse_data: DataSet) -> None:
    whole, few, other = draw(sparse_data, "train"), draw(sparse_data, "train", 12), draw(sparse_data, "train", seed=1)
    rows = np.searchsorted(whole.user, few.user)
    assert len(few.user) == 12 and (np.diff(few.user) > 0).all() and (whole.user[rows] == few.user).all()
    assert (few.items == whole.items[rows]).all() and (few.positive == whole.positive[rows]).all()
    assert few.sample(3, 5) == whole.sample(int(rows[3]), 5)
    assert set(few.user) < set(draw(sparse_data, "train", 30).user)
    assert (other.user == whole.user).all() and (other.items != whole.items).any(axis=1).all()
    assert set(draw(sparse_data, "train", 12, seed=1).user) != set(few.user)


def test_negatives_are_uniform(bought: DataSet) -> None:
    # One user, 400 seeds, 5 of some 33 items: each is drawn some 60 times; five standard deviations are 36.
    users = LastLiked.of(bought)
    user = int(users.user[users.places("test")][0])
    counts = np.zeros(40)
    for seed in range(400):
        drawn = draw(bought, seed=seed, negatives=5)
        row = int(np.flatnonzero(drawn.user == user)[0])
        counts[np.delete(drawn.items[row], drawn.positive[row])] += 1
    drawn_ever = counts[counts > 0]
    assert np.abs(drawn_ever - 2000 / len(drawn_ever)).max() < 36


def test_users_are_split_again_only_where_the_data_is_not_split_by_users(sparse_data: DataSet, bought: DataSet) -> None:
    users = LastLiked.of(sparse_data)
    assert users.split_by == "users 10:1:1, seed 0"
    sizes = np.bincount(users.split)
    assert sizes.tolist() == [10 * len(users.user) // 12, len(users.user) // 12, sizes[2]] and sizes[2] - sizes[1] < 3
    for seed in (1, 2):  # the seed draws other negatives, never other test users
        assert (draw(sparse_data, seed=seed).user == users.user[users.places("test")]).all()
    kept = LastLiked.of(bought)
    assert kept.split_by == "users as prepared"
    for split in SPLITS:
        own = bought.samples.user[bought.samples.rows(split)]
        assert kept.user[kept.places(split)].tolist() == own.tolist()


def test_popularity_counts_training_users_but_not_ones_own_history(sparse_data: DataSet, bought: DataSet) -> None:
    for data in (sparse_data, bought):
        users, known = LastLiked.of(data), data.interactions
        counts, training = TrainingCounts(data, users.trains()), set(users.user[users.places("train")].tolist())
        owner = np.repeat(np.arange(len(known.starts) - 1), np.diff(known.starts))
        for split in SPLITS:
            drawn = draw(data, split, negatives=10)
            for user, items in zip(drawn.user.tolist(), drawn.items, strict=True):
                wanted = [
                    sum(who in training and who != user for who in owner[known.item == item].tolist()) for item in items
                ]
                assert counts.of(user, items).tolist() == wanted


def test_too_few_items_and_an_empty_split_are_refused(bought: DataSet) -> None:
    with pytest.raises(InputError, match=r"user \d+ leaves 3\d items untouched, 39 are wanted; .*\(3\d at most\)"):
        draw(bought, negatives=39)
    other = DataSet.open(bought.folder)
    other.__dict__["samples"] = replace(bought.samples, label=np.zeros_like(bought.samples.label))
    with pytest.raises(InputError, match="no users in the split test who liked anything"):
        draw(other)


def test_a_user_who_liked_nothing_is_not_ranked(sparse_data: DataSet, tmp_path: Path) -> None:
    samples = sparse_data.samples
    label = samples.label.copy()
    label[samples.user == samples.user[0]] = 0
    other = DataSet.open(sparse_data.folder)
    other.__dict__["samples"] = replace(samples, label=label)
    found = LastLiked.of(other)
    assert samples.user[0] in LastLiked.of(sparse_data).user and samples.user[0] not in found.user
