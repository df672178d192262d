import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import HISTORY, MOVIES, TARGET, Scripted

from rella_cpp import (
    Cache,
    ContextError,
    Engine,
    EngineSettings,
    InputError,
    Item,
    Rella,
    SummarySettings,
)
from rella_cpp.engine.engine import Continuation
from rella_cpp.prompts.shortening import Shortener


@given(
    count=st.integers(0, 60),
    size=st.integers(1, 9),
    recent=st.integers(0, 9),
    overlap=st.booleans(),
    method=st.sampled_from(["recurrent", "hierarchical"]),
)
def test_blocks_cover_what_the_prompt_does_not_show(
    count: int, size: int, recent: int, overlap: bool, method: Any
) -> None:
    settings = SummarySettings(method, recent, size, overlap, max_blocks=3)
    blocks = settings.segment(count)
    # In time order, none twice, aligned to the start of the history, all but the last one full.
    assert list(chain.from_iterable(blocks)) == list(range(count if overlap else max(0, count - recent)))
    assert all(len(block) == size for block in blocks[:-1]) and all(blocks)
    assert settings.segment(count + 1)[: len(blocks) - 1] == blocks[:-1]
    used = settings.blocks(count)
    assert used == (blocks[-3:] if method == "hierarchical" else blocks)
    assert settings.texts(count) == len(used) + (method == "hierarchical" and len(used) > 1)


@pytest.mark.parametrize(("method", "more"), [("recurrent", 1), ("hierarchical", 2)])
@pytest.mark.parametrize("count", [9, 25, 26, 29, 30, 34, 36])
def test_one_more_behavior_costs_one_block(
    teller: Rella, scripted: Scripted, method: Any, more: int, count: int
) -> None:
    """Whether a block begins, grows or is complete, and where the latest blocks move on (hierarchical: 5 at most)."""
    settings = SummarySettings(method)
    history: list[dict[str, object]] = [{"title": f"film {n}"} for n in range(38)]
    (before,) = teller.summarize([history[:count]], settings)
    assert before.generated == len(scripted.texts) == settings.texts(count)
    (again,) = teller.summarize([history[:count]], settings)
    assert again.generated == 0 and len(scripted.texts) == before.generated
    assert again.text == before.text and again.blocks == before.blocks
    (after,) = teller.summarize([history[: count + 1]], settings)
    single = len(settings.blocks(count + 1)) == 1  # then there is nothing to merge
    assert after.generated == (1 if single else more) == len(scripted.texts) - before.generated
    # What was written before stands; the block that was read anew ends with the behavior that left the latest five.
    assert after.blocks[-1].behaviors[-1] == count - 5
    assert [block for block in after.blocks[:-1] if block not in before.blocks] == []


def test_recurrent_prompts_hold_the_earlier_summary_and_the_next_block(teller: Rella, scripted: Scripted) -> None:
    (found,) = teller.summarize([HISTORY[:14]], SummarySettings())
    first, second = scripted.texts
    assert [block.text for block in found.blocks] == ["Likes 0.", "Likes 1."] and found.text == "Likes 1."
    assert "What was written about a person before: Likes 0." in second and "Likes" not in first
    assert all(f"movie {number}: the plot" in first for number in range(5))
    assert [f"movie {number}:" in second for number in (4, 5, 8, 9)] == [False, True, True, False]
    assert MOVIES.summary is not None
    assert MOVIES.summary.block in first and MOVIES.summary.update in second and MOVIES.summary.system in first
    assert "movie 0: the plot of 0 the plot of 0 the plot of 0 - 1 star\n" in first


def test_hierarchical_prompts_hold_the_blocks_summaries_in_order(teller: Rella, scripted: Scripted) -> None:
    (found,) = teller.summarize([HISTORY], SummarySettings("hierarchical", max_blocks=3, block_size=4))
    *blocks, merge = scripted.texts
    assert found.skipped == 3 and [block.behaviors[0] for block in found.blocks] == [12, 16, 20]
    assert len(blocks) == 3 and "movie 12:" in blocks[0] and "movie 1" not in merge and "plot" not in merge
    assert "1. Likes 0.\n2. Likes 1.\n3. Likes 2.\n" in merge and found.text == "Likes 3."


def test_a_single_block_is_its_own_summary(teller: Rella, scripted: Scripted) -> None:
    (found,) = teller.summarize([HISTORY[:7]], SummarySettings("hierarchical"))
    assert found.text == "Likes 0." and len(scripted.texts) == 1


def test_many_histories_are_written_together_and_alike_ones_once(teller: Rella, scripted: Scripted) -> None:
    histories = [HISTORY[:25], HISTORY[:12], HISTORY[3:25], HISTORY[:5], HISTORY[:12]]
    found = teller.summarize(histories, SummarySettings())
    # Rounds: blocks 0 of three users (the second and the fifth share theirs with the first) in one call, and so on.
    assert [len(call) for call in scripted.asked_for] == [2, 3, 2, 2]
    assert [summary.generated for summary in found] == [4, 1, 4, 0, 0]
    assert found[1].blocks[0] == found[0].blocks[0] and found[3].text is None


