import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from rella_cpp.metrics.bootstrap import Bootstrap, Interval
from rella_cpp.metrics.probabilities import Losses, Ranked, Reliability, UserAUC

Floats = npt.NDArray[np.float64]

samples = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 1), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.500001, 0.9, 1.0]), min_size=n, max_size=n),
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
    )
)
Sample = tuple[list[int], list[float], list[int]]


def arrays(sample: Sample) -> tuple[Floats, Floats, Floats]:
    labels, scores, weights = (np.array(part, np.float64) for part in sample)
    return labels, scores, weights


@settings(deadline=None)
@given(samples)
def test_auc_is_scikit_learns_ties_and_weights_included(sample: Sample) -> None:
    labels, scores, weights = arrays(sample)
    if not (0 < (weights * labels).sum() < weights.sum()):
        assert np.isnan(Ranked(labels, scores).auc(weights))
        return
    heavy = weights > 0
    wanted = roc_auc_score(labels[heavy], scores[heavy], sample_weight=weights[heavy])
    assert Ranked(labels, scores).auc(weights) == pytest.approx(wanted)


@settings(deadline=None)
@given(samples)
def test_losses_are_scikit_learns(sample: Sample) -> None:
    labels, scores, _ = arrays(sample)
    losses = Losses.of(labels, scores)
    assert losses.brier.mean() == pytest.approx(brier_score_loss(labels, scores))
    assert losses.accuracy.mean() == pytest.approx(accuracy_score(labels, scores > 0.5))
    inside = np.clip(scores, 1e-15, 1 - 1e-15)
    assert losses.log_loss.mean() == pytest.approx(log_loss(labels, inside, labels=[0, 1]))


@settings(deadline=None)
@given(samples)
def test_ece_is_brute_force(sample: Sample) -> None:
    labels, scores, _ = arrays(sample)
    wanted = 0.0
    for low in range(10):
        inside = [i for i, p in enumerate(scores) if min(int(p * 10), 9) == low]
        if inside:
            wanted += abs(scores[inside].mean() - labels[inside].mean()) * len(inside) / len(scores)
    assert Reliability(labels, scores).ece() == pytest.approx(wanted)


def test_user_auc_is_the_mean_over_users_with_both_labels() -> None:
    users = np.array([0, 0, 1, 1, 1, 2])
    labels, scores = np.array([1.0, 0, 1, 0, 0, 1]), np.array([0.9, 0.1, 0.2, 0.1, 0.5, 0.3])
    own = UserAUC(labels, scores, users)
    assert own.users.tolist() == [0, 1] and own.mean() == pytest.approx((1 + 0.5) / 2)
    assert own.mean(np.array([0.0, 2, 1])) == pytest.approx(0.5)


def noisy(n: int, strength: float, seed: int) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.5).astype(np.float64)
    return labels, 1 / (1 + np.exp(-(strength * (labels - 0.5) + random.standard_normal(n))))


def test_intervals_cover_what_is_known() -> None:
    # AUC of two unit normals one apart is Φ(1/√2) = .7602: 95 % intervals cover it in about 95 of 100 repetitions.
    covered = 0
    for seed in range(100):
        labels, scores = noisy(300, 1.0, seed)
        found = Bootstrap(labels, np.arange(300), {"m": scores}, draws=200).interval("m", "auc")
        covered += found.low is not None and found.high is not None and found.low <= 0.7602 <= found.high
    assert 88 <= covered <= 100


def test_users_are_drawn_whole() -> None:
    # Ten copies of each sample under one user say no more than one: the interval stays as wide.
    labels, scores = noisy(60, 1.0, 0)
    once = Bootstrap(labels, np.arange(60), {"m": scores}).interval("m", "auc")
    tenfold = Bootstrap(np.tile(labels, 10), np.tile(np.arange(60), 10), {"m": np.tile(scores, 10)}).interval(
        "m", "auc"
    )
    assert tenfold == Interval(pytest.approx(once.value), pytest.approx(once.low), pytest.approx(once.high))  # type: ignore[arg-type]


def test_differences_are_paired() -> None:
    labels, scores = noisy(400, 1.0, 1)
    slightly = scores + 0.02 * np.random.default_rng(2).standard_normal(400)
    boot = Bootstrap(labels, np.arange(400), {"a": scores, "b": np.clip(slightly, 0, 1), "c": noisy(400, 0, 9)[1]})
    near, far = boot.difference("a", "b", "auc"), boot.difference("a", "c", "auc")
    apart = boot.interval("a", "auc")
    assert near.high is not None and near.low is not None and apart.high is not None and apart.low is not None
    assert near.high - near.low < (apart.high - apart.low) / 3 and not near.excludes_zero
    assert far.excludes_zero
    again = Bootstrap(labels, np.arange(400), {"a": scores})
    assert again.interval("a", "auc") == boot.interval("a", "auc")  # the same draws, whoever is there


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_with_one_label_auc_is_undefined_and_not_one_half(label: float) -> None:
    boot = Bootstrap(np.full(20, label), np.arange(20), {"m": np.linspace(0, 1, 20)}, draws=20)
    for metric in ("auc", "user_auc"):
        assert boot.interval("m", metric) == Interval(None, None, None)
    assert boot.interval("m", "brier").value is not None
    assert not boot.difference("m", "m", "auc").excludes_zero


def test_one_user_has_no_interval() -> None:
    labels = np.array([1.0, 0.0, 1.0])
    boot = Bootstrap(labels, np.zeros(3), {"a": np.array([0.9, 0.2, 0.4]), "b": np.array([0.1, 0.2, 0.4])})
    assert boot.interval("a", "auc").value == 1.0 and boot.interval("a", "auc").low is None
    assert not boot.difference("a", "b", "auc").excludes_zero
