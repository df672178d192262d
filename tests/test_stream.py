from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rella_cpp import (
    Behavior,
    Cache,
    Engine,
    EngineSettings,
    InputError,
    Item,
    Query,
    Rella,
    Selection,
    User,
    load_domain,
)
from rella_cpp.domains.stream import Level
from rella_cpp.prompts.builder import PromptBuilder
from rella_cpp.prompts.question import AnswerTokens
from rella_cpp.prompts.streams.text import Line, StreamText, Unshown, write_stream
from rella_cpp.scoring.answers import read_answer

MOVIES = load_domain("movies")
HEADER = "A person rated these movies from 1 to 5 stars."
TEXT = StreamText(f"{HEADER}\n", (Line("Alien (1979)", "5"), Line("Gigli (2003)", "1")), "Aliens (1986)")


def behaviors(*ratings: float | None) -> list[Behavior]:
    return [Behavior(Item({"title": f"M {n}", "year": 1990 + n}), rating) for n, rating in enumerate(ratings)]


@pytest.fixture
def streamer(roomy_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy_model, layout="stream", cache=Cache(None)) as rella:
        yield rella


@pytest.fixture
def exact_streamer(roomy_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy_model, layout="stream", cache=Cache(None), exact=True) as rella:
        yield rella


def test_a_stream_is_a_header_and_a_line_a_behavior_that_ends_in_its_rating() -> None:
    past = [
        Behavior(Item({"title": "Alien", "year": 1979, "genres": ["Horror"]}), 4.5, average=4.13),
        Behavior(Item({"title": "Heat"}), 1),
    ]
    text = write_stream(MOVIES, User({"age": "25-34"}), past, Item({"title": "Up", "average": 3.96}), Unshown(4, 13))
    assert text.header == (
        "A person (age 25-34) rated these movies from 1 to 5 stars, here behind what people give on average."
        " 4 others had a mean of 3.2.\n"
    )
    assert text.lines == (Line("Alien (1979), 4.1", "5"), Line("Heat", "1")) and text.target == "Up, 4.0"
    plain = write_stream(MOVIES, User(), [past[1]], Item({"title": "Up"}))
    assert plain.header == f"{HEADER}\n"


def test_a_behavior_without_a_rating_is_no_line() -> None:
    with pytest.raises(InputError, match="has no rating"):
        write_stream(MOVIES, User(), behaviors(3, None), Item({"title": "Up"}))


def test_a_question_ends_before_the_rating_and_is_cut_before_each_line(any_engine: Engine) -> None:
    prompts = PromptBuilder(any_engine, MOVIES, None, "stream")
    asked, vocabulary = prompts.stream(TEXT), any_engine.vocabulary
    lines = [vocabulary.decode(segment.tolist()) for segment in asked.prompt.segments]
    assert lines[0].replace("<s>", "").strip() == HEADER
    assert [line.strip() for line in lines[1:]] == ["Alien (1979): 5", "Gigli (2003): 1", "Aliens (1986):"]
    assert [vocabulary.piece(token).strip() for token in asked.answers.tokens] == [b"1", b"2", b"3", b"4", b"5"]
    assert asked.answers.liked == (False, False, False, True, True)
    assert asked.text == f"{HEADER}\nAlien (1979): 5\nGigli (2003): 1\nAliens (1986): "
    # What the model would read with the rating behind it begins with just these tokens, and goes on with the level's.
    whole = prompts.stream(replace(TEXT, lines=(*TEXT.lines, Line(TEXT.target, "4")), target="Up"))
    length = len(asked.tokens)
    assert whole.tokens[: length + 1] == (*asked.tokens, asked.answers.tokens[3])


def test_known_levels_are_those_that_are_found_anew(any_engine: Engine) -> None:
    # The levels' tokens are kept from question to question; each must be what a fresh start finds.
    kept = PromptBuilder(any_engine, MOVIES, None, "stream")
    for title in ("Aliens", "M", "12 Monkeys", "Se7en 7", "Ä", "5", "a: 4"):
        text = replace(TEXT, target=title)
        fresh = PromptBuilder(any_engine, MOVIES, None, "stream").stream(text)
        assert kept.stream(text) == fresh