@pytest.mark.parametrize("method", ["recurrent", "hierarchical"])
def test_in_exact_mode_company_changes_no_text(exact_judge: Rella, roomy_model: Path, method: Any) -> None:
    settings = SummarySettings(method, block_size=3, summary_tokens=12)
    histories = [HISTORY[:20], HISTORY[4:17], HISTORY[2:9]]
    together = exact_judge.summarize(histories, settings)
    with Rella.from_gguf(roomy_model, cache=Cache(None), exact=True) as other:
        alone = [other.summarize([history], settings)[0] for history in reversed(histories)]
    assert [summary.text for summary in together] == [summary.text for summary in reversed(alone)]
    assert any(summary.text for summary in together)


def test_what_is_written_alone_and_together_is_kept_apart(judge: Rella) -> None:
    settings = SummarySettings(summary_tokens=8)
    (alone,) = judge.summarize([HISTORY[:12]], settings)
    together = judge.summarize([HISTORY[:12], HISTORY[5:20]], settings)
    assert alone.generated == 2 == together[0].generated  # other bits are possible: nothing is taken over
    assert judge.summarize([HISTORY[:12]], SummarySettings(summary_tokens=9))[0].generated == 2


def test_a_fresh_process_finds_the_texts(roomy_model: Path, own_cache: Path) -> None:
    found = []
    for _ in range(2):
        with Rella.from_gguf(roomy_model, cache=Cache(own_cache)) as rella:
            found += rella.summarize([HISTORY[:12]], SummarySettings(summary_tokens=8))
    assert [summary.generated for summary in found] == [2, 0] and found[0].text == found[1].text
    with Cache(own_cache) as cache:
        assert cache.info().summaries == 2
        cache.clear()
        assert cache.info().summaries == 0


def test_timestamps_decide_the_blocks(teller: Rella) -> None:
    dated = [{**HISTORY[number], "timestamp": 100 - number} for number in range(12)]
    (found,) = teller.summarize([dated])
    assert found.blocks[0].behaviors == (11, 10, 9, 8, 7) and found.blocks[1].behaviors == (6, 5)


@given(text=st.text(st.sampled_from("abc …é."), max_size=120), tokens=st.integers(8, 40))
def test_texts_are_cut_at_a_words_end(spm_engine: Engine, text: str, tokens: int) -> None:
    item = Item({"title": "m", "overview": text})
    whole = MOVIES.show_item(item, long=True)
    shorten = Shortener(spm_engine, MOVIES, tokens)
    short = shorten(item)
    counted = len(spm_engine.vocabulary.tokenize(short))
    assert counted <= tokens
    assert shorten.shortens(item) == (short != whole) == (len(spm_engine.vocabulary.tokenize(whole)) > tokens)
    if short != whole:
        kept = short.removesuffix("…")
        assert short.endswith("…") and whole.startswith(kept) and kept
        at_end = whole[len(kept)] == " "
        assert at_end or len(kept.rpartition(" ")[0]) < len(kept) / 2  # else the last word would have gone


@pytest.mark.parametrize("title", ["漢字の本" * 20, "x" * 300, "漢字の本: " + "漢" * 100])
def test_a_text_without_blanks_is_cut_within(spm_engine: Engine, title: str) -> None:
    short = Shortener(spm_engine, MOVIES, 24)(Item({"title": title}))
    assert len(short) > 5 and title.startswith(short.removesuffix("…"))


@pytest.fixture(scope="module")
def spm_engine(spm_model: Path) -> Iterator[Engine]:
    with Engine.from_gguf(spm_model) as engine:
        yield engine


