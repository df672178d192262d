"""What only a real model shows: its own tokenizer, chat template and numbers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rella_cpp import Cache, EngineSettings, Rella, packaged_model, read_history, read_items
from rella_cpp.engine.segments import Prompt, Span
from rella_cpp.retrieval.nearest import nearest

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(packaged_model() is None, reason="the extra smollm2 is not installed"),
]


@pytest.fixture(scope="module")
def rella() -> Iterator[Rella]:
    path = packaged_model()
    assert path is not None
    with Rella.from_gguf(path, cache=Cache(None)) as rella:
        yield rella


def test_the_examples_are_read_and_scored_alike_alone_and_in_company(rella: Rella) -> None:
    history = read_history(EXAMPLES / "history.json", rella.domain)
    items = read_items(EXAMPLES / "items.json", rella.domain)
    with Rella.from_gguf(rella.engine.header.path, cache=Cache(None), exact=True) as exact:
        together = exact.rank(history.behaviors, items, user=history.user)
        alone = [exact.score(history.behaviors, item, user=history.user) for item in reversed(items)]
    assert together == alone[::-1]
    # In default mode four-bit weights let the company move a probability by .1; the same request gives the same bits.
    packed = rella.rank(history.behaviors, items, user=history.user)
    for found, wanted in zip(packed, together, strict=True):
        assert found.used == wanted.used and found.probability == pytest.approx(wanted.probability, abs=0.2)
    assert rella.rank(history.behaviors, items, user=history.user) == packed
    # SmolLM2 is at chance as a judge, but it does answer with Yes or No when asked for them.
    assert all(score.answer_mass > 0.2 for score in together)


def test_its_answer_tokens_are_yes_and_no(rella: Rella) -> None:
    spans = [Span("<|im_start|>assistant\n", trusted=True), Span("Yes")]
    assert rella.engine.vocabulary.text(rella.engine.encode(spans).tokens[-1]) == "Yes"
    assert rella.prompts.frame.head == "<|im_start|>system\n" and rella.prompts.frame.lead == ""


def test_the_frame_is_tokenised_as_llama_cpp_does_it(rella: Rella) -> None:
    score = rella.score([{"title": "Amélie — 天使爱美丽 🎬"}], {"title": "  Heat 'n' dust "})
    tokens = rella.engine.vocabulary.tokenize(score.prompt, special=True)
    assert len(tokens) == score.prompt_tokens


def test_its_vectors_know_what_is_alike(rella: Rella) -> None:
    titles = [("Aliens", "Science Fiction"), ("Alien", "Science Fiction"), ("Pretty Woman", "Romance")]
    vectors = rella.embed([{"title": title, "genres": [genre]} for title, genre in titles])
    rows, cosines = nearest(vectors[1:], vectors[0], 2)
    assert rows.tolist() == [0, 1] and cosines[0] > cosines[1]
    assert np.isfinite(vectors).all() and vectors.shape == (3, 576)


def test_it_can_be_asked_to_go_on(rella: Rella) -> None:
    frame = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    tokens = rella.engine.encode([Span(frame, trusted=True)]).tokens
    assert "Paris" in rella.engine.generate([Prompt.cut(tokens, ())], 16)[0]


def test_thread_counts_do_not_change_the_bits() -> None:
    # So the cache of vectors need not know them.
    path, results = packaged_model(), []
    assert path is not None
    for threads in (1, 2):
        with Rella.from_gguf(path, settings=EngineSettings(threads=threads), cache=Cache(None)) as rella:
            results.append((rella.embed([{"title": "Heat"}]), rella.score([{"title": "Heat"}], {"title": "Ronin"})))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
