from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import MOVIES

from rella_cpp import Behavior, DataSet, Histories, InputError, Item, ItemIndex, Selection
from rella_cpp.retrieval.history import HistoryRows
from rella_cpp.retrieval.selection import DEFAULTS, Shown, window_start

lengths, ks = st.integers(0, 60), st.integers(1, 9)


def angles(items: Sequence[Item]) -> npt.NDArray[np.float32]:
    """Give items vectors whose cosines say how near their numbers are."""
    turns = np.array([int(str(item.fields["title"])) / 50 for item in items])
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def history_of(ratings: Sequence[float | None]) -> list[tuple[int, Behavior]]:
    return [(place, Behavior(Item({"title": str(place)}), rating)) for place, rating in enumerate(ratings)]


def rows_of(ratings: Sequence[float | None], shown: Shown, target: int = 99, earlier: int = 0) -> HistoryRows:
    targets = [[Item({"title": str(target)})]]
    return HistoryRows(history_of(ratings), targets, shown, MOVIES.identity, angles, earlier)


@given(lengths, ks)
def test_an_anchored_window_begins_at_a_multiple_of_k_and_has_k_to_2k_minus_1(rated: int, k: int) -> None:
    start = window_start(rated, k, "anchored")
    assert start % k == 0
    assert rated - start == rated if rated < k else k <= rated - start < 2 * k


@given(st.lists(st.sampled_from([None, 1.0, 4.5]), max_size=40), ks)
def test_the_next_window_begins_with_this_one_but_where_it_moves_on_by_k(ratings: list[float | None], k: int) -> None:
    shown = Shown(k, "recent", "time", "anchored")
    before, after = rows_of(ratings, shown).wanted[0], rows_of([*ratings, 3.0], shown).wanted[0]
    rated = [row for row, rating in enumerate(ratings) if rating is not None]
    assert before == rated[window_start(len(rated), k, "anchored") :]
    moved = (len(rated) + 1) % k == 0 and len(rated) + 1 >= 2 * k
    assert after == [*(before[k:] if moved else before), len(ratings)]


@settings(deadline=None)  # the first comparison imports usearch
@given(st.lists(st.sampled_from([None, 1.0, 4.5]), max_size=30), ks)
def test_behaviors_without_a_rating_are_left_out_of_a_stream_and_counted(ratings: list[float | None], k: int) -> None:
    for retrieval in ("recent", "subr", "both"):
        for window in ("anchored", "sliding"):
            rows = rows_of(ratings, Shown(k, retrieval, "time", window))
            assert all(ratings[row] is not None for row in rows.wanted[0])
            assert rows.unrated(0) == ratings.count(None)
    assert rows_of(ratings, Shown(k, "recent", "time")).unrated(0) == 0


def test_subr_shows_the_nearest_in_order_of_time_and_both_puts_them_before_the_window() -> None:
    ratings = [3.0] * 9
    assert rows_of(ratings, Shown(2, "subr", "time", "anchored"), target=4).wanted == [[3, 5]]
    both = rows_of(ratings, Shown(2, "both", "time", "anchored"), target=1)
    # Of nine, the window of K = 2 begins at the seventh; the nearest two of those before it, the target left out, come
    # first.
    assert both.wanted == [[0, 2, 6, 7, 8]] and both.ordered(both.wanted[0], 0) == [0, 2, 6, 7, 8]
    assert rows_of(ratings, Shown(2, "both", "time", "sliding"), target=1).wanted == [[0, 2, 7, 8]]


def test_where_not_all_fits_the_oldest_of_the_nearest_goes_last_and_the_latest_stay_longest() -> None:
    both = rows_of([3.0] * 9, Shown(2, "both", "time", "anchored"), target=1)
    assert both.by_worth(0) == [8, 7, 6, 2, 0]
    assert rows_of([3.0] * 5, Shown(2, "recent", "time", "anchored")).by_worth(0) == [4, 3, 2]


def test_what_came_before_the_history_counts_for_the_window() -> None:
    shown = Shown(4, "recent", "time", "anchored")
    whole = rows_of([3.0] * 23, shown).wanted[0]
    part = rows_of([3.0] * 10, shown, earlier=13).wanted[0]
    assert [row + 13 for row in part] == whole == list(range(16, 23))


def test_a_layout_has_choices_of_its_own() -> None:
    assert DEFAULTS == {"question": (30, "subr"), "stream": (12, "recent")}
    assert Selection.of("stream").shown("stream") == Shown(12, "recent", "time", "anchored")
    assert Selection.of("question").shown("question") == Shown(30, "subr", "time")
    assert "window" not in Selection().shown("question").facts()
    with pytest.raises(InputError, match="retrieval is 'both', which streams have; add --layout stream"):
        Selection.of("question", retrieval="both")
    with pytest.raises(InputError, match="window is 'sliding', which streams have"):
        Selection.of("question", window="sliding")
    with pytest.raises(InputError, match="order is 'shared', and a stream is in the order of time; leave"):
        Selection.of("stream", order="shared")
    with pytest.raises(InputError, match="window is 'odd'; one of anchored, sliding"):
        Selection(window="odd")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("retrieval", "window"),
    [("recent", "anchored"), ("recent", "sliding"), ("subr", None), ("both", "anchored"), ("both", "sliding")],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_a_samples_stream_is_that_of_its_whole_history(
    small_data: DataSet, small_index: ItemIndex, retrieval: str, window: str | None, indexed: bool
) -> None:
    # An evaluation hands on only what a prompt shows; the scorer must choose the same of it as of everything.
    histories = Histories(small_data, small_index if indexed else None, MOVIES)
    selection = Selection(3, retrieval, "time", window=window)  # type: ignore[arg-type]
    identity, shown = MOVIES.identity, selection.shown("stream")

    def embed(items: Sequence[Item]) -> npt.NDArray[np.float32]:
        return small_index.vectors([small_index.row(item, MOVIES) or 0 for item in items])

    for row in small_data.samples.rows("test").tolist()[:25]:
        position, user = int(small_data.samples.position[row]), int(small_data.samples.user[row])
        targets = [[small_data.target(row)]]
        everything = list(enumerate(small_data.history(user, position)))
        whole = HistoryRows(everything, targets, shown, identity, embed)
        positions, earlier = histories.stream(row, selection)
        given_rows = [(int(p), everything[int(p)][1]) for p in positions]
        part = HistoryRows(given_rows, targets, shown, identity, embed, earlier.count)
        assert [part.places[each] for each in part.wanted[0]] == whole.wanted[0]
        ratings = [behavior.rating or 0.0 for _, behavior in everything]
        told = [int(p) for p in positions]
        left = [rating for place, rating in enumerate(ratings) if place not in told]
        assert earlier.count == len(left) and earlier.total == pytest.approx(sum(left))
