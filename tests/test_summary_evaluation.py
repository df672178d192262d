"""Evaluations with preference summaries: what they ask, and that a kill changes nothing."""

from pathlib import Path
from typing import Any

import pytest
from judges import MOVIES, Killed

from rella_cpp import (
    Cache,
    DataSet,
    EvaluationSettings,
    Histories,
    InputError,
    RankingSettings,
    Rella,
    SummarySettings,
    evaluate,
    evaluate_ranking,
    fit_calibration,
    report,
)

SUMMARY = SummarySettings("hierarchical", recent=2, block_size=4, max_blocks=2, summary_tokens=8)
CLICKS = EvaluationSettings(limit=20, ks=(5,), summary=SUMMARY)
RANKS = RankingSettings(limit=10, negatives=3, summary=SUMMARY)
FILES = ["run.json", "predictions.jsonl"]


def run(judge: Rella, data: DataSet, out: Path, settings: EvaluationSettings | RankingSettings, **more: Any) -> Any:
    histories = Histories(data, None, MOVIES)
    if isinstance(settings, RankingSettings):
        return evaluate_ranking(histories, out, settings, judge=judge, **more)
    (found,) = evaluate(histories, out, settings, judge=judge, **more)
    return found


@pytest.fixture(params=["clicks", "rank"])
def settings(request: pytest.FixtureRequest) -> EvaluationSettings | RankingSettings:
    return CLICKS if request.param == "clicks" else RANKS


@pytest.mark.parametrize("kept", [True, False])
def test_a_killed_evaluation_goes_on_to_the_same_files(
    roomy_model: Path, sparse_data: DataSet, tmp_path: Path, settings: Any, kept: bool
) -> None:
    """With a cache on disk (one for each of the two), and with none: texts of earlier groups change no later one."""

    def judge(name: str) -> Rella:
        return Rella.from_gguf(roomy_model, cache=Cache(tmp_path / name if kept else None))

    def kill(task: str, done: int, *_: Any) -> None:
        if task == "evaluating" and done >= 8:
            raise Killed

    with judge("first") as rella:
        whole = run(rella, sparse_data, tmp_path / "whole", settings)
    with judge("second") as rella, pytest.raises(Killed):
        run(rella, sparse_data, tmp_path / "killed", settings, progress=kill)
    with judge("second") as rella:
        again = run(rella, sparse_data, tmp_path / "killed", settings)
    for name in FILES:
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_run_says_how_it_was_read_and_what_was_written(
    exact_judge: Rella, small_data: DataSet, tmp_path: Path
) -> None:
    found = run(exact_judge, small_data, tmp_path / "run", CLICKS)
    assert found.settings["reading"] == {
        "k": 2,
        "retrieval": "recent",
        "order": "time",
        "summary": SUMMARY.facts(MOVIES),
    }
    for line in found.lines:
        position = int(small_data.samples.position[line["sample"]])
        assert line["used"] == list(range(max(0, position - 2), position))
        assert line["summary"]["blocks"] == min(2, -(-max(0, position - 2) // 4))
        assert (line["summary"]["text"] is None) == (position <= 2)
    counts = report(found)["summaries"]
    assert counts["written"] + counts["empty"] + counts["none"] == 20 and counts["written"] > 0
    # The prompts are those that the library writes for such a history.
    line = max(found.lines, key=lambda line: line["summary"]["blocks"])
    user, item = int(small_data.samples.user[line["sample"]]), int(small_data.samples.item[line["sample"]])
    history = small_data.history(user, line["used"][-1] + 1)
    alone = exact_judge.score(history, small_data.item(item), user=small_data.user(user), summary=SUMMARY)
    assert (alone.prompt_tokens, alone.yes_logit) == (line["prompt_tokens"], line["yes_logit"])


def test_candidates_share_all_but_their_own_tokens(judge: Rella, sparse_data: DataSet, tmp_path: Path) -> None:
    first = run(judge, sparse_data, tmp_path / "first", RANKS)
    shown = {(line["user"], str(line["summary"])) for line in first.lines}
    # One summary a user, the same for each of the four candidates.
    assert len(shown) == len({line["user"] for line in first.lines}) == len(first.lines) / 4
    counts = report(first)["summaries"]  # of users, not of candidates
    assert counts["written"] + counts["empty"] + counts["none"] == len(shown)


def test_other_words_or_blocks_are_another_run(judge: Rella, sparse_data: DataSet, tmp_path: Path) -> None:
    run(judge, sparse_data, tmp_path / "run", RANKS)
    with pytest.raises(InputError, match=r"another reading\.summary\.block_size: 4, not 3"):
        other = SummarySettings("hierarchical", recent=2, block_size=3, max_blocks=2, summary_tokens=8)
        run(judge, sparse_data, tmp_path / "run", RankingSettings(limit=10, negatives=3, summary=other))


def test_another_k_of_the_baselines_is_another_run(judge: Rella, small_data: DataSet, tmp_path: Path) -> None:
    run(judge, small_data, tmp_path / "run", CLICKS)
    with pytest.raises(InputError, match=r"another baselines\.k: 5, not 6"):
        run(judge, small_data, tmp_path / "run", EvaluationSettings(limit=20, ks=(6,), summary=SUMMARY))


def test_a_calibration_holds_for_the_summaries_it_was_fitted_on(
    judge: Rella, small_data: DataSet, tmp_path: Path
) -> None:
    settings = EvaluationSettings("valid", 40, ks=(5,), summary=SUMMARY)
    judge.use_calibration(fit_calibration(run(judge, small_data, tmp_path / "run", settings)))
    history, item = small_data.history(0, 9), small_data.item(1)
    assert judge.score(history, item, summary=SUMMARY).calibrated is not None
    with pytest.raises(InputError, match="fitted with another reading"):
        judge.score(history, item)


def test_a_summary_has_one_k() -> None:
    with pytest.raises(InputError, match="a summary is read with several K"):
        EvaluationSettings(ks=(5, 10), summary=SUMMARY)
