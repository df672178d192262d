import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from look_alikes import ml_1m, random_ratings, write_files

from rella_cpp import (
    Behavior,
    DataSet,
    EvaluationSettings,
    Histories,
    InputError,
    Item,
    ItemIndex,
    ModelIdentity,
    Rella,
    Run,
    Score,
    User,
    evaluate,
    evaluate_prompts,
    load_domain,
    open_runs,
    read_prompts,
    report,
)
from rella_cpp.evaluation.evaluating import draw
from rella_cpp.evaluation.runs import GROUP
from rella_cpp.files import write_json

MOVIES = load_domain("movies")


class Killed(BaseException):
    pass


class Mean:
    """Judges by the mean of the ratings it is shown; counts its calls and can be killed."""

    def __init__(self, stop_after: int = 10**6) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.stop_after = stop_after

    def score(self, history: Sequence[Behavior], item: Item, *, user: User, k: int, **_: Any) -> Score:
        if len(self.calls) == self.stop_after:
            raise Killed
        ratings = [behavior.rating or 0 for behavior in history]
        self.calls.append(tuple(int(rating) for rating in ratings))
        mean = float(np.mean(ratings)) if ratings else 2.5
        model = ModelIdentity("mean", "f")
        return Score(item, mean / 5, mean, 2.5, 0.9, 7, tuple(range(len(ratings))), 0, model)

    def settings(self) -> Mapping[str, object]:
        return {"model": {"name": "mean", "fingerprint": "f"}, "domain": {"fingerprint": "d"}, "chat_format": "none"}


def run(
    data: DataSet, out: Path, judge: Any, index: ItemIndex | None = None, force: bool = False, **settings: Any
) -> list[Run]:
    chosen = EvaluationSettings(**{"split": "train", "limit": 60, "ks": (5,), "retrieval": "recent", **settings})
    return evaluate(data, out, chosen, judge=judge, histories=Histories(data, index, MOVIES), force=force)


def test_a_run_has_one_line_a_sample_and_metrics_from_that_file(small_data: DataSet, tmp_path: Path) -> None:
    (done,) = run(small_data, tmp_path / "run", Mean())
    assert sorted(path.name for path in done.folder.iterdir()) == ["items.json", "predictions.jsonl", "run.json"]
    rows = draw(small_data, EvaluationSettings("train", 60))
    assert done.samples == rows.tolist() and (np.diff(rows) > 0).all()
    samples, known = small_data.samples, small_data.interactions
    assert known.rating is not None
    for line in done.lines:
        row = line["sample"]
        assert line["label"] == samples.label[row]
        assert line["user"] == small_data.user_id(int(samples.user[row]))
        assert line["item"] == small_data.item_id(int(samples.item[row]))
        start = known.starts[samples.user[row]]
        ratings = known.rating[start : start + samples.position[row]]
        assert line["used"] == list(range(len(ratings)))[-5:]
        assert line["probability"] == pytest.approx(float(np.mean(ratings[-5:])) / 5)
        assert line["statistics"]["mean_last_5"] == pytest.approx(float(np.mean(ratings[-5:])))
    found = report(done)
    assert found["samples"] == 60 and found.items() <= json.loads((done.folder / "metrics.json").read_text()).items()
    # The judge is the mean of the last five, so it ranks as that baseline does.
    assert found["metrics"]["model"]["auc"] == found["metrics"]["last_5"]["auc"]
    assert not found["differences"]["model"]["last_5"]["auc"]["distinguishable"]
    assert any("last_5" in sentence and "not distinguishable" in sentence for sentence in found["verdicts"])
    assert "similarity baseline left out: it needs --index" in found["notes"]


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
    for name in ("predictions.jsonl", "run.json", "items.json"):
        assert (done.folder / name).read_bytes() == (wanted.folder / name).read_bytes()
    assert sorted(path.name for path in done.folder.iterdir()) == ["items.json", "predictions.jsonl", "run.json"]


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


def test_the_same_samples_are_drawn_and_a_smaller_limit_is_part_of_a_greater(small_data: DataSet) -> None:
    few, many = (draw(small_data, EvaluationSettings("train", limit)).tolist() for limit in (20, 50))
    assert set(few) < set(many) and len(few) == 20
    assert draw(small_data, EvaluationSettings("train", 20, ks=(3,))).tolist() == few
    assert draw(small_data, EvaluationSettings("train", 20, seed=1)).tolist() != few
    assert draw(small_data, EvaluationSettings("test", 10**6)).tolist() == small_data.samples.rows("test").tolist()


