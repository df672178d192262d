import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from judges import MOVIES
from tiny_model import Shape, write_adapter, write_model

from rella_cpp import (
    Cache,
    DataSet,
    EvaluationSettings,
    Examples,
    Head,
    Histories,
    InputError,
    ItemIndex,
    Rella,
    TuningSettings,
    User,
    evaluate,
    fit_calibration,
    report,
    tune_head,
)
from rella_cpp.prompts.yes_no import write_prompt
from rella_cpp.scoring.head import read_features


class Killed(BaseException):
    pass


def examples(data: DataSet, index: ItemIndex | None, **settings: Any) -> Examples:
    chosen = TuningSettings(**{"shots": 40, "k": 5, **settings})
    return Examples(data, Histories(data, index, MOVIES), MOVIES, chosen)


def relabelled(data: DataSet, labels: npt.NDArray[np.int8]) -> DataSet:
    other = DataSet.open(data.folder)
    other.__dict__["samples"] = replace(data.samples, label=labels)
    return other


@pytest.fixture
def head(small_data: DataSet, small_index: ItemIndex, judge: Rella, tmp_path: Path) -> Head:
    return tune_head(examples(small_data, small_index), judge, tmp_path / "head")


def test_a_head_learns_what_hidden_states_tell(
    small_data: DataSet, small_index: ItemIndex, judge: Rella, tmp_path: Path
) -> None:
    # Labels that are a function of what the model reads, its gap's sign: a head finds it, the yes/no answer is fixed.
    chosen = examples(small_data, small_index, shots=100, mix="original")
    listed = list(chosen.training())
    labels = small_data.samples.label.copy()
    gaps = [answer.gap for answer in judge.answers([judge.prompts.question(example.text) for example in listed])]
    middle = float(np.median(gaps))
    for example, gap in zip(listed, gaps, strict=True):
        labels[example.sample] = gap > middle
    taught = examples(relabelled(small_data, labels), small_index, shots=100, mix="original")
    head = tune_head(taught, judge, tmp_path / "head", parts=["gap"])
    assert head.fitted_on["cross_validated"]["AUC"] > 0.99
    assert np.count_nonzero(head.weights) == 1 and head.weights[-1] > 0


def test_features_are_the_last_state_the_mean_and_the_gap() -> None:
    hidden = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert read_features(hidden, 0.5).tolist() == [8, 9, 10, 11, 4, 5, 6, 7, 0.5]


def test_a_score_by_a_head_is_what_its_weights_say(head: Head, exact_judge: Rella, small_data: DataSet) -> None:
    judge = exact_judge  # `states` and `score` read the same prompt in calls of the same shape
    history, item = small_data.history(5, 12), small_data.item(3)
    plain = judge.score(history, item, retrieval="recent")
    assert plain.head is None and "head" not in plain.as_dict()
    judge.use_head(head)
    score = judge.score(history, item, retrieval="recent")
    behaviors = [behavior for behavior in history if behavior.item != item]
    question = judge.prompts.question(write_prompt(MOVIES, User(), behaviors, item))
    ((hidden, answer),) = judge.reader.states([question])
    expected = float(read_features(hidden, answer.gap).astype(np.float64) @ head.weights + head.offset)
    assert score.head_logit == pytest.approx(expected, abs=1e-9) and score.gap == score.head_logit
    assert score.best == score.head == pytest.approx(1 / (1 + np.exp(-expected)))
    assert score.probability == pytest.approx(plain.probability, abs=1e-3)
    assert {"head", "head_logit"} <= score.as_dict().keys()
    assert judge.score(history, item, retrieval="recent") == score


def test_a_head_comes_back_from_disk_as_it_was(head: Head, tmp_path: Path) -> None:
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == ["head.safetensors", "manifest.json"]
    loaded = Head.load(tmp_path / "head")
    assert loaded.fingerprint == head.fingerprint and loaded.made_for == head.made_for
    assert loaded.fitted_on["rows"] == 80 and loaded.fitted_on["samples"]["shots"] == 40
    assert not (tmp_path / "head.features").exists()


