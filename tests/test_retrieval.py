from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rella_cpp import InputError, Selection
from rella_cpp.retrieval.nearest import nearest


@settings(deadline=None)
@given(n=st.integers(1, 60), d=st.integers(1, 40), k=st.integers(1, 70), seed=st.integers(0, 10**6))
def test_nearest_are_those_of_brute_force_cosine(n: int, d: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n, d)).astype(np.float32)
    target = random.standard_normal(d).astype(np.float32)
    rows, cosines = nearest(vectors, target, k)
    exact = vectors.astype(np.float64) @ target / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(target))
    assert len(rows) == len(set(rows)) == min(n, k)
    np.testing.assert_allclose(cosines, exact[rows], atol=1e-5)
    # The k-th greatest cosine, found and exact, agree: nothing nearer was left out.
    np.testing.assert_allclose(exact[rows], np.sort(exact)[::-1][: len(rows)], atol=1e-5)


def test_equal_behaviors_come_latest_first() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], dtype=np.float32)
    rows, _ = nearest(vectors, np.array([1, 0], dtype=np.float32), 4)
    assert rows.tolist() == [3, 2, 0, 1]


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": -3}, {"retrieval": "nearest"}, {"order": "up"}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=";"):
        Selection(**wrong)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 12))
def test_ties_go_to_the_later_row_even_at_the_edge(kinds: list[int], k: int) -> None:
    # Rows of four kinds only, so that equal cosines abound, also between the last one taken and the first one left.
    corners = np.array([[1, 0, 0.1], [0.9, 0.4, 0], [0.5, 0.5, 0.5], [0, 0, 1]], np.float32)
    rows, cosines = nearest(corners[kinds], corners[0], k)
    exact = (corners @ corners[0] / np.linalg.norm(corners, axis=1) / np.linalg.norm(corners[0]))[kinds]
    wanted = sorted(range(len(kinds)), key=lambda row: (-round(float(exact[row]), 5), -row))[:k]
    assert rows.tolist() == wanted
    np.testing.assert_allclose(cosines, exact[wanted], atol=1e-5)
