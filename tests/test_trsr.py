"""Rows to tune on with preference summaries: the prompts that will be asked, and negatives never touched."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from judges import MOVIES
from look_alikes import Rating, ml_1m, write_files
from peft_folder import write_peft

from rella_cpp import (
    Cache,
    CollectionSettings,
    ContextError,
    DataSet,
    EngineSettings,
    InputError,
    Rella,
    Summaries,
    SummarySettings,
    TrsrExamples,
    TrsrSettings,
    export_rows,
    prepare,
    write_summaries,
)

SUMMARY = SummarySettings(recent=3, block_size=4, summary_tokens=8, item_tokens=8)


@pytest.fixture(scope="module")
def summaries(small_data: DataSet, roomy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Summaries:
    with Rella.from_gguf(roomy_model, cache=Cache(None), exact=True) as rella:
        settings = CollectionSettings("all", 20, summary=SUMMARY)
        out = tmp_path_factory.mktemp("made") / "s"
        return write_summaries(small_data, out, settings, author=rella.summarizer).summaries


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_liked_sample_stands_beside_an_item_never_touched(
    small_data: DataSet, summaries: Summaries, judge: Rella
) -> None:
    examples = TrsrExamples(small_data, summaries, judge, TrsrSettings())
    samples, known = small_data.samples, small_data.interactions
    found = list(examples.training())
    liked = [row for row in summaries.rows("train") if samples.label[row] == 1]
    assert 0 < examples.left_out == 20 - len(liked) and examples.rows == len(found) == 2 * len(liked)
    assert sorted(example.sample for example in found[::2]) == liked
    ids = {small_data.item_id(number): number for number in range(small_data.items.num_rows)}
    for positive, negative in zip(found[::2], found[1::2], strict=True):
        row, user = positive.sample, int(samples.user[positive.sample])
        assert negative.sample == row and (positive.label, negative.label) == (True, False)
        assert ids[positive.item] == samples.item[row]
        own = known.item[known.starts[user] : known.starts[user + 1]]
        assert ids[negative.item] not in own and ids[negative.item] in known.item
        assert positive.text.history == negative.text.history and positive.text.target != negative.text.target
    checked = list(examples.validation(10**6))
    assert {summaries.of(example.sample).split for example in checked} == {"valid"}
    assert [example.label for example in checked] == [True, False] * (len(checked) // 2)


def test_the_prompts_are_those_that_rank_asks(
    small_data: DataSet, summaries: Summaries, exact_judge: Rella, tmp_path: Path
) -> None:
    """In exact mode a text has the same bits alone: whatever differs is the prompt."""
    examples = TrsrExamples(small_data, summaries, exact_judge, TrsrSettings(shots=5))
    export_rows(examples, tmp_path / "rows.jsonl", form="text", valid=2, judge=exact_judge)
    rows = lines(tmp_path / "rows.jsonl") + lines(tmp_path / "rows.valid.jsonl")
    assert len(rows) == 14
    samples, items = small_data.samples, {item.fields["id"]: item for item in small_data.all_items()}
    for pair in zip(rows[::2], rows[1::2], strict=True):
        row = pair[0]["sample"]
        user = int(samples.user[row])
        history = small_data.behaviors(int(small_data.interactions.starts[user]) + small_data.others(row))
        targets = [items[each["item"]] for each in pair]
        scores = exact_judge.rank(history, targets, user=small_data.user(user), summary=SUMMARY)
        assert [each["prompt"] for each in pair] == [score.prompt for score in scores]
        assert [each["completion"] for each in pair] == ["Yes", "No"] and all("…" in each["prompt"] for each in pair)


def test_fewer_shots_are_the_beginning_of_more_and_negatives_hang_on_the_seed(
    small_data: DataSet, summaries: Summaries, judge: Rella
) -> None:
    def drawn(**settings: Any) -> list[tuple[int, str]]:
        examples = TrsrExamples(small_data, summaries, judge, TrsrSettings(**settings))
        return [(example.sample, example.item) for example in examples.training()]

    assert drawn(shots=3) == drawn(shots=6)[:6] == drawn()[:6]
    assert drawn(seed=1) != drawn()
    assert dict(drawn(seed=1)[::2]) == dict(drawn()[::2])  # of the same samples, in another order
    assert dict(drawn(seed=1)[1::2]) != dict(drawn()[1::2])


def test_a_manifest_ties_the_rows_to_the_summaries(
    small_data: DataSet, summaries: Summaries, judge: Rella, tmp_path: Path
) -> None:
    examples = TrsrExamples(small_data, summaries, judge, TrsrSettings(shots=4))
    done = export_rows(examples, tmp_path / "rows.jsonl", valid=3, judge=judge)
    assert (done.rows, done.valid_rows, done.same, done.liked) == (8, 6, 0, 0.5)
    manifest = json.loads(done.manifest.read_text())
    assert manifest["samples"] == {"shots": 4, "seed": 0, "negatives": 1, "valid": 6}
    assert manifest["data"]["fingerprint"] == small_data.fingerprint and manifest["index"] is None
    made = manifest["summaries"]
    assert made["fingerprint"] == summaries.fingerprint and made["settings"] == SUMMARY.facts(MOVIES)
    assert made["author"] == summaries.settings["author"] and made["cut_by"] == judge.vectors.base.as_dict()
    assert (manifest["chat_format"], manifest["model"]) == (None, None)  # chats have no model's frame
    (tmp_path / "b").mkdir()
    again = export_rows(examples, tmp_path / "b/rows.jsonl", valid=3, judge=judge)
    for a, b in ((done.train, again.train), (done.valid, again.valid), (done.manifest, again.manifest)):
        assert a is not None and b is not None and a.read_bytes() == b.read_bytes()


def test_an_adapter_tuned_on_such_rows_is_taken_without_a_word(
    small_data: DataSet, summaries: Summaries, judge: Rella, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    examples = TrsrExamples(small_data, summaries, judge, TrsrSettings(shots=2))
    done = export_rows(examples, tmp_path / "rows.jsonl", form="text", valid=0, judge=judge)
    folder = write_peft(tmp_path / "tuned")
    # As the trainer writes it: the manifest, and the base.
    base = {"name": "Tiny", "fingerprint": judge.model.fingerprint}
    (folder / "rella.json").write_text(json.dumps({**json.loads(done.manifest.read_text()), "base": base}))
    before = len([record for record in caplog.records if record.name == "rella_cpp"])
    judge.adapters = [folder]
    assert len(judge.adapters) == 1
    assert len([r for r in caplog.records if r.name == "rella_cpp" and r.levelno >= logging.WARNING]) == before
    history = small_data.history(3, 9)
    plain, summarised = (judge.score(history, {"title": "Heat"}, summary=each).prompt for each in (None, SUMMARY))
    assert plain != summarised  # it serves with a summary and without


def test_what_cannot_be_exported_is_refused(
    small_data: DataSet, sparse_data: DataSet, summaries: Summaries, judge: Rella, roomy_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is of another data set"):
        TrsrExamples(sparse_data, summaries, judge, TrsrSettings())
    with pytest.raises(InputError, match=r"split train whose item was liked, 40 are wanted; ask for \d+ at most"):
        TrsrExamples(small_data, summaries, judge, TrsrSettings(shots=40))
    only = write_summaries(
        small_data, tmp_path / "s", CollectionSettings("test", 3, summary=SUMMARY), author=judge.summarizer
    )
    with pytest.raises(InputError, match="has 0 samples .* 1 are wanted; summarise --split train or all"):
        TrsrExamples(small_data, only.summaries, judge, TrsrSettings())
    with (
        Rella.from_gguf(roomy_model, settings=EngineSettings(ctx=200), cache=Cache(None)) as small,
        pytest.raises(ContextError, match=r"sample \d+: a prompt of \d+ tokens does not fit the context of 200;"),
    ):
        export_rows(TrsrExamples(small_data, summaries, small, TrsrSettings()), tmp_path / "rows.jsonl", judge=small)
    assert not list(tmp_path.glob("rows*"))
    for name, said in (({"shots": 0}, "shots is 0"), ({"seed": -1}, "seed is -1")):
        with pytest.raises(InputError, match=said):
            TrsrSettings(**name)
    for out in (summaries.folder / "summaries.jsonl", small_data.folder / "items.parquet"):
        with pytest.raises(InputError, match="is one of the inputs"):
            export_rows(TrsrExamples(small_data, summaries, judge, TrsrSettings()), out, judge=judge, force=True)


def test_a_user_who_touched_everything_leaves_no_negative(judge: Rella, tmp_path: Path) -> None:
    ratings = [Rating(user, movie, 5, 978300000 + movie) for user in range(1, 11) for movie in range(1, 13)]
    files = ml_1m(ratings, movies=12, users=10)
    data = prepare("ml-1m", write_files(tmp_path / "ml-1m.zip", files), tmp_path / "data")
    settings = CollectionSettings("train", summary=SUMMARY)
    made = write_summaries(data, tmp_path / "s", settings, author=judge.summarizer).summaries
    with pytest.raises(InputError, match=r"user \d+ leaves 0 items untouched, 1 are wanted"):
        list(TrsrExamples(data, made, judge, TrsrSettings()).training())