def test_a_killed_fit_goes_on_and_ends_the_same(
    small_data: DataSet, small_index: ItemIndex, judge: Rella, tmp_path: Path
) -> None:
    whole = tune_head(examples(small_data, small_index), judge, tmp_path / "whole")
    seen: list[int] = []

    def stop(_task: str, done: int, _total: int, _note: str = "") -> None:
        seen.append(done)
        if len(seen) == 2:
            raise Killed

    with pytest.raises(Killed):
        tune_head(examples(small_data, small_index), judge, tmp_path / "head", progress=stop)
    with (tmp_path / "head.features/features.part").open("ab") as file:
        file.write(b"half a row")
    with pytest.raises(InputError, match=r"begun with another samples\.k: 5, not 4"):
        tune_head(examples(small_data, small_index, k=4), judge, tmp_path / "head")
    done = tune_head(examples(small_data, small_index), judge, tmp_path / "head", progress=lambda *a: seen.append(a[1]))
    assert seen == [16, 32, 48, 64, 80]
    assert done.fingerprint == whole.fingerprint


def test_a_head_on_top_of_an_adapter_is_another_one_and_wants_it(
    small_data: DataSet, judge: Rella, head: Head, tmp_path: Path
) -> None:
    judge.adapters = [(write_adapter(tmp_path / "a.gguf"), 0.2)]
    with pytest.raises(InputError, match=r"another model\.adapters.*--allow-mismatch"):
        judge.use_head(tmp_path / "head")
    judge.use_head(tmp_path / "head", allow_mismatch=True)


def test_evaluation_and_calibration_go_by_the_head(
    small_data: DataSet, small_index: ItemIndex, exact_judge: Rella, head: Head, tmp_path: Path
) -> None:
    judge = exact_judge
    histories = Histories(small_data, small_index, MOVIES)
    judge.use_index(small_index)

    def evaluated(name: str, **more: Any) -> Any:
        settings = EvaluationSettings(split="valid", limit=40, ks=(5,))
        return evaluate(histories, tmp_path / name, settings, judge=judge, **more)[0]

    plain = evaluated("plain")
    judge.use_head(head)
    run = evaluated("run")
    assert list(run.predictors())[:2] == ["model", "head"]
    np.testing.assert_allclose(run.predictors()["model"], plain.predictors()["model"], atol=1e-3)
    np.testing.assert_allclose(run.predictors()["head"], 1 / (1 + np.exp(-run.gaps)), atol=1e-12)
    assert "head" in report(run)["metrics"] and "head" in report(run)["differences"]
    platt = fit_calibration(run)
    assert platt.made_for["judge"]["model"]["head"] == head.fingerprint
    judge.use_calibration(platt)
    calibrated = evaluated("calibrated", calibrations=[platt])
    found, scores = calibrated.predictors(), run.gaps
    wanted = [platt.probability(gap) for gap in scores]
    np.testing.assert_allclose(found["platt"], wanted)
    with pytest.raises(InputError, match=r"another judge\.model\.head: [0-9a-f]{12}, not none"):
        _without_head(judge).use_calibration(platt)


def _without_head(judge: Rella) -> Rella:
    return Rella(judge.engine, judge.domain, cache=Cache(None))


def test_a_head_and_a_contrast_do_not_go_together(judge: Rella, head: Head, small_data: DataSet) -> None:
    judge.use_head(head)
    judge.contrast = True
    with pytest.raises(InputError, match="no contrast"):
        judge.score(small_data.history(5, 12), small_data.item(3), retrieval="recent")


def test_a_head_for_another_width_is_refused_even_if_a_mismatch_is_allowed(head: Head, tmp_path: Path) -> None:
    wide = write_model(tmp_path / "wide.gguf", shape=Shape(embd=32, ctx=4096))
    with Rella.from_gguf(wide, cache=Cache(None)) as other:
        with pytest.raises(InputError, match="of the width 16, the model's is 32"):
            other.use_head(head, allow_mismatch=True)


def _broken(name: str, change: Callable[[Path], object]) -> Any:
    return pytest.param(change, id=name)


@pytest.mark.parametrize(
    "change",
    [
        _broken("no manifest", lambda folder: (folder / "manifest.json").unlink()),
        _broken("changed", lambda folder: _edit(folder, "fitted_on", {})),
        _broken("foreign", lambda folder: (folder / "manifest.json").write_text('{"format": 1}')),
        _broken("no weights", lambda folder: (folder / "head.safetensors").unlink()),
        _broken("cut weights", lambda folder: (folder / "head.safetensors").write_bytes(b"\x08")),
    ],
)
def test_a_damaged_head_is_refused(head: Head, tmp_path: Path, change: Callable[[Path], object]) -> None:
    change(tmp_path / "head")
    with pytest.raises(InputError, match="rella tune head"):
        Head.load(tmp_path / "head")