def test_levels_that_begin_with_one_token_are_refused(any_engine: Engine) -> None:
    assert MOVIES.stream is not None
    levels = (Level("1", 0.5), Level("10", 3.5))
    domain = replace(MOVIES, stream=replace(MOVIES.stream, levels=levels))
    with pytest.raises(InputError, match="the levels 1, 10 do not begin with different tokens of this model; give"):
        PromptBuilder(any_engine, domain, None, "stream").stream(TEXT)


@pytest.mark.parametrize("name", ["vicuna", "chatml", "llama-2", "zephyr"])
def test_a_chat_format_makes_each_item_a_turn_and_each_rating_an_answer(any_engine: Engine, name: str) -> None:
    prompts = PromptBuilder(any_engine, MOVIES, name, "stream")
    asked = prompts.stream(TEXT)
    assert prompts.chat_format == name
    vocabulary = any_engine.vocabulary
    assert [vocabulary.piece(token).strip() for token in asked.answers.tokens] == [b"1", b"2", b"3", b"4", b"5"]
    assert asked.text.count("Alien (1979):") == asked.text.count("Gigli (2003):") == 1
    if name == "chatml":
        turn = "<|im_end|>\n<|im_start|>assistant\n5<|im_end|>\n<|im_start|>user\nGigli (2003):<|im_end|>"
        assert f"<|im_start|>user\n{HEADER}\nAlien (1979):{turn}" in asked.text
        marks = [token for token in asked.tokens if vocabulary.text(token) == "<|im_start|>"]
        assert len(marks) == 6
    if name == "llama-2":
        assert asked.text.count("[INST]") == asked.text.count("[/INST]") == 3
    named = PromptBuilder(any_engine, MOVIES, "none", "stream")
    assert named.stream(TEXT) == PromptBuilder(any_engine, MOVIES, None, "stream").stream(TEXT)


def test_a_title_that_looks_like_a_mark_stays_text(any_engine: Engine) -> None:
    asked = PromptBuilder(any_engine, MOVIES, "chatml", "stream").stream(replace(TEXT, target="<|im_end|>"))
    plain = PromptBuilder(any_engine, MOVIES, "chatml", "stream").stream(replace(TEXT, target="x"))
    (mark,) = any_engine.vocabulary.tokenize("<|im_end|>", special=True)
    assert asked.tokens.count(mark) == plain.tokens.count(mark)


@given(logits=st.lists(st.floats(-40, 40, width=32), min_size=9, max_size=9))
def test_the_answer_sums_the_levels_that_are_liked(logits: list[float]) -> None:
    row = np.array(logits, np.float32)
    levels = tuple(Level(str(number), number) for number in range(1, 6))
    answer = read_answer(row, AnswerTokens((2, 3, 5, 7, 8), (False, False, False, True, True), levels))
    weights = np.exp(row.astype(np.float64) - row.max())
    own = weights[[2, 3, 5, 7, 8]] / weights[[2, 3, 5, 7, 8]].sum()
    assert answer.probability == pytest.approx(own[3] + own[4], abs=1e-12)
    assert answer.answer_mass == pytest.approx(weights[[2, 3, 5, 7, 8]].sum() / weights.sum())
    assert answer.yes_logit == pytest.approx(np.logaddexp(float(row[7]), float(row[8])))
    assert answer.levels is not None and answer.levels.labels == ("1", "2", "3", "4", "5")
    assert answer.levels.probabilities == pytest.approx(own.tolist())
    assert answer.levels.expected == pytest.approx(float(own @ np.arange(1, 6)))


def test_a_score_of_a_stream_says_what_it_read(streamer: Rella) -> None:
    score = streamer.score(behaviors(5, None, 2, 3.5), {"title": "Up"}, k=2)
    assert score.used == (0, 2, 3) and score.unrated == 1 and score.levels is not None
    found = score.as_dict()
    assert list(found)[-3:] == ["levels", "expected", "unrated"]
    assert found["probability"] == pytest.approx(sum(list(found["levels"].values())[3:]))  # type: ignore[attr-defined]
    assert score.prompt.endswith("M 0 (1990): 5\nM 2 (1992): 2\nM 3 (1993): 4\nUp: ")
    question = streamer.settings()
    assert question["layout"] == "stream" and question["chat_format"] == "none"
    assert question["domain"] == {"name": "movies", "fingerprint": MOVIES.stream_fingerprint}


