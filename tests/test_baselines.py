"""Baselines must know nothing of the test split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from rella_cpp import DataSet, Histories, ItemIndex, load_domain
from rella_cpp.evaluation.baselines.clicks import Baselines

MOVIES = load_domain("movies")


def changed(data: DataSet, rows: np.ndarray) -> DataSet:
    """The data with the ratings and labels of some samples' targets turned round."""
    other = DataSet.open(data.folder)
    known, samples = other.interactions, other.samples
    assert known.rating is not None
    ratings, labels = known.rating.copy(), samples.label.copy()
    places = known.starts[samples.user[rows]] + samples.position[rows]
    ratings[places] = 6 - ratings[places]
    labels[rows] = 1 - labels[rows]
    other.__dict__["interactions"] = replace(known, rating=ratings)
    other.__dict__["samples"] = replace(samples, label=labels)
    return other


def test_labels_and_ratings_of_the_test_split_change_no_statistic_learnt_in_training(small_data: DataSet) -> None:
    test = small_data.samples.rows("test")
    before = Baselines(small_data, Histories(small_data, None, MOVIES), (30,))
    after = Baselines(changed(small_data, test), Histories(small_data, None, MOVIES), (30,))
    assert before.statistics is not None and after.statistics is not None
    np.testing.assert_array_equal(before.statistics.popularity.sums, after.statistics.popularity.sums)
    # Of a user's first test sample the history holds nothing of the test split: every baseline stays.
    users = small_data.samples.user[test]
    firsts = test[np.r_[True, users[1:] != users[:-1]]]
    for name, values in before.of(firsts)[0][30].items():
        np.testing.assert_array_equal(values, after.of(firsts)[0][30][name], err_msg=name)
    # And a training label does change them: the comparison above can fail.
    train = small_data.samples.rows("train")
    other = Baselines(changed(small_data, train), Histories(small_data, None, MOVIES), (30,))
    assert np.abs(other.of(firsts)[0][30]["logistic"] - before.of(firsts)[0][30]["logistic"]).max() > 0.01


def test_the_logistic_baseline_is_scikit_learns_on_the_six_statistics(small_data: DataSet) -> None:
    baselines = Baselines(small_data, Histories(small_data, None, MOVIES), (30,))
    train, test = small_data.samples.rows("train"), small_data.samples.rows("test")
    assert baselines.statistics is not None
    features = baselines.statistics.of(train)
    mean, scale = features.mean(0), features.std(0)
    model = LogisticRegression(max_iter=1000).fit((features - mean) / scale, small_data.samples.label[train])
    found, statistics = baselines.of(test)
    assert statistics is not None
    wanted = model.predict_proba((statistics - mean) / scale)[:, 1]
    np.testing.assert_allclose(found[30]["logistic"], wanted)
    assert found[30]["base_rate"][0] == pytest.approx(small_data.samples.label[train].mean())


def test_the_similarity_baseline_weighs_the_retrieved_ratings_by_cosine(
    small_data: DataSet, small_index: ItemIndex
) -> None:
    histories = Histories(small_data, small_index, MOVIES)
    baselines = Baselines(small_data, histories, (4,))
    rows = small_data.samples.rows("test")[:10]
    known, samples = small_data.interactions, small_data.samples
    assert known.rating is not None
    vectors = small_index.vectors(range(30))
    for row, found in zip(rows.tolist(), baselines._similarity(rows, 4, lambda *_: None)[:, 0], strict=True):
        start, end = known.starts[samples.user[row]], samples.position[row]
        items = known.item[start : start + end]
        cosines = vectors[items] @ vectors[samples.item[row]]
        best = sorted(range(end), key=lambda place: (-round(float(cosines[place]), 5), -place))[:4]
        weights = np.maximum(cosines[best], 0)
        wanted = (weights * known.rating[start : start + end][best]).sum() / weights.sum() if weights.sum() else None
        assert wanted is None or found == pytest.approx(wanted, abs=2e-3)


def test_a_target_is_never_in_its_own_history(small_data: DataSet, small_index: ItemIndex, tmp_path: Path) -> None:
    # The data set has every pair once; make one user watch one movie again and again.
    other = DataSet.open(small_data.folder)
    known = other.interactions
    items = known.item.copy()
    user = int(np.argmax(np.diff(known.starts)))
    start, end = int(known.starts[user]), int(known.starts[user + 1])
    items[start:end:2] = items[end - 1]
    other.__dict__["interactions"] = replace(known, item=items)
    histories = Histories(other, small_index, MOVIES)
    row = int(np.flatnonzero((other.samples.user == user) & (other.samples.position == end - 1 - start))[0])
    found, _ = histories.nearest(row, 50)
    assert len(found) and not (items[start + found] == items[end - 1]).any()
    assert histories.latest(row, 3).tolist() == np.flatnonzero(items[start : end - 1] != items[end - 1])[-3:].tolist()
