"""Requests that wait: planned together, in the order of their arrival, a large one in parts."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import ContextError, EngineError, InputError, Item, Query, Score, Selection
from rella_cpp.serving.scheduler import Busy, Closed, DeadlineError, Scheduler

PAST = [{"title": "Alien", "rating": 5}]


class Model:
    """Scores each item with its number, in turns that wait until they are let go."""

    def __init__(self) -> None:
        self.turns: list[list[list[int]]] = []
        self.free, self.entered = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, queries: Sequence[Query], *, keep: bool) -> list[list[Score]]:
        assert keep
        numbers = [[int(str(Item.of(item).fields["title"])) for item in query.items] for query in queries]
        self.turns.append(numbers)
        self.entered.release()
        assert self.free.acquire(timeout=20)
        for query in numbers:
            if -1 in query:
                raise ContextError("a prompt is too long", place=f"item[{query.index(-1)}]", remedy="shorten it")
        return [[scored(number) for number in query] for query in numbers]

    def go(self, turns: int = 1) -> None:
        for _ in range(turns):
            self.free.release()


def scored(number: int) -> Score:
    return Score(
        item=Item({"title": str(number)}),
        probability=0.5,
        yes_logit=float(number),
        no_logit=0.0,
        answer_mass=1.0,
        prompt_tokens=100,
        used=(),
        dropped=0,
        model=None,  # type: ignore[arg-type]  # it is not looked at
    )


def asked(*numbers: int, order: str = "time") -> Query:
    return Query(PAST, [{"title": str(number)} for number in numbers], None, Selection(order=order))  # type: ignore[arg-type]


def found(scores: Sequence[Score]) -> list[int]:
    return [int(score.yes_logit) for score in scores]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def scheduler(model: Model) -> Iterator[Scheduler]:
    with Scheduler(model, budget=1600, most=6) as scheduler:  # 6 prompts of 256 tokens, later 16 of 100
        yield scheduler
        model.go(100)


def test_what_waits_is_planned_together(model: Model, scheduler: Scheduler) -> None:
    first = scheduler.score(asked(1))
    assert model.entered.acquire(timeout=20)
    others = [scheduler.score(asked(number)) for number in (2, 3, 4)]
    model.go(2)
    assert found(first.future.result(20)) == [1] and [found(each.future.result(20)) for each in others] == [
        [2],
        [3],
        [4],
    ]
    assert model.turns == [[[1]], [[2], [3], [4]]] and scheduler.waiting == 0


def test_a_large_request_is_cut_and_small_ones_come_between(model: Model, scheduler: Scheduler) -> None:
    large = scheduler.score(asked(*range(100)))
    assert model.entered.acquire(timeout=20)
    small = scheduler.score(asked(7))
    model.go(2)
    assert found(small.future.result(20)) == [7] and not large.future.done()
    model.go(50)
    assert found(large.future.result(20)) == [*range(100)]
    assert [7] in model.turns[1] and len(model.turns) > 3
    assert all(sum(map(len, turn)) <= 33 for turn in model.turns)


def test_a_shared_order_needs_all_items_at_once(model: Model, scheduler: Scheduler) -> None:
    model.go(9)
    assert found(scheduler.score(asked(*range(40), order="shared")).future.result(20)) == [*range(40)]
    assert model.turns == [[[*range(40)]]]


def test_what_is_wrong_with_one_request_is_not_the_others_fault(model: Model, scheduler: Scheduler) -> None:
    first = scheduler.score(asked(1))
    assert model.entered.acquire(timeout=20)
    good, bad, late = (scheduler.score(asked(*numbers)) for numbers in ((2, 3), (4, -1), (*range(20), -1)))
    model.go(100)
    assert found(first.future.result(20)) == [1] and found(good.future.result(20)) == [2, 3]
    with pytest.raises(InputError, match="too long") as error:
        bad.future.result(20)
    assert error.value.place == "item[1]"
    with pytest.raises(ContextError) as error:
        late.future.result(20)
    assert error.value.place == "item[20]"


def test_what_has_not_been_planned_can_be_cancelled_and_too_many_are_refused(
    model: Model, scheduler: Scheduler
) -> None:
    first = scheduler.score(asked(1))
    assert model.entered.acquire(timeout=20)
    waiting = [scheduler.score(asked(number)) for number in range(2, 7)]
    with pytest.raises(Busy, match="6 requests wait already"):
        scheduler.score(asked(9))
    first.cancel()
    waiting[0].cancel()
    model.go(100)
    assert found(first.future.result(20)) == [1]  # it was being read
    with pytest.raises(CancelledError):
        waiting[0].future.result(20)
    assert found(waiting[4].future.result(20)) == [6] and not any([2] in turn for turn in model.turns)


def test_a_deadline_ends_what_was_not_read_in_time(model: Model) -> None:
    now = [0.0]
    with Scheduler(model, budget=1600, clock=lambda: now[0]) as scheduler:
        first, slow = scheduler.score(asked(1)), scheduler.score(asked(1), seconds=5)
        assert model.entered.acquire(timeout=20)
        late, early = scheduler.score(asked(2), seconds=5), scheduler.score(asked(3), seconds=50)
        now[0] = 10
        model.go(5)
        assert found(first.future.result(20)) == [1] and found(early.future.result(20)) == [3]
        for each in (late, slow):
            with pytest.raises(DeadlineError):
                each.future.result(20)


def test_other_work_has_its_turn(model: Model, scheduler: Scheduler) -> None:
    first = scheduler.score(asked(1))
    assert model.entered.acquire(timeout=20)
    work, second = scheduler.call(lambda: len(model.turns)), scheduler.score(asked(2))

    def fails() -> None:
        raise InputError("is nothing", remedy="give something")

    failed = scheduler.call(fails)
    model.go(9)
    assert work.future.result(20) == 1 and found(second.future.result(20)) == [2]
    with pytest.raises(InputError, match="is nothing"):
        failed.future.result(20)
    assert found(first.future.result(20)) == [1]


def test_a_model_that_breaks_its_word_leaves_nobody_waiting() -> None:
    def short(queries: Sequence[Query], *, keep: bool) -> list[list[Score]]:
        return [[]]

    with Scheduler(short) as scheduler:
        for _ in range(2):  # its thread lives on
            with pytest.raises(EngineError, match="as many scores"):
                scheduler.score(asked(1)).future.result(20)

        def stops() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            scheduler.call(stops).future.result(20)
        assert scheduler.score(asked()).future.result(20) == []


def test_stopping_ends_what_was_not_planned(model: Model) -> None:
    with Scheduler(model, budget=256) as scheduler:
        first, second = scheduler.score(asked(1)), scheduler.score(asked(2))
        assert model.entered.acquire(timeout=20)
        scheduler.stop()
        model.go(9)
        assert found(first.future.result(20)) == [1]
        with pytest.raises(Closed):
            second.future.result(20)


def test_closing_finishes_what_was_taken(model: Model) -> None:
    scheduler = Scheduler(model)
    tickets = [scheduler.score(asked(number)) for number in range(5)]
    model.go(9)
    scheduler.close()
    assert [found(each.future.result(0)) for each in tickets] == [[0], [1], [2], [3], [4]]
    with pytest.raises(Closed):
        scheduler.score(asked(1))


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), min_size=1, max_size=12), st.integers(1, 4000))
def test_every_request_gets_its_own_scores_in_order(requests: list[list[int]], budget: int) -> None:
    model = Model()
    model.go(1000)
    with Scheduler(model, budget=budget) as scheduler:
        tickets = [scheduler.score(asked(*numbers)) for numbers in requests]
        assert [found(each.future.result(20)) for each in tickets] == requests
