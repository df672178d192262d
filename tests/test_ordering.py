from hypothesis import given
from hypothesis import strategies as st

from rella_cpp.retrieval.ordering import share

lists = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6, unique=True), max_size=6)


def distinct_beginnings(orders: list[list[str]]) -> int:
    return len({tuple(order[: n + 1]) for order in orders for n in range(len(order))})


def test_what_most_have_comes_first() -> None:
    # All three have c; b and d are had by two; what is left keeps its order.
    assert share([list("abcd"), list("bcde"), list("cx")]) == [list("cbda"), list("cbde"), list("cx")]
    assert share([list("ab"), list("ab")]) == [list("ab"), list("ab")]  # all have it: time decides
    assert share([list("abc")]) == [list("abc")] and share([[], list("a")]) == [[], ["a"]] and share([]) == []


@given(lists)
def test_each_keeps_exactly_its_own(given_lists: list[list[str]]) -> None:
    ordered = share(given_lists)
    assert [sorted(order) for order in ordered] == [sorted(entries) for entries in given_lists]
    assert ordered == share(given_lists)


@given(st.lists(st.sets(st.sampled_from("abcdef"), max_size=5).map(sorted), min_size=1, max_size=5))
def test_what_all_have_is_read_once(given_lists: list[list[str]]) -> None:
    common = set.intersection(*map(set, given_lists))
    assert all(set(order[: len(common)]) == common for order in share(given_lists))
    # No order makes the tree of beginnings smaller than the number of different behaviors.
    assert len(set().union(*given_lists)) <= distinct_beginnings(share(given_lists)) <= sum(map(len, given_lists))
