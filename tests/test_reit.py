import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judges import MOVIES
from look_alikes import ml_1m, random_ratings, write_files

from rella_cpp import (
    Cache,
    ContextError,
    DataSet,
    EngineSettings,
    Example,
    Examples,
    Histories,
    InputError,
    ItemIndex,
    Rella,
    TuningSettings,
    export_rows,
    prepare,
)


def examples(data: DataSet, index: ItemIndex | None, **settings: Any) -> Examples:
    chosen = TuningSettings(**{"shots": 40, "k": 5, **settings})
    return Examples(data, Histories(data, index, MOVIES), MOVIES, chosen)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def split_of(data: DataSet, row: int) -> int:
    return int(data.samples.split[row])


def test_each_sample_comes_twice_from_training_alone_and_never_shows_its_target(
    small_data: DataSet, small_index: ItemIndex
) -> None:
    found = list(examples(small_data, small_index).training())
    assert [example.retrieval for example in found] == ["recent", "subr"] * 40
    recent, retrieved = found[::2], found[1::2]
    assert [example.sample for example in recent] == [example.sample for example in retrieved]
    assert len({example.sample for example in found}) == 40
    samples, known = small_data.samples, small_data.interactions
    different = 0
    for pair in zip(recent, retrieved, strict=True):
        for example in pair:
            row = example.sample
            assert split_of(small_data, row) == 0 and example.label == bool(samples.label[row])
            assert len(example.used) == 5 and max(example.used) < samples.position[row]
            shown = known.item[known.starts[samples.user[row]] + np.array(example.used)]
            assert samples.item[row] not in shown
            title = small_data.item(int(samples.item[row])).fields["title"]
            assert str(title) in example.text.target and str(title) not in example.text.history
        assert list(pair[0].used) == list(range(int(samples.position[pair[0].sample])))[-5:]
        different += pair[0].used != pair[1].used
    assert different > 20


def test_fewer_shots_are_the_beginning_of_more(small_data: DataSet, small_index: ItemIndex) -> None:
    def drawn(**settings: Any) -> list[Example]:
        return list(examples(small_data, small_index, **settings).training())

    assert drawn(shots=10) == drawn(shots=30)[:20]
    assert drawn(shots=10, seed=1) != drawn(shots=10)


@pytest.mark.parametrize("order", ["time", "reversed", "similarity"])
def test_behaviors_stand_in_the_order_asked_for(small_data: DataSet, small_index: ItemIndex, order: str) -> None:
    chosen = examples(small_data, small_index, order=order)
    for example in chosen.training():
        used = list(example.used)
        nearest = chosen.histories.nearest(example.sample, 5)[0].tolist()
        if order == "similarity":
            assert example.retrieval == "recent" or used == nearest
        else:
            assert used == sorted(used, reverse=order == "reversed")
        if example.retrieval == "subr":
            assert sorted(used) == sorted(nearest)


@pytest.mark.parametrize(
    ("mix", "kinds", "judged"),
    [("both", ["recent", "subr"], "subr"), ("original", ["recent"], "recent"), ("retrieved", ["subr"], "subr")],
)
def test_a_mix_chooses_the_histories(
    small_data: DataSet, small_index: ItemIndex, mix: str, kinds: list[str], judged: str
) -> None:
    chosen = examples(small_data, small_index, mix=mix)
    assert [example.retrieval for example in chosen.training()] == kinds * 40
    checked = list(chosen.validation(20))
    assert {example.retrieval for example in checked} == {judged} and len(checked) == 20
    assert {split_of(small_data, example.sample) for example in checked} == {1}
    assert len(list(chosen.validation(10**6))) == len(small_data.samples.rows("valid"))


def test_the_forms_say_the_same(small_data: DataSet, small_index: ItemIndex, judge: Rella, tmp_path: Path) -> None:
    chosen = examples(small_data, small_index)
    for form in ("messages", "alpaca", "text"):
        export_rows(chosen, tmp_path / f"{form}.jsonl", form=form, valid=10, judge=judge)
    chats, alpacas, texts = (lines(tmp_path / f"{form}.jsonl") for form in ("messages", "alpaca", "text"))
    for chat, alpaca, text, example in zip(chats, alpacas, texts, chosen.training(), strict=True):
        facts = {"sample": example.sample, "retrieval": example.retrieval, "label": int(example.label)}
        assert facts.items() <= chat.items() and facts.items() <= alpaca.items() and facts.items() <= text.items()
        said = {message["role"]: message["content"] for message in chat["messages"]}
        assert list(said) == ["system", "user", "assistant"]
        assert [said["system"], said["user"], said["assistant"]] == [
            alpaca["instruction"],
            alpaca["input"],
            alpaca["output"],
        ]
        assert alpaca["output"] == ("Yes" if example.label else "No")
        # The text is the very prompt that the judge reads, and the answer behind it.
        question = judge.prompts.question(example.text)
        assert text["prompt"] == question.text and text["text"] == text["prompt"] + text["completion"]
        assert text["completion"] == judge.prompts.lead + alpaca["output"]
        assert alpaca["input"] in text["prompt"]


