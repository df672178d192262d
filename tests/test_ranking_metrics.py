from fractions import Fraction
from itertools import permutations
from math import log2

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from rella_cpp.evaluation.protocols import CHOOSE, RANK
from rella_cpp.metrics.bootstrap import Interval
from rella_cpp.metrics.ranking import RankingBootstrap, chance, metric_title, ranking_metrics

Floats = npt.NDArray[np.float64]
CUTS = (3, 5, 10)

# Few values, so that ties abound.
rankings = st.integers(2, 24).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([-1.5, 0.0, 0.25, 0.5, 7.0]), min_size=n, max_size=n), st.integers(0, n - 1)
    )
)


def metrics_of(scores: list[float], positive: int) -> dict[str, float]:
    found = ranking_metrics(np.array([scores]), np.array([positive]), RANK.metrics)[0]
    return dict(zip(RANK.metrics, found.tolist(), strict=True))


def test_metrics_are_those_of_an_example_worked_by_hand() -> None:
    third = metrics_of([0.9, 0.5, 0.7, 0.1], 1)
    assert third["recall@3"] == 1 and third["mrr@3"] == pytest.approx(1 / 3) and third["ndcg@3"] == pytest.approx(0.5)
    assert third["user_auc"] == pytest.approx(1 / 3)  # one of three negatives stands below
    third_or_fourth = metrics_of([0.9, 0.5, 0.7, 0.5], 1)
    assert third_or_fourth["recall@3"] == 0.5 and third_or_fourth["mrr@3"] == pytest.approx(1 / 6)
    assert third_or_fourth["mrr@5"] == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert third_or_fourth["ndcg@5"] == pytest.approx((1 / 2 + 1 / log2(5)) / 2)
    assert third_or_fourth["user_auc"] == pytest.approx(1 / 6)


@settings(deadline=None)
@given(rankings)
def test_ndcg_is_scikit_learns_ties_included(ranking: tuple[list[float], int]) -> None:
    scores, positive = ranking
    truth = np.zeros((1, len(scores)))
    truth[0, positive] = 1
    found = metrics_of(scores, positive)
    for cut in CUTS:
        assert found[f"ndcg@{cut}"] == pytest.approx(ndcg_score(truth, np.array([scores]), k=cut))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=2, max_size=7).flatmap(
        lambda scores: st.tuples(st.just(scores), st.integers(0, len(scores) - 1))
    )
)
def test_recall_mrr_and_auc_are_means_over_every_order_of_the_tied(ranking: tuple[list[float], int]) -> None:
    scores, positive = ranking
    n = len(scores)
    orders = [
        order for order in permutations(range(n)) if all(scores[order[i]] >= scores[order[i + 1]] for i in range(n - 1))
    ]
    ranks = [order.index(positive) + 1 for order in orders]
    found = metrics_of(scores, positive)
    for cut in CUTS:
        assert found[f"recall@{cut}"] == pytest.approx(np.mean([rank <= cut for rank in ranks]))
        assert found[f"mrr@{cut}"] == pytest.approx(np.mean([(rank <= cut) / rank for rank in ranks]))
    assert found["user_auc"] == pytest.approx(np.mean([(n - rank) / (n - 1) for rank in ranks]))


def test_hit_rates_and_mrr_are_those_of_an_example_worked_by_hand() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.4, 0.3, 0.2, 0.7], [5, 5, 1, 1, 1, 1, 1], [3, 1, 2, 0, 0, 0, 0]])
    positive = np.array([0, 1, 0])  # the seventh of seven; the first or the second; the first
    found = dict(zip(CHOOSE.metrics, ranking_metrics(scores, positive, CHOOSE.metrics).T, strict=True))
    assert found["hr@1"].tolist() == [0, 0.5, 1] and found["hr@5"].tolist() == [0, 1, 1]
    assert found["ndcg@5"].tolist() == pytest.approx([0, (1 + 1 / log2(3)) / 2, 1])
    assert found["mrr"].tolist() == pytest.approx([1 / 7, (1 + 1 / 2) / 2, 1])
    assert [metric_title(name) for name in CHOOSE.metrics] == ["HR@1", "HR@5", "NDCG@5", "MRR"]
    assert metric_title("user_auc") == "user AUC" and CHOOSE.title == "HR@1" and RANK.title == "NDCG@10"


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([-3.5, -0.25, 0.0]), min_size=2, max_size=7).flatmap(
        lambda scores: st.tuples(st.just(scores), st.integers(0, len(scores) - 1))
    )
)
def test_what_choose_reports_is_the_mean_over_every_order_of_the_tied(ranking: tuple[list[float], int]) -> None:
    scores, positive = ranking
    n = len(scores)
    orders = [
        order for order in permutations(range(n)) if all(scores[order[i]] >= scores[order[i + 1]] for i in range(n - 1))
    ]
    ranks = [order.index(positive) + 1 for order in orders]
    found = ranking_metrics(np.array([scores]), np.array([positive]), CHOOSE.metrics)[0]
    wanted = [
        np.mean([rank <= 1 for rank in ranks]),
        np.mean([rank <= 5 for rank in ranks]),
        np.mean([(rank <= 5) / log2(rank + 1) for rank in ranks]),
        np.mean([1 / rank for rank in ranks]),
    ]
    assert found.tolist() == pytest.approx(wanted)


