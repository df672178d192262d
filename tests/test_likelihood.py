"""Choosing by likelihood: the log-probability of each candidate's name after one prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import Shape, random_weights, spm_vocab, write_adapter, write_model

from rella_cpp import (
    Behavior,
    Cache,
    ChoiceQuery,
    ContextError,
    EngineError,
    EngineSettings,
    InputError,
    Item,
    Likelihood,
    Rella,
    User,
    load_domain,
    ranks,
)
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.segments import Prompt, Span
from rella_cpp.prompts.chat_template import ChatFrame
from rella_cpp.prompts.choice import write_choice
from rella_cpp.prompts.choice_question import choice_question
from rella_cpp.prompts.rendering import PromptText
from rella_cpp.retrieval.history import HistoryRows
from rella_cpp.retrieval.selection import Shown
from rella_cpp.scoring.answers import log_probability

TITLES = [f"movie {word}" for word in "a b c d e f g h i j k l".split()]
HISTORY: list[dict[str, object]] = [{"title": title, "rating": 1 + i % 5} for i, title in enumerate(TITLES)]
# One is the beginning of another, one is a single token, one is bytes alone.
ITEMS: list[dict[str, object]] = [
    {"title": title} for title in ("Heat", "the movie", "Yes", "the movie two", "Amélie", "x")
]
MOVIES = load_domain("movies")
CALM = replace(MOVIES, templates=replace(MOVIES.templates, choice="\nWhich one comes next?"))
"""A domain whose prompt does not list the candidates: their order cannot matter."""


@pytest.fixture(scope="module", params=["spm", "bpe"])
def roomy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in whose context the prompts fit."""
    folder = tmp_path_factory.mktemp("roomy")
    return write_model(folder / f"{request.param}.gguf", tokenizer=request.param, shape=Shape(ctx=2048))


@pytest.fixture
def plain(roomy: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy, cache=Cache(None)) as rella:
        yield rella


@pytest.fixture
def exact(roomy: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy, exact=True, cache=Cache(None)) as rella:
        yield rella


def bits(found: Sequence[Likelihood]) -> list[tuple[float, int, int, tuple[int, ...]]]:
    return [(each.log_probability, each.tokens, each.prompt_tokens, each.used) for each in found]


def by_hand(rella: Rella, found: Likelihood, items: Sequence[dict[str, object]]) -> float:
    """Read each token of a candidate's name by a prompt of its own, which ends before it."""
    domain, candidates = rella.domain, [Item.of(item) for item in items]
    behaviors = [Behavior.of(HISTORY[place]) for place in found.used]
    spans = rella.prompts.frame.spans(write_choice(domain, User(), behaviors, candidates))
    encoded = rella.engine.encode([*spans, Span(rella.prompts.lead), Span(domain.name_item(found.item))])
    first, total = encoded.starts[len(spans)], 0.0
    assert (first, len(encoded.tokens) - first) == (found.prompt_tokens, found.tokens)
    for place in range(first, len(encoded.tokens)):
        (logits,) = rella.engine.logits([Prompt((np.array(encoded.tokens[:place], np.int32),))])
        row = logits[0].astype(np.float64)
        total += float(row[encoded.tokens[place]] - np.logaddexp.reduce(row))
    return total


def test_a_likelihood_is_the_sum_over_the_names_tokens(roomy: Path) -> None:
    # Token by token and with nothing shared: in F32 only rounding of other batch shapes is between the two.
    with Rella.from_gguf(roomy, settings=EngineSettings(kv_type="f32", flash_attn="off"), cache=Cache(None)) as rella:
        found = rella.choose(HISTORY[:4], ITEMS)
        for each in found:
            assert each.log_probability == pytest.approx(by_hand(rella, each, ITEMS), abs=1e-4)
    for each in found:
        assert each.log_probability < 0 and each.per_token == each.log_probability / each.tokens
    assert {each.tokens for each in found} >= {1} and max(each.tokens for each in found) > 3
    assert sum(each.share for each in found) == pytest.approx(1)
    weights = np.exp([each.log_probability for each in found])
    assert [each.share for each in found] == pytest.approx(list(weights / weights.sum()))
    assert ranks(found)[int(np.argmax(weights))] == 1


