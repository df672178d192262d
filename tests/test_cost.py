"""What an evaluation cost, over its sittings."""

from pathlib import Path

import pytest
from judges import Killed, Mean, run

from rella_cpp import DataSet, report
from rella_cpp.evaluation import cost


def test_sittings_add_up_and_the_predictions_do_not_tell(
    small_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_SAVED", -1)  # seconds: with each group
    with pytest.raises(Killed):
        run(small_data, tmp_path / "run", Mean(20))
    before = cost.read_cost(tmp_path / "run")
    assert before is not None and before["prompt_tokens"] == 7 * 20  # those of the group that was lost count, too
    kept = len((tmp_path / "run" / "predictions.jsonl.part").read_text().splitlines())
    (done,) = run(small_data, tmp_path / "run", Mean())
    (whole,) = run(small_data, tmp_path / "whole", Mean())
    found = report(done)["cost"]
    assert found["prompt_tokens"] == 7 * (20 + 60 - kept) and found["decoded_tokens"] == 5 * (20 + 60 - kept)
    assert 8 <= kept < 20 and found["seconds"] >= 0
    predictions = [each.folder / "predictions.jsonl" for each in (done, whole)]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()
    (tmp_path / "run" / "cost.json").write_text("{")
    assert "cost" not in report(done)


def test_baselines_cost_nothing(small_data: DataSet, tmp_path: Path) -> None:
    (done,) = run(small_data, tmp_path / "run", None)
    assert "cost" not in report(done)
