import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rella_cpp import Calibration, DataSet, EvaluationSettings, Histories, InputError, Rella, Run, evaluate, load_domain
from rella_cpp import fit_calibration as fit
from rella_cpp.evaluation.baselines.statistics import RatingStatistics
from rella_cpp.evaluation.runs import RunWriter
from rella_cpp.metrics.probabilities import Losses
from rella_cpp.scoring.ratings.models import Rated
from rella_cpp.scoring.ratings.statistics import STATISTICS, statistics_of
from rella_cpp.storage.artifacts import write_json

JUDGE = {"model": {"name": "m", "fingerprint": "f"}, "domain": {"fingerprint": "d"}, "chat_format": "none"}
READING = {"k": 5, "retrieval": "recent", "order": "time"}


def fake_run(folder: Path, n: int = 2000, split: str = "valid", one_label: bool = False, **more: Any) -> Run:
    """A run whose true click probability is σ(0.4 gap - 1 + 0.8 (mean_all - 3))."""
    random = np.random.default_rng(4)
    writer = RunWriter(
        folder,
        {"data": {"name": "x"}, "samples": {"split": split, "count": n}, "reading": READING, "judge": JUDGE, **more},
        list(range(n)),
    )
    lines = []
    for sample in range(n):
        gap, mean = random.normal(0, 3), random.uniform(1, 5)
        label = random.random() < 1 / (1 + np.exp(-(0.4 * gap - 1 + 0.8 * (mean - 3))))
        line = {"sample": sample, "label": int(label and not one_label), "probability": 1 / (1 + np.exp(-gap))}
        line |= {
            "yes_logit": gap,
            "no_logit": 0.0,
            "answer_mass": 0.9,
            "empty_gap": 1.5,
            "contrast": 1 / (1 + np.exp(1.5 - gap)),
        }
        line["statistics"] = dict.fromkeys(STATISTICS, 1.0) | {"mean_all": mean, "item_mean": random.normal()}
        lines.append(line)
    writer.write(lines)
    run = writer.finish()
    write_json(folder / "ratings.json", {"mean": 3.0, "items": {"7": ["Seven", 4.5, 12], "9": [3.5, 2]}})
    return run