def test_a_manifest_ties_the_rows_to_data_wording_k_and_index(
    small_data: DataSet, small_index: ItemIndex, judge: Rella, tmp_path: Path
) -> None:
    done = export_rows(examples(small_data, small_index), tmp_path / "train.jsonl", valid=10)
    assert (done.rows, done.valid_rows, done.valid) == (80, 10, tmp_path / "train.valid.jsonl")
    manifest = json.loads(done.manifest.read_text())
    assert manifest["data"] == {"name": "ml-1m", "fingerprint": small_data.fingerprint}
    assert manifest["domain"]["fingerprint"] == MOVIES.fingerprint
    assert manifest["samples"] == {"shots": 40, "k": 5, "mix": "both", "order": "time", "seed": 0, "valid": 10}
    assert manifest["index"]["fingerprint"] == small_index.fingerprint
    assert manifest["chat_format"] is None and manifest["model"] is None
    export_rows(examples(small_data, small_index), tmp_path / "text.jsonl", form="text", valid=0, judge=judge)
    framed = json.loads((tmp_path / "text.manifest.json").read_text())
    assert framed["chat_format"] == "the model's own" and framed["model"] == judge.model.as_dict()
    assert not (tmp_path / "text.valid.jsonl").exists()


def test_rows_and_manifests_are_written_as_ever(small_data: DataSet, judge: Rella, tmp_path: Path) -> None:
    """Pinned: whoever tuned on rows of an earlier version may write them again, and gets the same bytes."""
    chosen = examples(small_data, None, mix="original")
    digests = {}
    for form in ("messages", "alpaca", "text"):
        export_rows(chosen, tmp_path / f"{form}.jsonl", form=form, valid=9, judge=judge)
        digests[form] = hashlib.sha256((tmp_path / f"{form}.jsonl").read_bytes()).hexdigest()[:12]
    assert digests == {"messages": "dd2d77c55310", "alpaca": "e8bd2d7c271d", "text": "dcca8d771297"}
    manifest = json.loads((tmp_path / "text.manifest.json").read_text())
    assert [*manifest] == (
        "format data domain samples index form answers chat_format model files versions sha256".split()
    )
    assert manifest["answers"] == ["Yes", "No"] and manifest["domain"].keys() == {"name", "fingerprint"}


def test_equal_calls_write_equal_bytes(small_data: DataSet, small_index: ItemIndex, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        export_rows(examples(small_data, small_index), tmp_path / name / "rows.jsonl")
    assert [path.read_bytes() for path in sorted((tmp_path / "a").iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "b").iterdir())
    ]


def test_samples_with_short_histories_are_counted(small_data: DataSet, small_index: ItemIndex, tmp_path: Path) -> None:
    # With K beyond every history, both rows of each sample show the same behaviors.
    assert export_rows(examples(small_data, small_index, k=500), tmp_path / "rows.jsonl").same == 40


def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    small_data: DataSet, small_index: ItemIndex, roomy_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "train.jsonl"
    with pytest.raises(InputError, match="mix both needs an index"):
        examples(small_data, None)
    with pytest.raises(InputError, match="order similarity needs an index"):
        examples(small_data, None, mix="original", order="similarity")
    assert list(examples(small_data, None, mix="original").training())
    chosen = examples(small_data, small_index)
    with pytest.raises(InputError, match="--model"):
        export_rows(chosen, out, form="text")
    with pytest.raises(InputError, match=r"40,000 are wanted.*ask for"):
        export_rows(examples(small_data, small_index, shots=40_000), out)
    with (
        Rella.from_gguf(roomy_model, settings=EngineSettings(ctx=300), cache=Cache(None)) as small,
        pytest.raises(ContextError, match=r"sample \d+: a prompt of .* --ctx"),
    ):
        export_rows(chosen, out, form="text", judge=small)
    assert not list(tmp_path.glob("train*"))
    export_rows(chosen, out)
    before = out.read_bytes()
    with pytest.raises(InputError, match="--force"):
        export_rows(examples(small_data, small_index, shots=10), out)
    assert out.read_bytes() == before
    assert export_rows(examples(small_data, small_index, shots=10), out, force=True).rows == 20


def test_a_data_set_without_a_validation_split_gives_no_validation_file(tmp_path: Path) -> None:
    ratings = random_ratings(seed=3, users=3, movies=12, most=8)
    data = prepare("ml-1m", write_files(tmp_path / "z.zip", ml_1m(ratings, movies=12, users=3)), tmp_path / "data")
    data.__dict__["samples"] = replace(data.samples, split=np.zeros_like(data.samples.split))
    done = export_rows(examples(data, None, mix="original", shots=2), tmp_path / "rows.jsonl")
    assert done.valid is None and done.valid_rows == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"shots": 0}, "shots is 0"),
        ({"mix": "all"}, "mix is 'all'"),
        ({"k": 0}, "K is '0'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_their_range_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TuningSettings(**settings)


def test_rows_are_never_written_over_what_is_read(
    small_data: DataSet, small_index: ItemIndex, judge: Rella, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(small_data.folder, folder)
    chosen = examples(DataSet.open(folder), small_index)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for out in (folder / "samples.parquet", small_index.folder / "manifest.json", judge.engine.header.path):
        with pytest.raises(InputError, match="is one of the inputs"):
            export_rows(chosen, out, form="text", judge=judge, force=True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_failure_leaves_what_was_there(small_data: DataSet, small_index: ItemIndex, tmp_path: Path) -> None:
    export_rows(examples(small_data, small_index), tmp_path / "train.jsonl")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("train*")}
    with pytest.raises(InputError, match="are wanted"):
        export_rows(examples(small_data, small_index, shots=40_000), tmp_path / "train.jsonl", force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("train*")} == before and len(before) == 3
