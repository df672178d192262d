import errno
import json
import os
from pathlib import Path

import pytest
from judges import Killed, Mean, run

from rella_cpp import (
    DataSet,
    InputError,
    Run,
    open_runs,
    report,
)
from rella_cpp.evaluation.baselines import clicks
from rella_cpp.evaluation.baselines.factorization import Factorization
from rella_cpp.evaluation.runs import GROUP, RunWriter
from rella_cpp.storage.artifacts import write_json


@pytest.mark.parametrize("stop", [0, 1, GROUP, GROUP + 3, 44])
def test_killed_anywhere_and_run_again_the_file_is_the_same(small_data: DataSet, tmp_path: Path, stop: int) -> None:
    (wanted,) = run(small_data, tmp_path / "whole", Mean())
    for number in (stop, 5, 9):
        with pytest.raises(Killed):
            run(small_data, tmp_path / "cut", Mean(number))
        part = tmp_path / "cut" / "predictions.jsonl.part"
        if part.exists():  # what a kill -9 in the middle of a write leaves
            with part.open("ab") as file:
                file.write(b'{"sample": 3, "lab')
    rest = Mean()
    (done,) = run(small_data, tmp_path / "cut", rest)
    assert len(rest.calls) < 60
    for name in ("predictions.jsonl", "run.json", "ratings.json"):
        assert (done.folder / name).read_bytes() == (wanted.folder / name).read_bytes()
    assert {path.name for path in done.folder.iterdir()} == {
        "cost.json",
        "predictions.jsonl",
        "ratings.json",
        "run.json",
    }


def test_a_finished_run_is_not_judged_again_and_other_settings_are_refused(small_data: DataSet, tmp_path: Path) -> None:
    run(small_data, tmp_path / "run", Mean())
    again = Mean()
    run(small_data, tmp_path / "run", again)
    assert again.calls == []
    with pytest.raises(InputError, match="is a run with another reading.k: 5, not 6"):
        run(small_data, tmp_path / "run", Mean(), ks=(6,))
    with pytest.raises(InputError, match="another samples.seed: 0, not 1"):
        run(small_data, tmp_path / "run", Mean(), seed=1)
    with pytest.raises(InputError, match="another judge"):
        run(small_data, tmp_path / "run", None)
    (forced,) = run(small_data, tmp_path / "run", Mean(), ks=(6,), force=True)
    assert forced.settings["reading"]["k"] == 6
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds something else"):
        run(small_data, tmp_path / "other", Mean())


def test_a_full_disk_loses_no_finished_sample(
    small_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    real = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"predictions.jsonl.part: cannot be written \(No space left on device\)"):
        run(small_data, tmp_path / "run", Mean())
    monkeypatch.undo()
    rest = Mean()
    (done,) = run(small_data, tmp_path / "run", rest)
    assert len(done.lines) == 60 and len(rest.calls) < 60
    (whole,) = run(small_data, tmp_path / "whole", Mean())
    assert (done.folder / "predictions.jsonl").read_bytes() == (whole.folder / "predictions.jsonl").read_bytes()