def test_the_end_of_an_answer_is_the_frames(roomy_model: Path) -> None:
    with Rella.from_gguf(roomy_model, chat_format="zephyr", cache=Cache(None)) as rella:
        prompt = rella.prompts.generation(_text("x"))
        assert prompt.end == "</s>"
        (whole,) = rella.engine.generate([prompt.prompt], 20)
        middle = whole[len(whole) // 2]
        assert rella.engine.generate([prompt.prompt], 20, end=middle) == [whole.partition(middle)[0]]


def _text(target: str) -> Any:
    from rella_cpp.prompts.rendering import PromptText

    return PromptText("", "", "", target)


@pytest.mark.parametrize(("ended", "kept"), [(False, "One. Two three!"), (True, "One. Two three! And 4. on")])
def test_a_text_cut_off_by_its_length_ends_with_a_whole_sentence(roomy_model: Path, ended: bool, kept: str) -> None:
    class Rambling(Scripted):
        def continuations(self, *_: Any, **__: Any) -> list[Continuation]:
            return [Continuation("One. Two\nthree! And 4. on", ended)]

    with Rambling.from_gguf(roomy_model) as engine:
        rella = Rella(engine, MOVIES, cache=Cache(None))
        assert rella.summarize([HISTORY[:6]])[0].text == kept


def test_an_engine_says_whether_a_text_ended(judge: Rella) -> None:
    prompt = judge.prompts.generation(_text("x")).prompt
    (cut,) = judge.engine.continuations([prompt], 6)
    assert not cut.ended and judge.engine.generate([prompt], 6) == [cut.text]
    (closed,) = judge.engine.continuations([prompt], 6, end=cut.text[-1])
    assert closed.ended and closed.text == cut.text.partition(cut.text[-1])[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "both"}, "method is 'both'; one of recurrent, hierarchical"),
        ({"block_size": 0}, "block size is 0; give a whole number, 1 to 1,000,000 (--block-size)"),
        ({"recent": -1}, "recent is -1; give a whole number, 0 to 1,000,000 (--recent)"),
        ({"max_blocks": 0}, "max blocks is 0"),
        ({"item_tokens": 7}, "item tokens is 7; give a whole number, 8 to"),
        ({"summary_tokens": True}, "summary tokens is True"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        SummarySettings(**settings)
    assert str(caught.value).startswith(said)


def test_a_block_that_does_not_fit_is_refused(teller: Rella) -> None:
    with pytest.raises(ContextError, match=r"history 0: .* 96 of a summary do not fit the context of 4096; lower"):
        teller.summarize([HISTORY * 6], SummarySettings(block_size=100))


def test_a_domain_without_words_is_refused(scripted: Scripted) -> None:
    rella = Rella(scripted, replace(MOVIES, summary=None), cache=Cache(None))
    for ask in (lambda: rella.summarize([HISTORY]), lambda: rella.score(HISTORY, TARGET, summary=SummarySettings())):
        with pytest.raises(InputError, match="domain movies: has no words for preference summaries; add"):
            ask()


def test_words_and_layouts_can_be_the_domains_own(scripted: Scripted) -> None:
    own = replace(MOVIES.templates, block="{{ history | length }} seen", preference="LIKES={{ preference }};")
    rella = Rella(scripted, replace(MOVIES, templates=own), chat_format="chatml", cache=Cache(None))
    score = rella.score(HISTORY[:8], TARGET, summary=SummarySettings())
    assert "user\n3 seen\nDescribe" in scripted.texts[0] and "LIKES=Likes 0.;The person" in score.prompt


def test_a_batch_is_written_the_same_whatever_the_cache_holds(scripted: Scripted, tmp_path: Path) -> None:
    """The texts of one batch are kept together: none is taken from another batch, or from alone."""
    rella = Rella(scripted, MOVIES, chat_format="chatml", cache=Cache(tmp_path))
    batch = [HISTORY[:12], HISTORY[3:15]]
    first = rella.summarize(batch)
    calls = len(scripted.asked_for)
    for other in ([HISTORY[:12]], [HISTORY[:12], HISTORY[:9]], [HISTORY[3:15], HISTORY[8:16], HISTORY[:12]]):
        rella.summarize(other)
    assert rella.summarize([HISTORY[:12], HISTORY[3:16]])[0].generated > 0  # another company, though not for this one
    again = rella.summarize(batch)
    assert [(s.text, s.generated) for s in again] == [(s.text, 0) for s in first] and calls == 2


def test_damaged_texts_are_written_anew(teller: Rella, scripted: Scripted, tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        rella = Rella(scripted, MOVIES, chat_format="chatml", cache=cache)
        rella.summarize([HISTORY[:6]])
        with sqlite3.connect(tmp_path / "rella.sqlite") as database:
            database.execute("UPDATE texts SET text = 'a' || char(10) || 'USER:'")
        database.close()
        (found,) = rella.summarize([HISTORY[:6]])
    assert found.generated == 1 and found.text == "Likes 1."


def test_an_empty_history_has_no_summary(teller: Rella) -> None:
    assert [found.text for found in teller.summarize([[], HISTORY[:6]])] == [None, "Likes 0."]


def test_a_batch_in_another_context_is_another_company(roomy_model: Path, tmp_path: Path) -> None:
    """How many prompts go together depends on the context: texts of one are not taken for those of another."""
    generated = []
    for ctx in (4096, 4096, 2048):
        with Rella.from_gguf(roomy_model, settings=EngineSettings(ctx=ctx), cache=Cache(tmp_path)) as rella:
            found = rella.summarize([HISTORY[:8], HISTORY[3:15]], SummarySettings(summary_tokens=8))
        generated.append(sum(summary.generated for summary in found))
    assert generated == [3, 0, 3]
