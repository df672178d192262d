"""Which samples are scored together."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import Selection
from rella_cpp.evaluation.groups import LEAST, MOST, sample_groups
from rella_cpp.retrieval.selection import window_start
from rella_cpp.storage.journal import groups_of


def data_of(histories: list[list[bool]]) -> Any:
    """A data set of users whose behaviors are rated or not, each behavior a sample."""
    lengths = [len(history) for history in histories]
    rated = np.array([each for history in histories for each in history], bool)
    rating = np.where(rated, 3.0, np.nan).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    samples = SimpleNamespace(
        user=np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
        position=np.concatenate([np.arange(length) for length in lengths]).astype(np.int32),
    )
    return SimpleNamespace(interactions=SimpleNamespace(starts=starts, ratings=lambda: rating), samples=samples)


HISTORIES = st.lists(st.lists(st.booleans() | st.just(True), min_size=1, max_size=90), min_size=1, max_size=6)


@given(HISTORIES, st.integers(1, 40), st.data())
def test_groups_of_a_stream_are_whole_windows(histories: list[list[bool]], k: int, draw: st.DataObject) -> None:
    data = data_of(histories)
    count = len(data.samples.user)
    chosen = draw.draw(st.lists(st.integers(0, count - 1), unique=True, min_size=1).map(sorted))
    rows = np.array(chosen, np.int64)
    groups = sample_groups(data, rows, Selection(k, "recent", "time", True), "stream")
    assert [place for group in groups for place in group] == list(range(len(rows)))
    assert all(1 <= len(group) <= MOST for group in groups)

    def window(place: int) -> tuple[int, int]:  # by its definition, one rating at a time
        row = int(rows[place])
        user, position = int(data.samples.user[row]), int(data.samples.position[row])
        return user, window_start(sum(histories[user][:position]), k, "anchored")

    lasts = [group.stop - 1 for group in groups[:-1]]
    assert all(window(last) != window(last + 1) for last in lasts)  # K ≤ 40: no window has more than MOST samples
    assert all(len(group) >= LEAST for group in groups[:-1])
    for group in groups:  # and none is longer than it must be: without its last window it is too short
        final = window(group.stop - 1)
        assert len([place for place in group if window(place) != final]) < LEAST


def test_recent_behaviors_of_questions_begin_alike_until_there_are_k() -> None:
    data = data_of([[True] * 40, [True] * 5])
    groups = sample_groups(data, np.arange(45), Selection(20, "recent", "time"), "question")
    assert groups[0] == range(21)  # the histories of 0 to 20 behaviors
    assert groups[1:] == [range(21, 29), range(29, 37), range(37, 45)]


@pytest.mark.parametrize(
    ("selection", "layout"),
    [
        (Selection(5, "subr"), "question"),
        (Selection(5, "recent", "reversed"), "question"),
        (Selection(5, "recent", "time", window="sliding"), "stream"),
        (Selection(5, "both", "time"), "stream"),
        (Selection(5, "subr", "time"), "stream"),
    ],
)
def test_prompts_that_do_not_begin_alike_stand_in_eights(selection: Selection, layout: Any) -> None:
    assert sample_groups(data_of([[True] * 30]), np.arange(30), selection, layout) == groups_of(30, 8)


def test_a_window_of_thousands_is_cut() -> None:
    groups = sample_groups(data_of([[True] * 1000]), np.arange(1000), Selection(5000, "recent", "time"), "stream")
    assert [len(group) for group in groups] == [MOST] * 7 + [1000 - 7 * MOST]