def _edit(folder: Path, key: str, value: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


def test_what_cannot_be_fitted_is_refused(
    small_data: DataSet, small_index: ItemIndex, judge: Rella, tmp_path: Path
) -> None:
    chosen = examples(small_data, small_index)
    with pytest.raises(InputError, match="cannot read middle"):
        tune_head(chosen, judge, tmp_path / "head", parts=["middle"])
    with pytest.raises(InputError, match="too few"):
        tune_head(examples(small_data, small_index, shots=5), judge, tmp_path / "head")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/novel.txt").write_text("mine")
    with pytest.raises(InputError, match="no head: it is not overwritten"):
        tune_head(chosen, judge, tmp_path / "mine", force=True)
    liked = relabelled(small_data, np.ones_like(small_data.samples.label))
    with pytest.raises(InputError, match="one label"):
        tune_head(examples(liked, small_index), judge, tmp_path / "head")


def test_a_head_is_taken_off_and_refuses_other_adapters(
    judge: Rella, head: Head, small_data: DataSet, tmp_path: Path
) -> None:
    judge.use_head(head)
    with pytest.raises(InputError, match=r"another model\.adapters: none, not a\.gguf × 0\.2"):
        judge.adapters = [(write_adapter(tmp_path / "a.gguf"), 0.2)]
    assert judge.adapters == ()
    history, item = small_data.history(5, 12), small_data.item(3)
    assert judge.score(history, item, retrieval="recent").model.head == head.fingerprint
    judge.use_head(None)
    assert judge.score(history, item, retrieval="recent").head is None


def test_a_finished_fit_given_again_is_the_head_that_is_there(
    small_data: DataSet, small_index: ItemIndex, judge: Rella, head: Head, tmp_path: Path
) -> None:
    before = judge.engine.decoded_tokens
    again = tune_head(examples(small_data, small_index), judge, tmp_path / "head")
    assert again.fingerprint == head.fingerprint and judge.engine.decoded_tokens == before
    with pytest.raises(InputError, match=r"another samples\.k: 5, not 4.*--force"):
        tune_head(examples(small_data, small_index, k=4), judge, tmp_path / "head")
    other = tune_head(examples(small_data, small_index, k=4), judge, tmp_path / "head", force=True)
    assert Head.load(tmp_path / "head").fingerprint == other.fingerprint != head.fingerprint


@pytest.mark.parametrize("damage", ["noise", "more", "no settings", "foreign"])
def test_damaged_features_are_found(
    small_data: DataSet, small_index: ItemIndex, judge: Rella, tmp_path: Path, damage: str
) -> None:
    chosen = examples(small_data, small_index)
    whole = tune_head(chosen, judge, tmp_path / "whole")

    def stop(*_: object) -> None:
        raise Killed

    folder = tmp_path / "head.features"
    if damage == "foreign":
        folder.mkdir()
        (folder / "features.part").write_text("mine")
    else:
        with pytest.raises(Killed):
            tune_head(chosen, judge, tmp_path / "head", progress=stop)
        path = folder / "features.part"
        data = path.read_bytes()
        if damage == "noise":
            path.write_bytes(data[:40] + b"\xff\xff" + data[42:])
        elif damage == "more":
            path.write_bytes(data * 20)
        else:
            (folder / "settings.json").unlink()
    with pytest.raises(InputError):
        tune_head(chosen, judge, tmp_path / "head")
    if damage in ("noise", "more"):
        assert tune_head(chosen, judge, tmp_path / "head", force=True).fingerprint == whole.fingerprint
    else:
        assert (folder / "features.part").exists()


def test_a_head_read_otherwise_than_it_was_fitted_says_so(
    judge: Rella, head: Head, small_data: DataSet, caplog: pytest.LogCaptureFixture
) -> None:
    judge.use_head(head)
    for _ in range(2):
        judge.score(small_data.history(5, 12), small_data.item(3), retrieval="recent", k=17)
    assert caplog.text.count("fitted on 5 behaviors in the order time, not 17") == 1