def test_a_layout_of_questions_says_nothing_new(judge: Rella) -> None:
    found = judge.score(behaviors(5, None, 2), {"title": "Up"})
    assert "layout" not in judge.settings() and not {"levels", "expected", "unrated"} & set(found.as_dict())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ratings=st.lists(st.sampled_from([1.0, 2.5, 4.0, None]), max_size=14),
    k=st.integers(1, 4),
    retrieval=st.sampled_from(["recent", "subr", "both"]),
    window=st.sampled_from(["anchored", "sliding"]),
)
def test_exact_streams_have_the_same_bits_alone_and_in_company(
    exact_streamer: Rella, ratings: list[float | None], k: int, retrieval: str, window: str
) -> None:
    chosen = Selection(k, retrieval, "time", True, None if retrieval == "subr" else window)  # type: ignore[arg-type]
    items = [Item({"title": "Up"}), Item({"title": "M 3", "year": 1993}), Item({"title": "Down", "average": 3.1})]
    queries = [Query(behaviors(*ratings[:end]), items, None, chosen) for end in (len(ratings), len(ratings) // 2)]
    together = exact_streamer.judge(queries)
    for query, scores in zip(queries, together, strict=True):
        for item, score in zip(items, scores, strict=True):
            (alone,) = exact_streamer.judge([Query(query.history, [item], None, chosen)])
            assert alone[0] == score


def test_the_next_prompt_of_a_user_reads_only_what_is_new(streamer: Rella, exact_streamer: Rella) -> None:
    past, items = behaviors(*[1.0, 4.5] * 10), [{"title": "Up"}, {"title": "Down"}]
    for rella in (streamer, exact_streamer):
        rella.rank(past[:13], items, k=12)
        prompts, decoded = rella.judged_tokens
        rella.rank(past[:14], items, k=12)
        read = rella.judged_tokens[1] - decoded
        assert read < (rella.judged_tokens[0] - prompts) / 4


def test_contrast_asks_for_the_item_behind_an_empty_stream(streamer: Rella) -> None:
    streamer.contrast = True
    score = streamer.score(behaviors(5, 1), {"title": "Up"}, user={"age": "18-24"})
    empty = streamer.score([], {"title": "Up"}, allow_empty_history=True)
    assert score.empty_gap == pytest.approx(empty.yes_logit - empty.no_logit, abs=1e-4)
    assert empty.prompt == f"{HEADER}\nUp: "


def test_a_stream_that_does_not_fit_drops_its_oldest_lines_and_tells_of_them_in_the_header(any_model: Path) -> None:
    with Rella.from_gguf(any_model, layout="stream", cache=Cache(None), settings=EngineSettings(ctx=256)) as rella:
        score = rella.score(behaviors(*[4.0] * 40), {"title": "Up"}, k=40, window="sliding")
    assert score.dropped > 0 and len(score.used) + score.dropped == 40
    assert score.used == tuple(range(score.dropped, 40))
    assert f" {score.dropped} others had a mean of 4.0.\n" in score.prompt


def test_what_a_stream_does_not_have_is_refused(streamer: Rella, roomy_model: Path) -> None:
    past, item = behaviors(5, 1), {"title": "Up"}
    with pytest.raises(InputError, match="order is 'shared', and a stream is in the order of time"):
        streamer.score(past, item, order="shared")
    with pytest.raises(InputError, match="a choice by likelihood is a question, and the layout is stream"):
        streamer.choose(past, [item])
    from rella_cpp import SummarySettings

    with pytest.raises(InputError, match="a stream shows ratings, not a summary"):
        streamer.score(past, item, summary=SummarySettings())
    with pytest.raises(InputError, match="the domain news does not say how a stream is written"):
        Rella.from_gguf(roomy_model, domain="news", layout="stream", cache=Cache(None))
    with pytest.raises(InputError, match="layout is 'streem'; one of question, stream"):
        Rella.from_gguf(roomy_model, layout="streem", cache=Cache(None))  # type: ignore[arg-type]
