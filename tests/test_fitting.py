"""How many behaviors a prompt keeps, against trying every number, with a writer that writes titles."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import ContextError, load_domain
from rella_cpp.domains.records import Behavior, Item
from rella_cpp.retrieval.history import HistoryRows
from rella_cpp.retrieval.selection import Shown
from rella_cpp.scoring.fitting import PromptFitter

MOVIES = load_domain("movies")
ITEMS = [Item({"title": " ".join(["word"] * number + [str(number)])}) for number in range(8)]
"""Film n has n + 1 words."""

numbers = st.integers(0, len(ITEMS) - 1)
selections = st.builds(
    Shown,
    st.integers(1, 8),
    st.sampled_from(["recent", "subr"]),
    st.sampled_from(["time", "reversed", "similarity", "shared"]),
)


class Titles:
    """Writes a prompt as the words of the titles in it, the target's and a question last."""

    def __init__(self, targets: Sequence[int], n_ctx: int) -> None:
        self.targets, self.n_ctx, self.written = targets, n_ctx, 0

    def write(self, target: int, behaviors: Sequence[Behavior]) -> tuple[str, ...]:
        self.written += 1
        titles = [*(behavior.item for behavior in behaviors), ITEMS[self.targets[target]]]
        return (*" ".join(str(item.fields["title"]) for item in titles).split(), "?")

    def too_long(self, target: int, tokens: int) -> ContextError:
        return ContextError(f"{tokens} words", place=f"item[{target}]")


def embed(items: Sequence[Item]) -> npt.NDArray[np.float32]:
    angles = np.array([ITEMS.index(item) ** 1.5 / 12 for item in items])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def rows_of(history: Sequence[int], targets: Sequence[int], shown: Shown) -> HistoryRows:
    behaviors = [(10 * row, Behavior(ITEMS[number])) for row, number in enumerate(history)]
    return HistoryRows(behaviors, [[ITEMS[number]] for number in targets], shown, MOVIES.identity, embed)


@given(
    st.lists(numbers, max_size=10), st.lists(numbers, min_size=1, max_size=3), selections, st.integers(9, 60), st.data()
)
def test_as_many_behaviors_are_kept_as_fit_those_of_most_worth_first(
    history: list[int], targets: list[int], shown: Shown, n_ctx: int, data: st.DataObject
) -> None:
    rows, writer = rows_of(history, targets, shown), Titles(targets, n_ctx)
    shared = [data.draw(st.permutations(wanted)) for wanted in rows.wanted]
    fitted = PromptFitter(rows, writer).fit(shared)
    assert [prompt.item for prompt in fitted] == [ITEMS[number] for number in targets]
    for target, (item, prompt) in enumerate(zip(targets, fitted, strict=True)):
        own = " ".join(["word"] * item + [str(item), "?"]).split()
        assert len(prompt.question) <= n_ctx and list(prompt.question[-len(own) :]) == own  # neither is ever cut
        by_worth = rows.by_worth(target)
        tried = [rows.ordered(by_worth[:count], target, shared[target]) for count in range(len(by_worth) + 1)]
        written = [writer.write(target, [rows.behaviors[row] for row in kept]) for kept in tried]
        most = max(count for count, words in enumerate(written) if len(words) <= n_ctx)
        assert prompt.question == written[most] and prompt.used == tuple(10 * row for row in tried[most])
        assert prompt.dropped == len(by_worth) - most and prompt.excluded == history.count(item)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 8))
def test_a_prompt_that_does_not_fit_even_with_no_history_is_refused(targets: list[int], n_ctx: int) -> None:
    # Film n and the question are n + 2 words.
    rows, writer = rows_of([5, 6], targets, Shown(5, "recent", "time")), Titles(targets, n_ctx)
    long = [place for place, number in enumerate(targets) if number + 2 > n_ctx]
    if not long:
        assert len(PromptFitter(rows, writer).fit()) == len(targets)
        return
    with pytest.raises(ContextError, match=f"item.{long[0]}.*{targets[long[0]] + 2} words"):
        PromptFitter(rows, writer)


def test_a_long_history_is_shortened_in_few_tries() -> None:
    history = [0, 1] * 500
    rows, writer = rows_of(history, [2], Shown(1000, "recent", "time")), Titles([2], 400)
    (prompt,) = PromptFitter(rows, writer).fit()
    assert len(prompt.used) > 200 and writer.written <= 2 + 10  # 2 to the tenth is 1,024
