import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import (
    Cache,
    Calibration,
    ContextError,
    EngineError,
    Item,
    ModelIdentity,
    Rella,
    Score,
    load_domain,
)
from rella_cpp.scoring.calibration import made_for
from rella_cpp.serving.service import Service
from rella_cpp.serving.worker import split_lines, work

MOVIES = load_domain("movies")
HISTORY: list[dict[str, object]] = [{"title": "Heat", "rating": 5}, {"title": "Alien", "rating": 2}]


class Fake:
    """Likes long titles; one too long does not fit, and one called `broken` breaks the engine."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def rank(self, history: Sequence[Any], items: Sequence[Any], **reading: Any) -> list[Score]:
        self.asked.append(reading)
        titles = [str(item.fields["title"]) for item in items]
        if "broken" in titles:
            raise EngineError("llama_decode failed")
        if long := [number for number, title in enumerate(titles) if len(title) > 99]:
            raise ContextError("does not fit", place=f"item[{long[0]}]")
        model, used = ModelIdentity("fake", "f"), tuple(range(len(history)))
        return [
            Score(item, len(title) / 100, 0.0, 0.0, 0.9, 7, used, 0, model, prompt=f"{title}?")
            for item, title in zip(items, titles, strict=True)
        ]


def line(**request: object) -> bytes:
    return json.dumps({"history": HISTORY, **request}).encode()


def answers(*lines: bytes, **options: Any) -> list[dict[str, Any]]:
    return list(work(Service(Fake(), MOVIES, **options), lines))


def test_one_item_gets_a_score_and_several_get_scores_with_ranks() -> None:
    one, many = answers(
        line(id="a", item={"title": "xx"}), line(items=[{"title": "x"}, {"title": "xxx"}, {"title": "xx"}])
    )
    assert list(one) == ["id", "line", "score"] and (one["id"], one["line"]) == ("a", 1)
    assert list(many) == ["id", "line", "scores"] and (many["id"], many["line"]) == (None, 2)
    assert [score.pop("rank") for score in many["scores"]] == [3, 1, 2]
    # The keys are those of `rella score --json`, so that readers of both can be shared.
    (score,) = Fake().rank([], [Item({"title": "xx"})])
    assert one["score"] == score.as_dict() | {"used": [0, 1]} == many["scores"][2]


def test_prompts_come_where_they_are_asked_for() -> None:
    (one,) = answers(line(item={"title": "x"}), prompts=True)
    assert one["score"]["prompt"] == "x?"


def test_a_requests_settings_hold_for_it_alone() -> None:
    fake = Fake()
    lines = [line(item={"title": "x"}, k=2, order="reversed", user={"age": 3}), line(item={"title": "x"})]
    assert len(list(work(Service(fake, MOVIES), lines))) == 2
    first, second = fake.asked
    assert first.pop("user").fields == {"age": 3} and second.pop("user").fields == {}
    left = {"retrieval": "subr", "summary": None, "allow_empty_history": False, "window": None}
    assert first == {"k": 2, "order": "reversed", **left}
    assert second == {"k": 30, "order": "time", **left}


ERRORS = [
    (b"{", None, "column 2", "input", "column 2: is not JSON"),
    (b'{"id": 1, "item": \xff}', None, "byte 19", "input", "is not UTF-8"),
    (b"[1]", None, None, "input", "a request is an object"),
    (b'{"id": 3}', 3, None, "input", "has no history"),
    (line(id=[4], item={"title": 5}), [4], "item", "input", "item: field title is a number ('5')"),
    (line(id=4, item={"title": "x", "average": 7.9}), 4, "item", "input", "item: average is '7.9'; the domain movies"),
    (
        line(id="h", history=[*HISTORY, {"title": "Up", "average": "high"}], item={"title": "x"}),
        *("h", "history[2]", "input", "history[2]: average is text ('high'), not a number"),
    ),
    (line(id=5, items=[{"title": "x"}, {"title": "x" * 100}]), 5, "items[1]", "input", "items[1]: does not fit"),
    (line(id=6, item={"title": "x" * 100}), 6, "item", "input", "item: does not fit"),
    (line(id=7, item={"title": "broken"}), 7, None, "engine", "llama_decode failed"),
]


@pytest.mark.parametrize(("bad", "id", "place", "kind", "said"), ERRORS)
def test_a_bad_line_gets_an_error_and_the_stream_goes_on(
    bad: bytes, id: object, place: str | None, kind: str, said: str
) -> None:
    good = line(item={"title": "x"})
    before, wrong, after = answers(good, bad, good)
    assert "score" in before and "score" in after and after["line"] == 3
    assert list(wrong) == ["id", "line", "error"] and (wrong["id"], wrong["line"]) == (id, 2)
    message = wrong["error"].pop("message")
    assert said in message and wrong["error"] == {"place": place, "kind": kind}


def test_blank_lines_count_and_get_nothing_and_the_first_may_have_a_byte_order_mark() -> None:
    good = line(item={"title": "x"})
    found = answers(b"\xef\xbb\xbf" + good + b"\r", b"", b" \t\r", good, b"\xef\xbb\xbf" + good)
    assert [row["line"] for row in found] == [1, 4, 5] and "error" in found[2]
    assert answers(b"\xef\xbb\xbf", b"") == []


def test_what_readers_of_results_would_not_see_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rella_cpp"):
        answers(line(item={"title": "x", "colour": 1}, history=[{"title": "Heat", "raiting": 3, "id": 7}]))
    assert caplog.messages == [
        "line 1, history[0]: raiting is not read; did you mean rating?",
        "line 1: the domain movies does not show colour, raiting",
    ]


@pytest.fixture
def real(roomy_model: Path) -> Iterator[Rella]:
    """Exact, so that a request gets the same bits whatever came before it."""
    with Rella.from_gguf(roomy_model, cache=Cache(None), exact=True) as rella:
        yield rella


def test_a_closed_model_ends_the_work(real: Rella) -> None:
    def lines() -> Iterator[bytes]:
        yield line(item={"title": "x"})
        real.close()
        yield line(item={"title": "x"})

    results = work(Service(real, MOVIES), lines())
    assert "score" in next(results)
    with pytest.raises(EngineError, match="the model is closed"):
        next(results)


def test_results_are_those_of_score_and_what_a_calibration_was_not_fitted_for_is_an_error(real: Rella) -> None:
    fitted = made_for(real.settings(), {"k": 30, "retrieval": "subr", "order": "time"})
    real.use_calibration(Calibration({"gap": 0.5}, 0.1, False, fitted, {}))
    item = {"title": "Aliens"}
    first, other, last = work(Service(real, real.domain), [line(item=item), line(item=item, k=1), line(item=item)])
    score = real.score(HISTORY, item).as_dict()
    assert first["score"] == last["score"] == score and "calibrated" in score
    assert "reading.k: 30, not 1" in str(other["error"])


def text(kind: str, number: int) -> bytes:
    if kind in ("blank", "bad"):
        return b" \r" if kind == "blank" else b'{"id": %d, ' % number
    if kind in ("one", "broken"):
        return line(id=number, item={"title": kind})
    return line(id=number, items=[{"title": "x"}, {"title": "y" if kind == "many" else ""}])


@given(st.lists(st.sampled_from(["one", "many", "blank", "bad", "unfit", "broken"]), max_size=30), st.data())
def test_every_line_that_is_not_blank_has_its_result_in_order(kinds: list[str], data: st.DataObject) -> None:
    # However lines of every kind are mixed and however the pipe cuts them, none is lost, moved or answered twice.
    stream = b"\n".join(text(kind, number) for number, kind in enumerate(kinds, start=1))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found = list(work(Service(Fake(), MOVIES), split_lines(chunks)))
    expected = [(number, kind) for number, kind in enumerate(kinds, start=1) if kind != "blank"]
    assert [row["line"] for row in found] == [number for number, _ in expected]
    for row, (number, kind) in zip(found, expected, strict=True):
        assert row["id"] == (None if kind == "bad" else number)
        assert list(row)[2] == {"one": "score", "many": "scores"}.get(kind, "error")


@given(st.lists(st.binary(max_size=40)), st.integers(1, 20))
def test_lines_are_those_of_the_stream_but_for_what_is_too_long(chunks: list[bytes], longest: int) -> None:
    whole = b"".join(chunks).split(b"\n")
    whole = whole if whole[-1] else whole[:-1]
    assert list(split_lines(chunks, longest)) == [line[: longest + 1] for line in whole]


def test_a_line_is_there_as_soon_as_its_break_is() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one\ntw"
        raise AssertionError("the next piece was asked for")

    assert next(split_lines(chunks())) == b"one"