def test_a_sweep_makes_one_run_for_each_k_and_reads_equal_prompts_once(small_data: DataSet, tmp_path: Path) -> None:
    judge = Mean()
    runs = run(small_data, tmp_path / "sweep", judge, ks=(3, 5, 50))
    assert [done.folder.name for done in runs] == ["k3", "k5", "k50"]
    lengths = [int(small_data.samples.position[row]) for row in runs[0].samples]  # type: ignore[call-overload]
    assert len(judge.calls) == sum(len({min(k, n) for k in (3, 5, 50)}) for n in lengths) < 180
    for done, k in zip(runs, (3, 5, 50), strict=True):
        (alone,) = run(small_data, tmp_path / f"alone{k}", Mean(), ks=(k,))
        assert (alone.folder / "predictions.jsonl").read_bytes() == (done.folder / "predictions.jsonl").read_bytes()
    assert [opened.folder for opened in open_runs([tmp_path / "sweep"])] == [done.folder for done in runs]


@pytest.mark.parametrize("retrieval", ["recent", "subr"])
@pytest.mark.parametrize("order", ["time", "similarity"])
def test_evaluate_and_score_agree_to_the_last_bit(
    judge: Rella, small_data: DataSet, small_index: ItemIndex, tmp_path: Path, retrieval: str, order: str
) -> None:
    judge.use_index(small_index)
    (done,) = run(small_data, tmp_path / "run", judge, small_index, limit=9, ks=(3,), retrieval=retrieval, order=order)
    for line in done.lines:
        row, samples = line["sample"], small_data.samples
        user, position = int(samples.user[row]), int(samples.position[row])
        score = judge.score(
            small_data.history(user, position),
            small_data.item(int(samples.item[row])),
            user=small_data.user(user),
            k=3,
            retrieval=retrieval,  # type: ignore[arg-type]
            order=order,  # type: ignore[arg-type]
        )
        assert (line["yes_logit"], line["no_logit"]) == (score.yes_logit, score.no_logit)
        assert line["used"] == list(score.used)


def test_without_an_index_subr_embeds_with_the_judging_model(judge: Rella, small_data: DataSet, tmp_path: Path) -> None:
    (done,) = run(small_data, tmp_path / "run", judge, limit=4, ks=(3,), retrieval="subr")
    line = done.lines[2]
    samples, row = small_data.samples, line["sample"]
    score = judge.score(
        small_data.history(int(samples.user[row]), int(samples.position[row])),
        small_data.item(int(samples.item[row])),
        user=small_data.user(int(samples.user[row])),
        k=3,
    )
    assert (line["yes_logit"], tuple(line["used"])) == (score.yes_logit, score.used)


def test_baselines_alone_need_no_model(small_data: DataSet, tmp_path: Path) -> None:
    (done,) = run(small_data, tmp_path / "run", None)
    assert "probability" not in done.lines[0] and set(report(done)["metrics"]) >= {"base_rate", "last_5", "logistic"}
    with pytest.raises(InputError, match="baselines only"):
        _ = done.gaps


def test_a_split_with_one_label_only_has_no_auc(small_data: DataSet, tmp_path: Path) -> None:
    (done,) = run(small_data, tmp_path / "run", Mean(), limit=1)
    found = report(done)
    assert found["metrics"]["model"]["auc"] == {"value": None, "low": None, "high": None}
    assert found["metrics"]["model"]["brier"]["value"] is not None
    assert any("AUC is undefined" in sentence for sentence in found["notes"])


def test_a_full_disk_loses_no_finished_sample(
    small_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

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


def test_two_processes_do_not_write_one_run(small_data: DataSet, tmp_path: Path) -> None:
    from rella_cpp.evaluation.runs import RunWriter

    first = RunWriter(tmp_path / "run", {"samples": {}}, [1, 2, 3])
    with pytest.raises(InputError, match="another process"):
        RunWriter(tmp_path / "run", {"samples": {}}, [1, 2, 3])
    first.close()
    RunWriter(tmp_path / "run", {"samples": {}}, [1, 2, 3]).close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"split": "all"}, "split is 'all'"),
        ({"limit": 0}, "limit is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"ks": (0,)}, "K is 0"),
        ({"ks": (10**23,)}, "K is 1"),
        ({"ks": (5, 5)}, "each value of K once"),
        ({"retrieval": "best"}, "retrieval is 'best'"),
    ],
)
def test_settings_out_of_range_are_refused(
    small_data: DataSet, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run(small_data, tmp_path / "run", Mean(), **settings)


def test_an_index_without_some_items_is_refused_by_name(judge: Rella, small_data: DataSet, tmp_path: Path) -> None:
    from rella_cpp import build_index

    index = build_index(judge.vectors, small_data.all_items()[:-3], tmp_path / "i")
    with pytest.raises(InputError, match=r"lacks \d of the \d+ items .*rella index add"):
        Histories(small_data, index, MOVIES)


def write_prompts(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries))
    return path


