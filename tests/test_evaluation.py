import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judges import MOVIES, Mean, run
from look_alikes import ml_1m, random_ratings, write_files

from rella_cpp import (
    DataSet,
    EvaluationSettings,
    Histories,
    InputError,
    Item,
    ItemIndex,
    Rella,
    build_index,
    open_runs,
    prepare,
    report,
)
from rella_cpp.evaluation.clicks import drawn


def test_a_run_has_one_line_a_sample_and_metrics_from_that_file(small_data: DataSet, tmp_path: Path) -> None:
    (done,) = run(small_data, tmp_path / "run", Mean())
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "cost.json",
        "predictions.jsonl",
        "ratings.json",
        "run.json",
    ]
    rows = drawn(small_data, EvaluationSettings("train", 60))
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
    assert found.pop("cost")["decoded_tokens"] == 300
    assert found["samples"] == 60 and found.items() <= json.loads((done.folder / "metrics.json").read_text()).items()
    # The judge is the mean of the last five, so it ranks as that baseline does.
    assert found["metrics"]["model"]["auc"] == found["metrics"]["last_5"]["auc"]
    assert not found["differences"]["model"]["last_5"]["auc"]["distinguishable"]
    assert any("last_5" in sentence and "not distinguishable" in sentence for sentence in found["verdicts"])
    assert "similarity baseline left out: it needs --index" in found["notes"]


def test_users_are_drawn_with_all_their_samples(small_data: DataSet) -> None:
    owner = small_data.samples.user
    few, many, every = (drawn(small_data, EvaluationSettings("train", limit_users=count)) for count in (3, 6, 10**6))
    assert [len(set(owner[rows].tolist())) for rows in (few, many)] == [3, 6]
    assert set(few.tolist()) < set(many.tolist()) < set(every.tolist())
    assert every.tolist() == small_data.samples.rows("train").tolist()
    assert few.tolist() == [row for row in every.tolist() if owner[row] in owner[few]]


def test_the_same_samples_are_drawn_and_a_smaller_limit_is_part_of_a_greater(small_data: DataSet) -> None:
    few, many = (drawn(small_data, EvaluationSettings("train", limit)).tolist() for limit in (20, 50))
    assert set(few) < set(many) and len(few) == 20
    assert drawn(small_data, EvaluationSettings("train", 20, ks=(3,))).tolist() == few
    assert drawn(small_data, EvaluationSettings("train", 20, seed=1)).tolist() != few
    assert drawn(small_data, EvaluationSettings("test", 10**6)).tolist() == small_data.samples.rows("test").tolist()


def test_a_sweep_makes_one_run_for_each_k_and_reads_equal_prompts_once(small_data: DataSet, tmp_path: Path) -> None:
    judge = Mean()
    runs = run(small_data, tmp_path / "sweep", judge, ks=(3, 50, 60))
    assert [done.folder.name for done in runs] == ["k3", "k50", "k60"]
    lengths = [int(small_data.samples.position[row]) for row in runs[0].samples]  # type: ignore[call-overload]
    assert max(lengths) <= 50 and len(judge.calls) == 2 * 60  # K = 60 shows every sample what K = 50 shows it
    for done, k in zip(runs, (3, 50, 60), strict=True):
        (alone,) = run(small_data, tmp_path / f"alone{k}", Mean(), ks=(k,))
        assert (alone.folder / "predictions.jsonl").read_bytes() == (done.folder / "predictions.jsonl").read_bytes()
    assert [opened.folder for opened in open_runs([tmp_path / "sweep"])] == [done.folder for done in runs]


@pytest.mark.parametrize("retrieval", ["recent", "subr"])
@pytest.mark.parametrize("order", ["time", "similarity"])
def test_evaluate_and_score_agree_to_the_last_bit_where_exact(
    exact_judge: Rella, small_data: DataSet, small_index: ItemIndex, tmp_path: Path, retrieval: str, order: str
) -> None:
    judge = exact_judge
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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"split": "all"}, "split is 'all'"),
        ({"limit": 0}, "limit is 0"),
        ({"limit_users": 0}, "limit_users is 0"),
        ({"limit_users": 3, "limit": 3}, "samples and users are both drawn"),
        ({"seed": -1}, "seed is -1"),
        ({"ks": (0,)}, "K is '0'"),
        ({"ks": (10**23,)}, "K is '1"),
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
    index = build_index(judge.vectors, small_data.all_items()[:-3], tmp_path / "i")
    with pytest.raises(InputError, match=r"lacks \d of the \d+ items .*rella index add"):
        Histories(small_data, index, MOVIES)


def test_evaluate_and_score_agree_where_items_are_alike(exact_judge: Rella, tmp_path: Path) -> None:
    judge = exact_judge
    # Many items with one text: equal vectors everywhere, so that SUBR's choice hangs on ties alone.
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
    invented = [
        Item({"id": item.fields["id"], "title": f"Invented {n}"}) for n, item in enumerate(small_data.all_items())
    ]
    index = build_index(judge.vectors, invented, tmp_path / "i")
    with pytest.raises(InputError, match="has 'Invented 0' under the id 1, not \"The Matrix"):
        Histories(small_data, index, MOVIES)
