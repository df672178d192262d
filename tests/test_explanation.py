"""Explanations: what each thing in a prompt did to the score, against prompts written without it by hand."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import needs_browser, opened
from commands import Run, runner

from rella_cli.views.score_page import write_score_page
from rella_cli.views.scores import Ranking
from rella_cpp import (
    Behavior,
    Calibration,
    EngineSettings,
    Explanation,
    Item,
    Query,
    Rella,
    Selection,
)
from rella_cpp.prompts.streams.text import Unshown
from rella_cpp.scoring.calibration import made_for

EXAMPLES = Path(__file__).parent.parent / "examples"
TITLES = ("Heat", "Fargo", "Alien", "Big", "Jaws", "Rocky", "Psycho", "Tron")
HISTORY = [
    Behavior(Item({"title": title, "year": 1970 + 3 * place}), place % 5 + 1, average=2.5 + place / 4)
    for place, title in enumerate(TITLES)
]
TARGET = {"title": "Aliens", "year": 1986, "average": 4.1}
USER = {"age": "25-34"}


@pytest.fixture(scope="module", params=["question", "stream"])
def rella(request: pytest.FixtureRequest, roomy_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy_model, layout=request.param, settings=EngineSettings(exact=True)) as rella:
        yield rella


def without(rella: Rella, shown: list[Behavior], unshown: Unshown, **changed: object) -> float:
    """Score the target by a prompt that shows these behaviors and no others."""
    stream = rella.prompts.layout == "stream"
    selection = Selection(30, "recent", window="sliding" if stream else None, allow_empty_history=True)
    query = Query(shown, [TARGET], USER, selection, earlier=unshown if stream else Unshown())
    ((score,),) = rella.judge([replace(query, **changed)])  # type: ignore[arg-type]
    return score.gap


def plain(behavior: Behavior) -> Behavior:
    return replace(behavior, average=None)


def test_each_change_is_that_of_the_prompt_without_it(rella: Rella) -> None:
    (found,) = rella.explain(HISTORY, [TARGET], user=USER, k=4, retrieval="recent")
    places = [each.place for each in found.behaviors]
    assert tuple(places) == found.score.used and 4 <= len(places) < len(HISTORY)
    shown = [HISTORY[place] for place in places]
    others = [behavior.rating or 0 for place, behavior in enumerate(HISTORY) if place not in places]
    unshown = Unshown(len(others), sum(others))
    gap = without(rella, shown, unshown)
    assert found.score.gap == gap
    for number, each in enumerate(found.behaviors):
        assert each.change == gap - without(rella, [*shown[:number], *shown[number + 1 :]], unshown)
        assert each.cosine is None  # the latest are shown, whatever they are near to
    assert found.profile == gap - without(rella, shown, unshown, user=None)
    if rella.prompts.layout == "question":
        assert found.averages is None  # it shows none
    else:
        items = [{"title": "Aliens", "year": 1986}]
        assert found.averages == gap - without(rella, [plain(each) for each in shown], unshown, items=items)


def test_cosines_are_those_by_which_behaviors_were_chosen(rella: Rella) -> None:
    (found,) = rella.explain(HISTORY, [TARGET], k=3, retrieval="subr")
    assert len(found.behaviors) == 3 and found.profile is None
    vectors = rella.embed([*(behavior.item for behavior in HISTORY), TARGET])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for each in found.behaviors:
        assert each.cosine == pytest.approx(float(vectors[each.place] @ vectors[-1]), abs=1e-3)
    assert "cosine" in found.as_dict()["behaviors"][0]


def test_the_order_of_prompts_is_kept_and_what_is_the_item_itself_left_out(rella: Rella) -> None:
    own = [*HISTORY, Behavior(Item({"title": "Aliens", "year": 1986}), 5)]
    both = rella.explain(own, [TARGET, {"title": "Dune", "year": 1984}], k=2, retrieval="recent")
    assert [each.score.excluded for each in both] == [1, 0]
    for found in both:
        assert [each.place for each in found.behaviors] == list(found.score.used)
    (nothing,) = rella.explain([], [TARGET], allow_empty_history=True)
    assert nothing.behaviors == () and nothing.as_dict() == {"behaviors": []} | without_none(nothing)


def without_none(found: Explanation) -> dict[str, float]:
    return {} if found.averages is None else {"averages": found.averages}


def test_the_terms_of_a_calibration_add_up_to_its_logit(rella: Rella, tmp_path: Path) -> None:
    reading = Query(HISTORY, [TARGET], None, Selection(4, "recent")).reading(rella.domain, rella.prompts.layout)
    made = made_for(rella.settings(), reading)
    calibration = Calibration({"gap": 2.0}, 0.5, False, made, {"samples": 100}, means={"gap": 0.25})
    calibration.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json").means == {"gap": 0.25}
    rella.use_calibration(tmp_path / "c.json")
    (found,) = rella.explain(HISTORY, [TARGET], k=4, retrieval="recent")
    (term,) = found.terms
    assert term.change == pytest.approx(2.0 * (found.score.gap - 0.25))
    assert term.as_dict() == {"feature": "gap", "change": term.change, "weight": 2.0, "value": term.value, "mean": 0.25}
    rella.use_calibration(replace(calibration, means={}))  # of before
    assert rella.explain(HISTORY, [TARGET], k=4, retrieval="recent")[0].terms == ()


def test_explain_is_score_and_rank_with_why(
    capsys: pytest.CaptureFixture[str], roomy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rella: Run = runner(capsys)
    monkeypatch.setenv("RELLA_MODEL", str(roomy_model))
    files = f"--history {EXAMPLES / 'history.json'} --items {EXAMPLES / 'items.json'}"
    rows = rella(*f"explain {files} -k 3 --json".split()).lines()
    assert rows == rella(*f"score {files} -k 3 --json --why".split()).lines() and len(rows) == 5
    ranked = rella(*f"rank {files} -k 3 --json --why".split()).lines()
    assert [row["why"] for row in ranked] == [row["why"] for row in rows]
    plain_rows = rella(*f"score {files} -k 3 --json --exact".split()).lines()
    assert plain_rows == [{name: value for name, value in row.items() if name != "why"} for row in rows]
    shown = rella(*f"explain {files} -k 3".split())
    assert shown.code == 0 and "what it did to the logit, " in shown.out and "not causes" in shown.err
    assert "for: " in rella(*f"rank {files} -k 3 --why".split()).out
    refused = rella(*f"rank {files} --by likelihood --why".split())
    assert refused.code == 2 and "--why with --by likelihood" in refused.err and len(refused.err.splitlines()) == 1
    assert rella("score", "--jsonl", "--why").code == 2


def test_a_page_shows_what_the_terminal_does_and_fetches_nothing(
    capsys: pytest.CaptureFixture[str], roomy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rella: Run = runner(capsys)
    monkeypatch.setenv("RELLA_MODEL", str(roomy_model))
    (tmp_path / "items.json").write_text('[{"title": "<b>Alien</b> & Co"}, {"title": "Big"}]')
    files = f"--history {EXAMPLES / 'history.json'} --items {tmp_path / 'items.json'} --html {tmp_path / 'page.html'}"
    assert rella(*f"rank {files} -k 3 --why".split()).err.splitlines()[0] != ""
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;Alien&lt;/b&gt; &amp; Co" in page and "<b>Alien" not in page
    assert "not causes" in page and "together only" in page  # what the terminal warns of
    assert not re.search(r'(src|href)=(?!"#)|@import|url\(', page)
    again = rella(*f"rank {files} -k 3".split())
    assert again.code == 2 and "is there already" in again.err
    assert rella(*f"score {files} -k 3 --force".split()).code == 0
    assert "change of the logit" not in (tmp_path / "page.html").read_text()


@needs_browser
def test_a_browser_opens_the_page_and_has_nothing_to_complain_of(rella: Rella, tmp_path: Path) -> None:
    reasons = rella.explain(HISTORY, [TARGET, {"title": "Dune"}], user=USER, k=4, retrieval="recent")
    view = Ranking(rella.domain, HISTORY, [each.score for each in reasons], reasons)
    write_score_page(tmp_path / "page.html", "Items ranked", view)
    # Sorted by a click on the second column, the first item is Dune.
    shown = opened(tmp_path / "page.html", "document.querySelectorAll('table th button')[1].click()")
    assert shown.index("Dune</a>") < shown.index("Aliens (1986)</a>")
