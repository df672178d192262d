"""Which behaviors a prompt shows, against a choice made one by one, with vectors that are angles."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import ContextError, load_domain
from rella_cpp.domains.records import Behavior, Item
from rella_cpp.prompts.lengths import LongItem
from rella_cpp.retrieval.history import HistoryRows
from rella_cpp.retrieval.selection import Shown

MOVIES = load_domain("movies")
ANGLES = (0.0, 0.11, 0.25, 0.42, 0.63, 0.88, 1.18, 1.55)
"""Of eight items; no two are as far from a third."""
ITEMS = [Item({"title": f"film {number}"}) for number in range(len(ANGLES))]

numbers = st.integers(0, len(ITEMS) - 1)
orders = st.sampled_from(["time", "reversed", "similarity"])
selections = st.builds(Shown, st.integers(1, 6), st.sampled_from(["recent", "subr"]), orders, st.none())


class Angles:
    """Gives items the vectors of their angles, and remembers how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, items: Sequence[Item]) -> npt.NDArray[np.float32]:
        self.calls += 1
        angles = np.array([ANGLES[ITEMS.index(item)] for item in items])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def rows_of(history: Sequence[int], targets: Sequence[int], shown: Shown, embed: Angles) -> HistoryRows:
    # Places in the input go by tens, so that a row and a place cannot be taken for each other.
    behaviors = [(10 * row, Behavior(ITEMS[number])) for row, number in enumerate(history)]
    return HistoryRows(behaviors, [[ITEMS[number]] for number in targets], shown, MOVIES.identity, embed)


def nearest_first(rows: Sequence[int], history: Sequence[int], target: int) -> list[int]:
    """Of equal distances the later row comes first."""
    return sorted(rows, key=lambda row: (abs(ANGLES[history[row]] - ANGLES[target]), -row))


def brought(rows: Sequence[int], history: Sequence[int], target: int, order: str) -> list[int]:
    if order == "similarity":
        return nearest_first(rows, history, target)
    return sorted(rows, reverse=order == "reversed")


@given(st.lists(numbers, max_size=12), st.lists(numbers, min_size=1, max_size=4), selections)
def test_the_rows_wanted_are_the_k_best_and_never_a_target(
    history: list[int], targets: list[int], shown: Shown
) -> None:
    rows = rows_of(history, targets, shown, Angles())
    for target, item in enumerate(targets):
        others = [row for row, number in enumerate(history) if number != item]
        best = others[::-1] if shown.retrieval == "recent" else nearest_first(others, history, item)
        wanted = rows.wanted[target]
        assert rows.others(target) == others
        assert wanted == sorted(best[: shown.k])
        # Those that a prompt keeps longest come first.
        assert rows.by_worth(target) == [row for row in best if row in wanted]


@given(st.lists(numbers, max_size=12), st.lists(numbers, min_size=1, max_size=4), selections, st.data())
def test_rows_stand_in_the_order_asked_for(
    history: list[int], targets: list[int], shown: Shown, data: st.DataObject
) -> None:
    rows = rows_of(history, targets, shown, Angles())
    for target, item in enumerate(targets):
        kept = data.draw(st.permutations(rows.wanted[target]))
        kept = kept[: data.draw(st.integers(0, len(kept)))]
        assert rows.ordered(kept, target) == brought(kept, history, item, shown.order)
        shared = data.draw(st.permutations(rows.wanted[target]))
        by_name = rows_of(history, targets, shown._replace(order="shared"), Angles())
        assert by_name.ordered(kept, target, shared) == [row for row in shared if row in kept]


@given(st.lists(numbers, max_size=12), st.lists(numbers, min_size=1, max_size=4), selections)
def test_vectors_are_asked_for_once_and_only_where_rows_depend_on_them(
    history: list[int], targets: list[int], shown: Shown
) -> None:
    embed = Angles()
    rows = rows_of(history, targets, shown, embed)
    assert embed.calls == 0
    for _ in range(2):
        for target in range(len(targets)):
            rows.ordered(rows.wanted[target], target)
    counts = [len(rows.others(target)) for target in range(len(targets))]
    chosen = shown.retrieval == "subr" and any(count > shown.k for count in counts)
    assert embed.calls == (chosen or (shown.order == "similarity" and any(counts)))


def test_behaviors_alike_are_told_apart_by_their_number() -> None:
    rows = rows_of([3, 1, 3, 3], [0], Shown(9, "recent", "time"), Angles())
    names = rows.names()
    assert len(set(names)) == 4
    assert [(name == names[0][0], number) for name, number in names] == [(True, 0), (False, 0), (True, 1), (True, 2)]


def test_a_prompt_about_several_items_shows_the_latest_that_are_none_of_them() -> None:
    behaviors = [(row, Behavior(ITEMS[number])) for row, number in enumerate([0, 1, 2, 3, 1])]
    two = [[ITEMS[1], ITEMS[3]]]
    rows = HistoryRows(behaviors, two, Shown(9, "recent", "time"), MOVIES.identity, Angles())
    assert rows.wanted == [[0, 2]]
    for shown in (Shown(9, "subr", "time"), Shown(9, "recent", "similarity")):
        with pytest.raises(ValueError, match="several targets"):
            HistoryRows(behaviors, two, shown, MOVIES.identity, Angles())


@pytest.mark.parametrize(("number", "place"), [(1, "history[10]"), (3, "item[1]")])
def test_an_item_too_long_is_named_by_its_place_in_the_request(number: int, place: str) -> None:
    def embed(_: Sequence[Item]) -> npt.NDArray[np.float32]:
        raise LongItem.of(number, "is too long")

    behaviors = [(10 * row, Behavior(ITEMS[row])) for row in range(2)]
    targets = [[ITEMS[5]], [ITEMS[6]]]
    rows = HistoryRows(behaviors, targets, Shown(1, "subr", "time"), MOVIES.identity, embed)
    with pytest.raises(ContextError) as refused:
        _ = rows.wanted
    assert refused.value.place == place
