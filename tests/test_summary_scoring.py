"""What a judge reads beside a preference summary."""

from typing import Any

import pytest
from scripted import HISTORY, TARGET, Scripted

from rella_cpp import ContextError, Query, Rella, SummarySettings


def test_the_judge_reads_the_summary_and_the_latest(teller: Rella, scripted: Scripted) -> None:
    score = teller.score(HISTORY, TARGET, summary=SummarySettings(recent=2))
    assert score.summary is not None and score.summary.text == "Likes 4." and score.used == (24, 25)
    history, question = score.prompt.split("Now consider")
    assert "What the person prefers: Likes 4.\nThe person watched these movies" in history
    assert "1. movie 24: the plot of 24" in history and "2. movie 25: the plot" in history and "movie 23" not in history
    assert question.startswith(" this movie: Heat: a thief\n")
    assert score.as_dict()["summary"] == {"text": "Likes 4.", "method": "recurrent", "blocks": 5, "shortened": 0}
    # Without a summary neither long fields nor the key are there.
    plain = teller.score(HISTORY, TARGET, k=3, retrieval="recent")
    assert "plot" not in plain.prompt and "thief" not in plain.prompt and "summary" not in plain.as_dict()


def test_no_behavior_need_be_shown(teller: Rella) -> None:
    score = teller.score(HISTORY[:10], TARGET, summary=SummarySettings(recent=0))
    assert score.used == () and "What the person prefers: Likes 1.\n\nNow consider" in score.prompt


def test_overlap_summarises_the_latest_too(teller: Rella) -> None:
    score = teller.score(HISTORY[:10], TARGET, summary=SummarySettings(overlap=True))
    assert score.summary is not None
    assert [block.behaviors for block in score.summary.blocks] == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)]
    assert score.used == (5, 6, 7, 8, 9)


def test_a_short_history_has_no_summary(teller: Rella, scripted: Scripted) -> None:
    score = teller.score(HISTORY[:5], TARGET, summary=SummarySettings())
    assert score.summary is not None and score.summary.text is None and not scripted.texts
    assert "prefers" not in score.prompt and score.used == (0, 1, 2, 3, 4)
    (found,) = teller.summarize([HISTORY[:5]])
    assert (found.as_dict()["summary"], found.blocks, found.empty) == (None, (), 0)


@pytest.mark.parametrize("method", ["recurrent", "hierarchical"])
def test_an_empty_summary_is_kept_counted_and_said(teller: Rella, scripted: Scripted, method: Any) -> None:
    scripted.silent = True
    settings = SummarySettings(method)
    score = teller.score(HISTORY[:14], TARGET, summary=settings)
    assert score.summary is not None and (score.summary.text, score.summary.empty) == ("", 2)
    assert len(scripted.texts) == 2  # of two empty blocks no overall summary is asked for
    assert "Nothing is known of what the person prefers.\n" in score.prompt
    (again,) = teller.summarize([HISTORY[:14]], settings)
    assert (again.text, again.generated) == ("", 0)
    if method == "recurrent":
        assert "Nothing was written about a person before." in scripted.texts[1]


def test_the_target_is_never_summarised(teller: Rella, scripted: Scripted) -> None:
    target = {"title": "movie 3", "overview": HISTORY[3]["overview"]}
    found = teller.rank(HISTORY[:14], [TARGET, target], summary=SummarySettings())
    assert [score.excluded for score in found] == [0, 1]
    (one, other) = (score.summary for score in found)
    assert one is not None and other is not None
    assert one.blocks[0].behaviors == (0, 1, 2, 3, 4) and other.blocks[0].behaviors == (0, 1, 2, 4, 5)
    assert "movie 3:" not in found[1].prompt.partition("Now consider")[0]
    assert sum("movie 3:" in text for text in scripted.texts) == 1  # the first target's first block


def test_a_candidate_costs_its_own_tokens(exact_judge: Rella) -> None:
    targets = [{"title": f"movie x {number}", "overview": "a thief"} for number in range(21)]
    scores = exact_judge.rank(HISTORY, targets, summary=SummarySettings(summary_tokens=8))
    asked, computed = exact_judge.judged_tokens  # of judging alone: what was written before does not count
    own = [len(score.prompt.partition("\nNow consider")[2]) + 20 for score in scores]  # at most a token a character
    assert asked == sum(score.prompt_tokens for score in scores)
    assert computed <= scores[0].prompt_tokens + sum(own)
    assert asked > 4 * computed


def test_queries_of_many_users_give_what_each_alone_gives(exact_judge: Rella) -> None:
    settings = SummarySettings(block_size=3, summary_tokens=8)
    queries = [Query(HISTORY[start:20], [TARGET], summary=settings) for start in (0, 3, 9)]
    queries.insert(1, Query(HISTORY, [TARGET]))  # a reader of histories beside them
    together = exact_judge.judge(queries)
    alone = [exact_judge.rank(q.history, q.items, summary=q.summary) for q in queries]
    assert [[s.yes_logit for s in scores] for scores in together] == [[s.yes_logit for s in scores] for scores in alone]
    assert [scores[0].summary is None for scores in together] == [False, True, False, False]


def test_contrast_shows_the_item_alone(teller: Rella) -> None:
    teller.contrast = True
    score = teller.score(HISTORY[:14], TARGET, summary=SummarySettings())
    plain = teller.score(HISTORY[:14], TARGET)
    assert score.empty_gap is not None and score.empty_gap != plain.empty_gap  # the item's long text is there


def test_shortened_texts_are_counted_and_the_target_is_whole(teller: Rella) -> None:
    target = {"title": "Heat", "overview": "a very long story " * 30}
    score = teller.score(HISTORY[:14], target, summary=SummarySettings(item_tokens=12))
    assert score.summary is not None and score.summary.shortened == 14
    assert "a very long story " * 29 in score.prompt


def test_a_target_that_cannot_fit_is_refused_before_anything_is_written(teller: Rella, scripted: Scripted) -> None:
    with pytest.raises(ContextError, match=r"item\[1\]"):
        teller.rank(HISTORY, [TARGET, {"title": "x", "overview": "very long " * 3000}], summary=SummarySettings())
    assert not scripted.texts