def test_exact_likelihoods_are_the_same_bits_alone_and_in_company(exact: Rella) -> None:
    queries = [ChoiceQuery(HISTORY[:n], ITEMS[: 2 + n], k=3) for n in (1, 2, 3)]
    together = exact.likelihoods(queries)
    for query, found in zip(queries, together, strict=True):
        assert bits(exact.choose(query.history, query.items, k=3)) == bits(found)
        items, behaviors = [Item.of(item) for item in query.items], [Behavior.of(b) for b in query.history]
        names = [MOVIES.name_item(item) for item in items]
        question = exact.prompts.choice(write_choice(MOVIES, User(), behaviors, items), names)
        for prompt, answer, each in zip(question.prompts, question.answers, found, strict=True):
            (logits,) = exact.engine.logits([prompt])  # one candidate at a time
            assert log_probability(logits, answer) == each.log_probability


def test_exact_bits_follow_a_candidate_wherever_it_stands(exact: Rella) -> None:
    # The prompt does not list the candidates, so nothing but their order differs.
    calm = Rella(exact.engine, CALM, cache=Cache(None))
    order = [3, 0, 5, 1, 4, 2]
    listed, permuted = calm.choose(HISTORY[:3], ITEMS), calm.choose(HISTORY[:3], [ITEMS[place] for place in order])
    assert bits(permuted) == [bits(listed)[place] for place in order]
    assert bits(calm.choose(HISTORY[:3], ITEMS[:1])) == bits(listed)[:1]
    assert len({each.log_probability for each in listed}) == len(ITEMS)
    twice = calm.choose(HISTORY[:3], [ITEMS[1], ITEMS[0], ITEMS[1]])
    assert bits(twice) == [bits(listed)[place] for place in (1, 0, 1)] and twice[0].share == twice[2].share


def test_adapters_apply_and_are_read_at_each_call(exact: Rella, tmp_path: Path) -> None:
    before = exact.choose(HISTORY[:3], ITEMS)
    exact.adapters = [(write_adapter(tmp_path / "a.gguf"), 1.0)]
    changed = exact.choose(HISTORY[:3], ITEMS)
    assert all(a.log_probability != b.log_probability for a, b in zip(before, changed, strict=True))
    assert changed[0].model.adapters and not before[0].model.adapters
    exact.adapters = ()
    assert bits(exact.choose(HISTORY[:3], ITEMS)) == bits(before)


def test_the_prompt_shows_names_of_the_latest_behaviors_but_no_candidate(plain: Rella) -> None:
    history = [*HISTORY, {"title": "the movie", "rating": 5}]
    (found, *_) = plain.choose(history, ITEMS, k=3)
    assert found.used == (9, 10, 11) and found.excluded == 1 and found.dropped == 0
    assert "1. movie j\n2. movie k\n3. movie l\n" in found.prompt and "stars" not in found.prompt
    assert "\n".join(f"{n}. {item['title']}" for n, item in enumerate(ITEMS, start=1)) in found.prompt
    assert found.as_dict().keys() == {
        *("item", "log_probability", "tokens", "per_token", "share", "prompt_tokens", "used", "dropped", "model"),
        "excluded",
    }
    # Times, and not the input's order, say which are the latest; places are the input's.
    timed = [{**behavior, "timestamp": 100 - place} for place, behavior in enumerate(HISTORY)]
    assert plain.choose(timed, ITEMS, k=2)[0].used == (1, 0)


def test_what_does_not_fit_is_dropped_the_oldest_first(roomy: Path) -> None:
    with Rella.from_gguf(roomy, cache=Cache(None)) as wide:
        sizes = [wide.choose(HISTORY[12 - n :], ITEMS)[0].prompt_tokens for n in range(1, 6)]
        longest = max(each.tokens for each in wide.choose(HISTORY, ITEMS, k=1))
    for extra, kept in ((-1, 3), (0, 4), (1, 4)):  # prompt and longest answer fill the context to the token
        settings = EngineSettings(ctx=sizes[3] + longest + extra)
        with Rella.from_gguf(roomy, settings=settings, cache=Cache(None)) as tight:
            found = tight.choose(HISTORY, ITEMS, k=5)
            assert found[0].used == tuple(range(12 - kept, 12)) and {each.dropped for each in found} == {5 - kept}
            assert all(np.isfinite(each.log_probability) for each in found)


def test_candidates_that_do_not_fit_without_history_are_refused(roomy: Path) -> None:
    with Rella.from_gguf(roomy, settings=EngineSettings(ctx=360), cache=Cache(None)) as tight:
        many = [{"title": f"the movie {n} of many words that fill the context"} for n in range(40)]
        said = r"^a prompt of \d+ tokens with no history does not fit the context of 360; raise --ctx, or give fewer"
        with pytest.raises(ContextError, match=said):
            tight.choose(HISTORY, many)
        with pytest.raises(ContextError, match=r"^query\[1\]: a prompt of"):
            tight.likelihoods([ChoiceQuery(HISTORY, ITEMS[:1]), ChoiceQuery(HISTORY, many)])
        assert tight.judged_tokens == (0, 0)  # found before anything was read


