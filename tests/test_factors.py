"""A matrix factorization as a baseline: what it estimates, and from what."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import DataSet
from rella_cpp.evaluation.baselines.factorization import Factorization, fit_factors
from rella_cpp.evaluation.baselines.statistics import RatingStatistics
from rella_cpp.scoring.logistic import Logistic
from rella_cpp.scoring.ratings.factors import ItemFactors
from rella_cpp.scoring.ratings.models import FittedFactors, RatingModels


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), max_size=8), st.integers(0, 4))
def test_an_estimate_is_the_minimum_of_what_it_penalizes(rated: list[tuple[int, int]], target: int) -> None:
    random = np.random.default_rng(3)
    known = ItemFactors(3.2, random.normal(0, 0.3, 5), random.normal(0, 0.5, (5, 2)), 5.0, 2.0)
    items, ratings = np.array([i for i, _ in rated], np.int64), np.array([r for _, r in rated], float)
    found = known.estimate(items, ratings, target)
    above = ratings - 3.2 - known.offsets[items]
    own = above.sum() / (len(above) + 5)
    assert found.bias == pytest.approx(3.2 + own + known.offsets[target])

    def cost(vector: np.ndarray) -> float:
        return float(((above - own - known.vectors[items] @ vector) ** 2).sum() + 2 * vector @ vector)

    # The user's vector is not given out; of the two numbers that it has, one direction is seen in the estimate.
    moments = known.vectors[items].T @ known.vectors[items] + 2 * np.eye(2)
    vector = np.linalg.inv(moments) @ known.vectors[items].T @ (above - own)
    assert all(cost(vector) <= cost(vector + step) for step in (np.array([0.1, 0]), np.array([0, -0.1])))
    assert found.factors == pytest.approx(found.bias + vector @ known.vectors[target])
    assert known.estimate(items, ratings, None) == pytest.approx([found.bias - known.offsets[target]] * 2)


def test_factors_find_a_taste_that_offsets_cannot() -> None:
    random = np.random.default_rng(0)
    taste, kind = random.choice([-1, 1], 200), random.choice([-1, 1], 60)
    users, items = np.nonzero(random.random((200, 60)) < 0.4)
    ratings = 3 + 1.0 * taste[users] * kind[items] + random.normal(0, 0.3, len(users))
    seen = users < 150
    fitted = fit_factors(users[seen], items[seen], ratings[seen], 60)
    errors = []
    for user in range(150, 200):  # whom it has never seen
        own, values = items[users == user], ratings[users == user]
        found = [fitted.estimate(own[own != each], values[own != each], int(each)) for each in own]
        errors += [(bias - value, factors - value) for (bias, factors), value in zip(found, values, strict=True)]
    bias, factors = np.sqrt((np.array(errors) ** 2).mean(0))
    assert bias > 0.9 and factors < 0.5  # the noise alone is 0.3


def test_no_estimate_of_a_held_out_sample_sees_what_is_held_out_later(small_data: DataSet) -> None:
    fitted = Factorization.fit(small_data, RatingStatistics(small_data))
    assert fitted is not None
    rows = np.sort(np.concatenate([small_data.samples.rows("valid")[:40], small_data.samples.rows("test")[:40]]))
    before = fitted.estimates(rows)
    known, samples = small_data.interactions, small_data.samples
    for place, row in enumerate(rows.tolist()):
        # Another rating of the target and of all that comes later, of this user: the same estimate, and the same fit.
        start = int(known.starts[samples.user[row]]) + int(samples.position[row])
        rating = known.ratings().copy()
        rating[start : known.starts[samples.user[row] + 1]] = 6 - rating[start : known.starts[samples.user[row] + 1]]
        changed = DataSet.open(small_data.folder)
        changed.__dict__["interactions"] = replace(known, rating=rating)
        again = Factorization(changed, fitted.factors, fitted.links).estimates(np.array([row]))
        assert np.array_equal(again[0], before[place])
        if place % 20 == 0:
            refitted = Factorization.fit(changed, RatingStatistics(changed))
            assert refitted is not None and np.array_equal(refitted.factors.vectors, fitted.factors.vectors)


def test_rare_items_have_no_vector_and_a_file_does_not_grow_by_them() -> None:
    users, items = np.arange(400) % 40, np.arange(400) // 40
    rare = fit_factors(np.append(users, 3), np.append(items, 11), np.append(1.0 + np.arange(400) % 5, 5.0), 12)
    assert rare.vectors[:10].any(axis=1).all() and not rare.vectors[10:].any() and rare.offsets[11] > 0
    link = Logistic(np.ones(1), 0.5)
    names, one = [str(row) for row in range(12)], np.ones(12)
    made = RatingModels(3.0, names, [""] * 12, one, one, None, FittedFactors(rare, (link, link)))
    written = made.as_dict()
    assert len(written["items"]["11"]) == 3 < len(written["items"]["0"])  # type: ignore[index]
    read = RatingModels.from_dict(written)
    assert read.factors is not None and np.array_equal(read.factors.items.vectors, rare.vectors)
    with pytest.raises(ValueError, match="too few"):
        RatingModels.from_dict(written | {"items": written["items"] | {"0": [1.0, 2.0, 3.0, 4.0]}})  # type: ignore[operator]