def test_what_goes_on_takes_what_was_fitted(
    small_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = run(small_data, tmp_path / "whole", Mean())
    with pytest.raises(Killed):
        run(small_data, tmp_path / "run", Mean(20))
    monkeypatch.setattr(clicks, "fit_trees", None)  # to fit again would fail
    monkeypatch.setattr(Factorization, "fit", None)
    (done,) = run(small_data, tmp_path / "run", Mean())
    for name in ("predictions.jsonl", "ratings.json"):
        assert (done.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_two_processes_do_not_write_one_run(small_data: DataSet, tmp_path: Path) -> None:
    first = RunWriter(tmp_path / "run", {"samples": {}}, [1, 2, 3])
    with pytest.raises(InputError, match="another process"):
        RunWriter(tmp_path / "run", {"samples": {}}, [1, 2, 3])
    first.close()
    RunWriter(tmp_path / "run", {"samples": {}}, [1, 2, 3]).close()


def test_a_forced_start_does_not_break_into_a_running_one(small_data: DataSet, tmp_path: Path) -> None:
    first = RunWriter(tmp_path / "run", {"samples": {}}, list(range(16)))
    first.write([{"sample": n, "label": 0} for n in range(8)])
    with pytest.raises(InputError, match="another process"):
        RunWriter(tmp_path / "run", {"samples": {}}, list(range(16)), force=True)
    first.write([{"sample": n, "label": 0} for n in range(8, 16)])
    assert first.finish().samples == list(range(16))


def test_metrics_of_other_predictions_are_made_anew(small_data: DataSet, tmp_path: Path) -> None:
    (done,) = run(small_data, tmp_path / "run", Mean())
    wanted = report(done)
    for text in ("{", '{"samples": 3}', (done.folder / "metrics.json").read_text().replace("0.", "1.")):
        (done.folder / "metrics.json").write_text(text)
        assert report(Run.open(done.folder)) == wanted


@pytest.mark.parametrize(
    "change",
    [
        {"label": 2},
        {"label": "x"},
        {"probability": 5},
        {"probability": None},
        {"baselines": {}},
        {"yes_logit": "x"},
        {"yes_logit": 10**400},
        {"statistics": {"foo": 1}},
        {"levels": {}},
        {"extra": 1},
        None,
    ],
)
def test_damaged_predictions_are_refused_by_their_line(
    small_data: DataSet, tmp_path: Path, change: dict[str, object] | None
) -> None:
    (done,) = run(small_data, tmp_path / "run", Mean())
    path = done.folder / "predictions.jsonl"
    lines = path.read_text().splitlines()
    lines[3] = json.dumps({**json.loads(lines[3]), **change}) if change else lines[3][:20]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="predictions.jsonl, line 4: is no prediction"):
        report(Run.open(done.folder))
    path.write_text("\n".join(lines[:3]) + "\n")
    with pytest.raises(InputError, match="holds 3 predictions of 60"):
        report(Run.open(done.folder))


@pytest.mark.parametrize(
    "change", [{"statistics": {"foo": 1}}, {"levels": {}}, {"levels": {"1": "x"}}, {"levels": {"1": 2}}]
)
def test_what_all_lines_have_wrong_is_refused(small_data: DataSet, tmp_path: Path, change: dict[str, object]) -> None:
    (done,) = run(small_data, tmp_path / "run", Mean())
    path = done.folder / "predictions.jsonl"
    lines = [json.loads(line) | change for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(InputError, match="predictions.jsonl, line 1: is no prediction"):
        report(Run.open(done.folder))


def test_a_damaged_file_of_ratings_is_made_anew(small_data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(small_data, tmp_path / "run", Mean(20))
    (tmp_path / "run" / "ratings.json").write_text("{")
    (done,) = run(small_data, tmp_path / "run", Mean())
    assert len(done.ratings().ids) == small_data.items.num_rows


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("predictions.jsonl", "nonsense\n", "holds 0 lines of 60"),
        ("run.json", "{", "run.json: is damaged"),
        ("predictions.jsonl", '{"sample": 999, "label": 0}\n' * 60, "line 1: is not of sample"),
    ],
)
def test_a_damaged_run_is_refused(small_data: DataSet, tmp_path: Path, name: str, text: str, said: str) -> None:
    (done,) = run(small_data, tmp_path / "run", Mean())
    (done.folder / name).write_text(text)
    with pytest.raises(InputError, match=said):
        run(small_data, tmp_path / "run", Mean())


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no run"):
        open_runs([tmp_path])
    write_json(tmp_path / "run.json", {"samples": {}})
    with pytest.raises(InputError, match="is not finished"):
        Run.open(tmp_path)


def test_a_run_that_failed_before_its_first_line_blocks_nobody(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", {"ctx": 256}, [1, 2]):
        pass
    with RunWriter(tmp_path / "run", {"ctx": 512}, [1, 2]) as writer:
        writer.write([{"sample": 1}, {"sample": 2}])
    with pytest.raises(InputError, match="is a run with another ctx: 512, not 256"):
        RunWriter(tmp_path / "run", {"ctx": 256}, [1, 2])


def test_a_stranger_s_settings_are_no_run_s(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"speed": 3}')
    with pytest.raises(InputError, match="run.json: is damaged"):
        RunWriter(tmp_path, {"ctx": 256}, [1, 2])
    assert (tmp_path / "run.json").read_text() == '{"speed": 3}'