def test_ready_prompts_are_judged_as_they_stand(judge: Rella, tmp_path: Path) -> None:
    entries = [
        {"input": f"Will they like movie {n}? Yes or No", "output": "Yes." if n % 2 else "No", "extra": 1}
        for n in range(20)
    ]
    path = write_prompts(tmp_path / "p.json", entries)
    settings = EvaluationSettings()
    done = evaluate_prompts(read_prompts(path, MOVIES), tmp_path / "run", settings, judge=judge)
    assert [line["label"] for line in done.lines] == [n % 2 for n in range(20)]
    assert len({line["yes_logit"] for line in done.lines}) == 20
    text = judge.question("Will they like movie 0? Yes or No").text
    assert text.count("<|im_start|>") == 2 and "taste" not in text  # the user's turn, and no system line of ours
    lines = tmp_path / "p.jsonl"
    split = [{"instruction": e["input"], "input": "", "output": e["output"]} for e in entries]
    lines.write_text("\n".join(map(json.dumps, split)))
    same = evaluate_prompts(read_prompts(lines, MOVIES), tmp_path / "run2", settings, judge=judge)
    assert same.gaps.tolist() == done.gaps.tolist()
    assert report(done)["samples"] == 20 and "baselines" not in done.lines[0]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"input": "x", "output": "Maybe"}], r"entry\[0\]: output is text \('Maybe'\); give Yes or No"),
        ([{"input": "x", "output": "No"}, {"output": "No"}], r"entry\[1\]: input is null"),
        ([{"input": "x"}], "output is null"),
        ([{"input": "x", "output": "Nobody knows"}], "output is text"),
        (["x"], r"entry\[0\]: is text"),
        ([], "list that is not empty"),
        ({"input": 1}, "list that is not empty"),
        ([{"input": "movie " * 9000, "output": "No"}], r"entry\[0\]: a prompt of \d+ tokens does not fit"),
    ],
)
def test_bad_ready_prompts_are_refused_by_their_place(judge: Rella, tmp_path: Path, entries: object, said: str) -> None:
    path = write_prompts(tmp_path / "p.json", entries)
    with pytest.raises(InputError, match=said):
        evaluate_prompts(read_prompts(path, MOVIES), tmp_path / "run", EvaluationSettings(), judge=judge)
    assert not (tmp_path / "run").exists()


def test_evaluate_and_score_agree_where_items_are_alike(judge: Rella, tmp_path: Path) -> None:
    # Many items with one text: equal vectors everywhere, so that SUBR's choice hangs on ties alone.
    from rella_cpp import build_index, prepare

    ratings = random_ratings(seed=5, users=12, movies=12, most=12)
    files = ml_1m(ratings, movies=12, users=12)
    files["ml-1m/movies.dat"] = "".join(f"{n}::Film {n % 2} (1999)::Drama\n" for n in range(1, 13)).encode()
    data = prepare("ml-1m", write_files(tmp_path / "a.zip", files), tmp_path / "data")
    index = build_index(judge.vectors, data.all_items(), tmp_path / "index")
    judge.use_index(index)
    for k, order in ((1, "time"), (2, "similarity"), (4, "reversed")):
        (done,) = run(data, tmp_path / f"run{k}", judge, index, limit=20, ks=(k,), retrieval="subr", order=order)
        for line in done.lines:
            row, samples = line["sample"], data.samples
            score = judge.score(
                data.history(int(samples.user[row]), int(samples.position[row])),
                data.item(int(samples.item[row])),
                user=data.user(int(samples.user[row])),
                k=k,
                order=order,  # type: ignore[arg-type]
            )
            assert (line["yes_logit"], line["used"]) == (score.yes_logit, list(score.used))


def test_an_index_of_another_catalog_is_refused_though_ids_coincide(
    judge: Rella, small_data: DataSet, tmp_path: Path
) -> None:
    from rella_cpp import build_index

    invented = [
        Item({"id": item.fields["id"], "title": f"Invented {n}"}) for n, item in enumerate(small_data.all_items())
    ]
    index = build_index(judge.vectors, invented, tmp_path / "i")
    with pytest.raises(InputError, match="has 'Invented 0' under the id 1, not \"The Matrix"):
        Histories(small_data, index, MOVIES)


def test_a_forced_start_does_not_break_into_a_running_one(small_data: DataSet, tmp_path: Path) -> None:
    from rella_cpp.evaluation.runs import RunWriter

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
    ("name", "text", "said"),
    [
        ("predictions.jsonl", "nonsense\n", "holds 0 lines of 60"),
        ("run.json", "{", "run.json: is damaged"),
        ("predictions.jsonl", '{"sample": 999, "label": 0}\n' * 60, "line 1: is not sample"),
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