def test_what_prompts_share_is_read_once_and_counted(roomy: Path) -> None:
    class Counting(Engine):
        calls = 0

        def read_logits(self, *arguments: Any, **named: Any) -> None:
            self.calls += 1
            super().read_logits(*arguments, **named)

    with Counting.from_gguf(roomy) as engine:
        rella = Rella(engine, MOVIES, cache=Cache(None))
        done: list[tuple[str, int, int]] = []
        rella.progress = lambda task, count, total, extra="": done.append((task, count, total))
        found = rella.likelihoods([ChoiceQuery(HISTORY[:3], ITEMS), ChoiceQuery(HISTORY[:4], ITEMS)])
        assert engine.calls == 1 and [step for step in done if step[0] == "choosing"] == [
            ("choosing", n, 12) for n in range(1, 13)
        ]
        asked, computed = rella.judged_tokens
        assert asked == sum(each.prompt_tokens + each.tokens - 1 for row in found for each in row)
        # Each prompt once, and of the answers all but the last token at most.
        assert computed <= sum(row[0].prompt_tokens + sum(each.tokens - 1 for each in row) for row in found)
        assert computed > max(row[0].prompt_tokens for row in found)


def test_a_token_across_the_border_belongs_to_the_answers_of_all(bpe_model: Path) -> None:
    # A prompt that ends in "mo": behind it "vie" makes one token with it, "xy" does not.
    frame = ChatFrame("plain", "", "", "", "")
    with Engine.from_gguf(bpe_model) as engine:
        question = choice_question(
            engine.encode, frame.spans(PromptText("", "", "", "a mo")), ["vie", "xy", "vie xy"], ""
        )
        for answer, own in zip(("vie", "xy", "vie xy"), question.answers, strict=True):
            assert question.tokens + own == engine.encode([Span(f"a mo{answer}")]).tokens
            assert engine.vocabulary.decode(own).endswith(f"mo{answer}")  # all begin at one place of the text
        plain = choice_question(engine.encode, frame.spans(PromptText("", "", "", "a mo")), ["xy", "z"], "")
        assert engine.vocabulary.decode(plain.tokens) == "a mo"  # no token lies across: nothing is moved


def test_logits_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    weights = random_weights(len(spm_vocab().tokens), Shape(), 0)
    weights["output.weight"][7] = np.nan
    path = write_model(tmp_path / "nan.gguf", shape=Shape(ctx=2048), weights=weights)
    with (
        Rella.from_gguf(path, cache=Cache(None)) as rella,
        pytest.raises(EngineError, match="the model's logits are no finite numbers"),
    ):
        rella.choose(HISTORY, ITEMS)


def test_log_probabilities_hold_for_any_logits() -> None:
    row = np.array([[1e4, 1e4, -1e4], [0, 0, 0]], np.float32)
    # Worked by hand: one half, then one third; no overflow on the way.
    assert log_probability(row, (1, 2)) == pytest.approx(np.log(1 / 2) + np.log(1 / 3))
    for damaged in (np.nan, np.inf):
        with pytest.raises(EngineError):
            log_probability(np.array([[0, damaged]], np.float32), (0,))
    with pytest.raises(ValueError):
        log_probability(row, (1,))  # as many tokens as rows


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"items": []}, "there is no item"),
        ({"history": []}, "the history is empty"),
        ({"k": 0}, "K is '0'"),
        ({"items": [{"year": 1995}]}, r"item\[0\]"),
        ({"user": 5}, "a user is an object"),
    ],
)
def test_what_cannot_be_chosen_among_is_refused(plain: Rella, query: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plain.choose(**{"history": HISTORY, "items": ITEMS, **query})
    if "history" in query:
        found = plain.choose([], ITEMS, allow_empty_history=True)
        assert found[0].used == () and "Nothing is known of what the person" in found[0].prompt


def test_a_question_about_several_targets_knows_no_nearness(plain: Rella) -> None:
    for shown in (Shown(3, "subr", "time"), Shown(3, "recent", "similarity"), Shown(3, "recent", "shared")):
        with pytest.raises(ValueError, match="shows the latest behaviors in the order of time"):
            HistoryRows([], [[Item({}), Item({})]], shown, MOVIES.identity, plain.vectors)
