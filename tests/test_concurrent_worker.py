"""A worker whose requests are planned together."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rella_cpp import EngineSettings, Rella, load_domain
from rella_cpp.serving.concurrent import Together
from rella_cpp.serving.desk import Desk
from rella_cpp.serving.scheduler import Scheduler
from rella_cpp.serving.service import Service
from rella_cpp.serving.worker import work

MOVIES = load_domain("movies")
PAST = [{"title": title, "year": 1970 + 5 * place, "rating": place % 5 + 1} for place, title in enumerate("ABCDEFG")]


def line(**request: object) -> bytes:
    return json.dumps({"history": PAST, **request}).encode()


@pytest.fixture(scope="module", params=[False, True], ids=["packed", "exact"])
def rella(request: pytest.FixtureRequest, roomy_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy_model, settings=EngineSettings(exact=request.param)) as rella:
        yield rella


def results(rella: Rella, lines: list[bytes], *, ordered: bool = True, most: int = 8) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    service, exact = Service(rella, MOVIES, longest=5000), rella.engine.settings.exact
    with Scheduler(rella.judge, most=most) as scheduler:
        together = Together(Desk(service, scheduler, exact=exact), found.append, most=most, ordered=ordered)
        together.run(lines)
    assert together.answered == len(found) and together.failed == sum("error" in each for each in found)
    return found


LINES = [
    line(id="one", item={"title": "Dune", "year": 1984}),
    line(id=2, items=[{"title": "Big"}, {"title": "Jaws"}, {"title": "Dune"}], k=3),
    line(id="bad", items=[{"title": "Big"}, {"titel": "Jaws"}]),
    b"",
    b"nonsense",
    line(id="why", item={"title": "Big"}, why=True, k=2),
    line(id="choose", items=[{"title": "Big"}, {"title": "Jaws"}], by="likelihood"),
    line(id="contrast", item={"title": "Big"}, contrast=True),
    line(id="user", user={"age": "25-34"}, item={"title": "Dune"}, deadline=60),
    line(id="recommend", recommend=3),
    line(id="late", item={"title": "Big"}, deadline=0),
]


def test_answers_are_those_of_a_worker_that_answers_one_at_a_time(rella: Rella) -> None:
    alone, found = list(work(Service(rella, MOVIES), LINES[:-1])), results(rella, LINES[:-1])
    assert [(each["id"], each["line"]) for each in found] == [(each["id"], each["line"]) for each in alone]
    for own, each in zip(alone, found, strict=True):
        if "error" not in own:
            assert each.pop("exact") is rella.engine.settings.exact
            each.pop("warnings", None)
        if rella.engine.settings.exact:
            assert each == own  # to the bit
        assert each.keys() == own.keys() and each.get("error") == own.get("error")
    assert "why" in found[4]["score"] and "log_probability" in found[5]["scores"][0] and "empty_gap" in str(found[6])
    assert not rella.contrast  # it was the request's


def test_results_come_as_they_are_there_where_nobody_wants_an_order(rella: Rella) -> None:
    found = results(rella, LINES, ordered=False)
    assert sorted(each["line"] for each in found) == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    (late,) = [each for each in found if each["id"] == "late"]
    assert late["error"]["kind"] == "deadline"


def test_what_waits_can_be_cancelled(rella: Rella) -> None:
    many = [line(id=number, items=[{"title": f"Film {item}"} for item in range(40)]) for number in range(6)]
    found = results(
        rella, [*many, b'{"id": "c", "cancel": 5}', b'{"id": "d", "cancel": 99}', b'{"cancel": 1, "k": 2}'], most=20
    )
    assert found[6] == {"id": "c", "line": 7, "cancel": 5, "cancelled": True} and found[7]["cancelled"] is False
    assert found[8]["error"]["place"] == "k"
    assert found[5]["error"] == {"message": "cancelled before all of it was read", "place": None, "kind": "cancelled"}
    assert len(found[0]["scores"]) == 40


def test_what_is_cancelled_is_what_was_meant(rella: Rella) -> None:
    many = [{"title": f"Film {item}"} for item in range(40)]
    asked = [line(id=0, items=many), line(id=1, items=many), line(items=many), b'{"cancel": true}', b'{"cancel": null}']
    found = results(rella, asked, most=20)
    assert [each["cancelled"] for each in found[3:]] == [False, False] and all("scores" in each for each in found[:3])


def test_a_fault_of_the_program_leaves_nobody_waiting(rella: Rella, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: Service, _value: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(Service, "request", broken)
        assert [each["error"]["kind"] for each in results(rella, [line(item={"title": "Big"})] * 3)] == ["engine"] * 3
    history = [{"title": f"Film {n}", "rating": 3} for n in range(5001)]
    (long,) = results(rella, [line(history=history, item={"title": "Big"})])
    assert long["error"]["place"] == "history" and "send the latest 5,000" in long["error"]["message"]


def test_no_more_lines_are_read_than_there_is_room_for(rella: Rella) -> None:
    read, free = [], threading.Event()

    def lines() -> Iterator[bytes]:
        for number in range(6):
            read.append(number)
            yield line(id=number, item={"title": "Big"})

    def write(_found: dict[str, Any]) -> None:
        assert free.wait(20)

    with Scheduler(rella.judge) as scheduler:
        together = Together(Desk(Service(rella, MOVIES), scheduler, exact=False), write, most=2)
        thread = threading.Thread(target=together.run, args=(lines(),))
        thread.start()
        thread.join(2)
        assert len(read) <= 3
        free.set()
        thread.join(20)
    assert len(read) == 6 and together.answered == 6


def test_a_reader_that_has_gone_ends_the_work(rella: Rella) -> None:
    def write(_found: dict[str, Any]) -> None:
        raise BrokenPipeError

    with Scheduler(rella.judge) as scheduler:
        together = Together(Desk(Service(rella, MOVIES), scheduler, exact=False), write, most=2)
        with pytest.raises(BrokenPipeError):
            together.run(line(item={"title": "Big"}) for _ in range(1000))