def test_a_predictor_that_says_nothing_gets_exactly_what_chance_gets() -> None:
    by_chance = chance(21, RANK.metrics)
    for positive in (0, 7, 20):  # wherever the positive stands
        assert metrics_of([3.0] * 21, positive) == by_chance
    for cut in CUTS:
        assert by_chance[f"recall@{cut}"] == cut / 21
        assert by_chance[f"mrr@{cut}"] == pytest.approx(float(sum(Fraction(1, r) for r in range(1, cut + 1)) / 21))
        assert by_chance[f"ndcg@{cut}"] == pytest.approx(sum(1 / log2(r + 1) for r in range(1, cut + 1)) / 21)
    assert by_chance["user_auc"] == 0.5
    # And random orders get it on average: within four standard errors over 20,000 users.
    random = np.random.default_rng(1)
    found = ranking_metrics(random.random((20000, 21)), np.zeros(20000, np.int64), RANK.metrics)
    spread = 4 * found.std(axis=0) / np.sqrt(20000)
    assert (np.abs(found.mean(axis=0) - list(by_chance.values())) < spread).all()


def noisy(users: int, strength: float, seed: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Scores of 21 candidates whose positive, in a place drawn once for all seeds, stands `strength` higher."""
    positive = np.random.default_rng(99).integers(0, 21, users)
    scores = np.random.default_rng(seed).standard_normal((users, 21))
    scores[np.arange(users), positive] += strength
    return positive, scores


def test_intervals_are_those_of_users_drawn_anew() -> None:
    positive, scores = noisy(40, 1.0, 0)
    found = RankingBootstrap(positive, {"m": scores}, RANK.metrics, draws=60, seed=5).interval("m", "mrr@10")
    random, means = np.random.default_rng(5), []
    for _ in range(60):
        drawn = random.integers(0, 40, 40)
        means.append(ranking_metrics(scores[drawn], positive[drawn], ["mrr@10"]).mean())
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.low == pytest.approx(low) and found.high == pytest.approx(high)


def test_differences_are_paired() -> None:
    positive, scores = noisy(200, 1.0, 1)
    near = scores + 0.05 * np.random.default_rng(2).standard_normal(scores.shape)
    boot = RankingBootstrap(positive, {"a": scores, "b": near, "c": noisy(200, 0.0, 3)[1]}, RANK.metrics)
    apart, paired = boot.interval("a", "ndcg@10"), boot.difference("a", "b", "ndcg@10")
    assert None not in (apart.low, apart.high, paired.low, paired.high)
    # A copy with a little noise differs far less from itself than either figure spreads.
    assert paired.high - paired.low < (apart.high - apart.low) / 2  # type: ignore[operator]
    assert not paired.excludes_zero and boot.difference("a", "c", "ndcg@10").excludes_zero
    alone = RankingBootstrap(positive, {"a": scores}, RANK.metrics)
    assert alone.interval("a", "ndcg@10") == apart  # the same draws, whoever is there


def test_one_user_has_figures_but_no_intervals() -> None:
    positive, scores = noisy(1, 9.0, 0)
    boot = RankingBootstrap(positive, {"a": scores, "b": -scores}, RANK.metrics, draws=20)
    assert boot.interval("a", "recall@3") == Interval(1.0, None, None)
    assert not boot.difference("a", "b", "recall@3").excludes_zero