def test_platt_scaling_finds_the_slope_that_made_the_data(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", 20000)
    found = fit(run)
    # The mean rating, unseen here, spreads the log odds by about 0.92: a slope of .4 shrinks to about .36.
    assert found.weights["gap"] == pytest.approx(0.36, abs=0.03) and not found.blend
    figures = found.fitted_on["figures"]
    assert figures["LogLoss"][1] < figures["LogLoss"][0] and figures["ECE"][1] < figures["ECE"][0]
    assert figures["AUC"][0] == pytest.approx(figures["AUC"][1], abs=1e-3)  # monotone, but for the five folds' seams
    contrast = fit(run, contrast=True)
    assert contrast.weights["gap"] == pytest.approx(found.weights["gap"], abs=1e-3)
    assert contrast.offset == pytest.approx(found.offset + 1.5 * found.weights["gap"], abs=1e-2)
    again = 1 / (1 + np.exp(-np.array([found.probability(gap) for gap in (-1.0, 0.0)])))
    assert again[0] < again[1]


def test_a_blend_finds_every_weight_and_is_better(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", 20000)
    found = fit(run, blend=True)
    assert found.weights["gap"] == pytest.approx(0.4, abs=0.03)
    assert found.weights["mean_all"] == pytest.approx(0.8, abs=0.06)
    chances = np.array(
        [found.probability(gap, None, line["statistics"]) for gap, line in zip(run.gaps, run.lines, strict=True)]
    )
    blended = Losses.of(run.labels, chances).log_loss.mean()
    # Cross-validated figures are a little worse than those of the fit on its own samples, and say what to expect.
    assert blended < found.fitted_on["figures"]["LogLoss"][1] < blended + 0.002
    assert found.certain and not fit(fake_run(tmp_path / "few", 200), blend=True).certain
    assert blended < fit(run).fitted_on["figures"]["LogLoss"][1] - 0.02


def test_a_blend_does_not_go_beyond_what_it_was_fitted_on(tmp_path: Path) -> None:
    found = fit(fake_run(tmp_path / "run"), blend=True)
    assert found.ranges is not None
    low, mean, high = found.ranges["mean_all"]
    inside = dict.fromkeys(STATISTICS, 1.0)
    for beyond, end in ((99.0, high), (-9.0, low)):
        ends = [found.probability(0, None, inside | {"mean_all": value}) for value in (beyond, end)]
        assert ends[0] == ends[1]
    # An item that it does not know is an average one, not one that nobody ever rated.
    models = found.models
    assert models is not None
    assert models.row(7) == models.row("7") == models.row(None, "seven") == 0 and models.row("9") == 1
    assert models.row(8) is None and models.row(None) is None
    unknown, known = found.ratings([Rated(None, 4.0)], None), found.ratings([Rated(None, 4.0)], 0)
    assert unknown is not None and known is not None
    assert unknown["item_mean"] == found.ranges["item_mean"][1] and known["item_mean"] == 4.5


def test_it_is_readable_json_and_comes_back_the_same(tmp_path: Path) -> None:
    for blend in (False, True):
        found = fit(fake_run(tmp_path / f"run{blend}"), blend=blend)
        found.save(tmp_path / "cal.json")
        again = Calibration.load(tmp_path / "cal.json")
        assert again == found and again.fingerprint == found.fingerprint
        value = json.loads((tmp_path / "cal.json").read_text())
        assert value["kind"] == ("blend" if blend else "platt") and ("ratings" in value) == blend


def test_a_blend_of_before_is_read(tmp_path: Path) -> None:
    found = fit(fake_run(tmp_path / "run"), blend=True)
    found.save(tmp_path / "cal.json")
    value = json.loads((tmp_path / "cal.json").read_text())
    del value["ratings"]
    value |= {"format": 1, "popularity": {"mean": 3.0, "items": {"7": [4.5, 12]}}}
    (tmp_path / "cal.json").write_text(json.dumps(value))
    before = Calibration.load(tmp_path / "cal.json")
    assert before.weights == found.weights and before.models is not None
    assert before.models.as_dict() == value["popularity"]
    assert before.ratings([Rated(None, 4.0)], 0) == found.ratings([Rated(None, 4.0)], 0)


def test_it_is_fitted_on_validation_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a run on the split test; calibrate on validation only"):
        fit(fake_run(tmp_path / "test", split="test"))
    with pytest.raises(InputError, match="is a run on the split train"):
        fit(fake_run(tmp_path / "train", split="train"))
    with pytest.raises(InputError, match="has 19 samples"):
        fit(fake_run(tmp_path / "few", 19))
    with pytest.raises(InputError, match="one label only"):
        fit(fake_run(tmp_path / "one", one_label=True))


def test_it_holds_for_what_it_was_fitted_for_alone(tmp_path: Path) -> None:
    found = fit(fake_run(tmp_path / "run"))
    found.check(JUDGE)
    found.check(JUDGE, READING)
    for judge, reading, said in (
        ({**JUDGE, "model": {"name": "m", "fingerprint": "g"}}, None, "another judge.model.fingerprint: f, not g"),
        ({**JUDGE, "model": {"name": "m", "fingerprint": "f", "adapters": [1]}}, None, "judge.model.adapters"),
        ({**JUDGE, "domain": {"fingerprint": "e"}}, None, "judge.domain.fingerprint"),
        (JUDGE, {**READING, "k": 30}, "reading.k: 5, not 30"),
    ):
        with pytest.raises(InputError, match=said):
            found.check(judge, reading)


def test_a_key_that_is_missing_is_found_by_another_name(tmp_path: Path) -> None:
    path = tmp_path / "cal.json"
    fit(fake_run(tmp_path / "run")).save(path)
    path.write_text(path.read_text().replace('"offset"', '"Offset"'))
    with pytest.raises(InputError, match="cal.json: is no calibration: has no offset, found Offset; did you mean"):
        Calibration.load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("[]", "no JSON object"),
        ("{", "is damaged"),
        ({"format": 3}, "is of format '3'"),
        ({"weights": {}}, r"is no calibration: its weights is an object \('{}'\)"),
        ({"weights": {"gap": "steep"}}, r"""is no calibration: its weights is an object \('{"gap": "steep"}'\)"""),
        ({"offset": None}, "is no calibration: its offset is null; make one"),
        ({"made_for": 3}, r"is no calibration: its made_for is a number \('3'\)"),
        ({"made_for": {"judge": {}}}, "is no calibration"),
        ({"kind": "blend"}, "is no calibration"),
        ({"contrast": "no"}, r"is no calibration: its contrast is text \('no'\)"),
        ({"made_for": {"judge": {}, "reading": True}}, "is no calibration: its made_for is an object"),
        ('{"format": 1, "offset": NaN}', "is damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    path = tmp_path / "cal.json"
    fit(fake_run(tmp_path / "run")).save(path)
    path.write_text(change if isinstance(change, str) else json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=said):
        Calibration.load(path)
    with pytest.raises(InputError, match="No such file"):
        Calibration.load(tmp_path / "nothing.json")


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=1, max_size=40), st.integers(0, 1))
def test_statistics_of_a_history_are_brute_force(ratings: list[float | None], known: int) -> None:
    found = statistics_of(ratings, (4.0, 9.0) if known else (3.3, 0.0), 3.3)
    rated = [rating for rating in ratings if rating is not None]
    last = [rating for rating in ratings[-5:] if rating is not None]
    assert found["mean_all"] == pytest.approx(np.mean(rated) if rated else 3.3)
    assert found["mean_last_5"] == pytest.approx(np.mean(last) if last else 3.3)
    assert found["item_mean"] == (4.0 if known else 3.3)
    assert found["log_item_count"] == pytest.approx(np.log(10.0 if known else 1.0))
    assert found["log_behaviors"] == pytest.approx(np.log1p(len(ratings)))


def test_statistics_of_samples_use_training_and_earlier_behaviors_only(small_data: DataSet) -> None:
    computed = RatingStatistics(small_data)
    samples, known = small_data.samples, small_data.interactions
    assert known.rating is not None
    ends: dict[int, int] = {}
    for row in samples.rows("train").tolist():
        ends[int(samples.user[row])] = int(samples.position[row])  # positions ascend
    train: dict[int, list[float]] = {}
    for user, end in ends.items():
        for place in range(known.starts[user], known.starts[user] + end + 1):
            train.setdefault(int(known.item[place]), []).append(float(known.rating[place]))
    everything = [rating for ratings in train.values() for rating in ratings]
    mean = float(np.mean(everything))
    rows = np.arange(len(samples.user))
    for row, found in zip(rows, computed.of(rows), strict=True):
        item, start = int(samples.item[row]), int(known.starts[samples.user[row]])
        earlier = known.rating[start : start + samples.position[row]]
        own = train.get(item, []).copy()
        if samples.split[row] == 0:  # a training sample's own rating is not its item's
            own.remove(float(known.rating[start + samples.position[row]]))
        wanted = [
            earlier.mean(),
            earlier[-5:].mean(),
            earlier[-30:].mean(),
            np.log1p(len(earlier)),
            (sum(own) + 10 * mean) / (len(own) + 10),
            np.log1p(len(own)),
        ]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("blend", [False, True])
@pytest.mark.parametrize("contrast", [False, True])
def test_scores_are_calibrated_as_evaluate_does(
    judge: Rella, small_data: DataSet, tmp_path: Path, blend: bool, contrast: bool
) -> None:
    def run(name: str, split: str, calibrations: Sequence[Calibration] = ()) -> Run:
        settings = EvaluationSettings(split, 40, ks=(3,), retrieval="recent")
        histories = Histories(small_data, None, load_domain("movies"))
        return evaluate(histories, tmp_path / name, settings, judge=judge, calibrations=calibrations)[0]

    judge.contrast = contrast
    found = fit(run("valid", "valid"), blend=blend, contrast=contrast)
    tested = run("test", "test", [found])
    judge.use_calibration(found)
    for line in tested.lines[:5]:
        row, samples = line["sample"], small_data.samples
        score = judge.score(
            small_data.history(int(samples.user[row]), int(samples.position[row])),
            small_data.item(int(samples.item[row])),
            user=small_data.user(int(samples.user[row])),
            k=3,
            retrieval="recent",
        )
        assert score.calibrated == pytest.approx(line["calibrated"][found.name]) and score.best == score.calibrated
        assert score.as_dict()["calibrated"] == score.calibrated
        assert (score.empty_gap is not None) == contrast
    with pytest.raises(InputError, match=r"another reading.k: 3, not 4"):
        judge.score([{"title": "A", "rating": 3}], {"title": "B"}, k=4, retrieval="recent")


def test_a_blend_without_ratings_is_refused(judge: Rella, tmp_path: Path) -> None:
    found = fit(fake_run(tmp_path / "run", judge=dict(judge.settings())), blend=True)
    judge.use_calibration(found)
    reading: Any = READING
    with pytest.raises(InputError, match="blends ratings, and no behavior has one"):
        judge.score([{"title": "A"}], {"title": "B"}, **reading)
    rated = [{"title": "A", "rating": 4}]
    known = judge.score(rated, {"id": 7, "title": "B"}, **reading)
    unknown = judge.score(rated, {"id": 8, "title": "B"}, **reading)
    for same in (7.0, "7", "7.0"):  # as tables with gaps write it
        assert judge.score(rated, {"id": same, "title": "B"}, **reading).calibrated == known.calibrated
    assert known.calibrated != unknown.calibrated and known.probability == unknown.probability


def test_contrast_is_the_gap_above_that_with_no_history_and_is_kept(judge: Rella) -> None:
    history, item = [{"title": "Heat", "rating": 5}], {"title": "Alien"}
    plain = judge.score(history, item, user={"age": "25-34"})
    empty = judge.score([], item, allow_empty_history=True)
    assert plain.contrast is None and "contrast" not in plain.as_dict()
    judge.contrast = True
    score = judge.score(history, item, user={"age": "25-34"})
    assert score.empty_gap == empty.gap and score.probability == plain.probability
    assert score.contrast == pytest.approx(1 / (1 + np.exp(empty.gap - plain.gap))) == score.best
    before = judge.engine.decoded_tokens
    again = judge.score(history, item, user={"age": "25-34"})
    assert again == score and judge.engine.decoded_tokens - before < score.prompt_tokens  # no second prompt


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file["ratings"]["items"].update({"7": []}),
        lambda file: file["ratings"]["items"].update({"7": [3.5]}),
        lambda file: file["weights"].update(gap=10**400),
        lambda file: file.update(offset=10**400),
        lambda file: file["ranges"].pop("item_mean"),
        lambda file: file["ranges"].update(item_mean=[3, 2, 1]),
        lambda file: file["ranges"].update(log_item_count=[0, 1000, 2000]),
        lambda file: file["ratings"]["items"].update({"7": [3.5, -2]}),
        lambda file: file.update(fitted_on=[1]),
        lambda file: file.update(fitted_on={"samples": "many"}),
    ],
)
def test_a_blend_that_was_changed_by_hand_is_one_line(tmp_path: Path, change: Any) -> None:
    fit(fake_run(tmp_path / "run"), blend=True).save(tmp_path / "blend.json")
    file = json.loads((tmp_path / "blend.json").read_text())
    change(file)
    (tmp_path / "blend.json").write_text(json.dumps(file))
    with pytest.raises(InputError, match="is no calibration"):
        Calibration.load(tmp_path / "blend.json")


def test_a_blend_of_levels_refuses_a_model_that_does_not_say_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the calibration needs level 1, which this model does not give"):
        Calibration({"level 1": 1.0, "level 2": 2.0}, 0.0, False, {}, {}).probability(1.0)


def test_a_blend_of_other_data_is_refused(tmp_path: Path) -> None:
    found = fit(fake_run(tmp_path / "run", data={"name": "mine", "fingerprint": "a"}), blend=True)
    found.check_data({"name": "moved", "fingerprint": "a"})
    with pytest.raises(InputError, match="fitted on the data 'mine', not 'other'"):
        found.check_data({"name": "other", "fingerprint": "b"})
