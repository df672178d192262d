"""Rows for DELRec's stages: what trains alone, candidates never touched, and the answer that the task asks for."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judges import MOVIES
from ranking_files import write_rankings

from rella_cpp import (
    DELREC_TASKS,
    Cache,
    ContextError,
    DataSet,
    DelrecExample,
    DelrecExamples,
    DelrecSettings,
    EngineSettings,
    InputError,
    Interactions,
    Ranking,
    Rella,
    export_row_sets,
    export_rows,
)
from rella_cpp.tuning.rows import TuningSource
from rella_gguf.files import locked

SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def with_histories(data: DataSet, histories: Sequence[Sequence[int]]) -> DataSet:
    """The same users and items, with other interactions: repeats too, which no format of these has."""
    copy = DataSet(data.folder, data.manifest, data.fingerprint)
    lengths = [len(history) for history in histories]
    items = np.array([item for history in histories for item in history], np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    copy.__dict__["interactions"] = Interactions(items, None, None, starts)
    return copy


def all_listed(data: DataSet) -> Any:
    """A recommender that lists every item at every position, in an order of its own."""
    starts, count = data.interactions.starts, data.items.num_rows
    places = [(u, p) for u in range(len(starts) - 1) for p in range(int(starts[u + 1] - starts[u]))]
    users, positions = np.array(places, np.int64).reshape(-1, 2).T

    def find(user: int, position: int) -> Ranking:
        order = np.random.default_rng([user, position]).permutation(count)
        return Ranking(order, np.arange(count, 0.0, -1.0))

    nothing: Any = SimpleNamespace(users=users, positions=positions, find=find, folder=Path("r"), fingerprint="f")
    nothing.name, nothing.check = "All", lambda data: None
    return nothing


def targets(history: Sequence[int], task: str, *, valid: bool) -> list[int]:
    """The positions that a task may ask about, counted out anew: n - 1 is tested, n - 2 validates."""
    n = len(history)
    if n < 5:
        return []
    last = n - 2 if valid else n - 3  # the latest item that may be shown or asked for
    asked = [p for p in range(1, n) if (p + 1 if task == "temporal" else p) <= last]
    found = asked[-1:] if valid else asked
    return [p for p in found if task != "temporal" or history[p] != history[p + 1]]


def listed(text: str) -> list[str]:
    """The names in a numbered list."""
    return [line.split(". ", 1)[1] for line in text.splitlines() if line.split(". ")[0].isdigit()]


def check(data: DataSet, history: Sequence[int], example: DelrecExample, k: int) -> None:
    """Check one row against its user's history."""
    p, ids = example.position, [data.item_id(item) for item in history]
    names = {data.item_id(number): MOVIES.name_item(data.item(number)) for number in range(data.items.num_rows)}
    assert example.answer == names[example.item] and example.item in example.candidates
    assert len(set(example.candidates)) == len(example.candidates) == 6
    assert [each for each in example.candidates if each in ids] == [ids[p]]  # of the user's items the target alone
    assert listed(example.text.target) == [names[each] for each in example.candidates]
    assert listed(example.text.history) == [names[each] for each in ids[:p] if each != ids[p]][-k:]
    shown = example.text.history + example.text.target
    for place in range(p + 2 if example.task == "temporal" else p + 1, len(ids)):
        assert ids[place] in ids[: p + 2] or names[ids[place]] not in shown


@pytest.mark.parametrize("task", DELREC_TASKS)
@SLOW
@given(histories=st.lists(st.lists(st.integers(0, 24), max_size=9), min_size=1, max_size=5), k=st.integers(1, 4))
def test_rows_ask_about_what_trains_and_never_show_what_is_tested(
    sparse_data: DataSet, task: Any, histories: list[list[int]], k: int
) -> None:
    # One user with something to train on, and as many with too little that every item was touched by somebody.
    histories = [*histories, list(range(21, 28)), *([item, item + 1, item + 2] for item in range(0, 30, 3))]
    data = with_histories(sparse_data, histories)
    places = {
        valid: [(u, p) for u, h in enumerate(histories) for p in targets(h, task, valid=valid)]
        for valid in (False, True)
    }
    wanted = DelrecSettings(rows=len(places[False]), k=k, candidates=6)
    examples = DelrecExamples(data, MOVIES, task, wanted, all_listed(data))
    number = {data.user_id(user): user for user in range(len(histories))}
    for valid, found in ((False, examples.training()), (True, examples.validation(10**6))):
        rows = list(found)
        assert sorted((number[each.user], each.position) for each in rows) == places[valid]
        for example in rows:
            check(data, histories[number[example.user]], example, k)
    assert examples.left_out == 0
    with pytest.raises(InputError, match="are wanted; ask for --rows"):
        DelrecExamples(data, MOVIES, task, DelrecSettings(rows=len(places[False]) + 1, candidates=6), all_listed(data))


def examples(data: DataSet, task: Any = "next", lists: Any = None, **settings: Any) -> DelrecExamples:
    return DelrecExamples(data, MOVIES, task, DelrecSettings(**{"rows": 40, "k": 5, **settings}), lists)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("task", DELREC_TASKS)
def test_fewer_rows_are_the_beginning_of_more(sparse_data: DataSet, task: Any) -> None:
    def drawn(**settings: Any) -> list[DelrecExample]:
        return list(examples(sparse_data, task, all_listed(sparse_data), **settings).training())

    assert drawn(rows=10) == drawn(rows=30)[:10] and drawn(rows=10, seed=1) != drawn(rows=10)
    # The right one stands anywhere in the list: a model that learns its place learns nothing.
    places = [each.candidates.index(each.item) for each in drawn(rows=200)]
    assert set(places) == set(range(15)) and np.bincount(places).max() < 40


def test_the_answer_simulated_is_the_candidate_listed_first(sparse_data: DataSet, tmp_path: Path) -> None:
    known = sparse_data.interactions
    places = [(u, p) for u in range(100) for p in range(int(known.starts[u + 1] - known.starts[u]))]
    lists = write_rankings(tmp_path / "r", sparse_data, places, depth=2)
    chosen = examples(sparse_data, "simulating", lists, rows=60)
    number = {sparse_data.user_id(user): user for user in range(150)}
    own = 0
    for example in chosen.training():
        ranking = lists.find(number[example.user], example.position)
        assert ranking is not None
        best = [sparse_data.item_id(item) for item in ranking.items.tolist()]
        assert example.item == next(item for item in best if item in example.candidates)
        target = int(known.item[int(known.starts[number[example.user]]) + example.position])
        own += example.item == sparse_data.item_id(target)
    # A list of 2 of 40 items seldom holds one of 15 candidates, and what was really next more seldom still.
    assert chosen.left_out > 10 and own < 30
    with pytest.raises(InputError, match=r"positions to train the task simulating on, .* ask for --rows \d+ at most"):
        list(examples(sparse_data, "simulating", lists, rows=len(chosen._training)).training())


def test_temporal_analysis_shows_what_comes_after_and_an_example(sparse_data: DataSet) -> None:
    known, seen = sparse_data.interactions, 0
    number = {sparse_data.user_id(user): user for user in range(150)}
    for example in examples(sparse_data, "temporal", rows=200).training():
        rows = known.item[int(known.starts[number[example.user]]) :]
        name = [MOVIES.name_item(sparse_data.item(int(item))) for item in rows[: example.position + 2]]
        assert f"after it: {name[-1]}\n" in example.text.target
        *before, answer, after = name[:-2] if example.position > 2 else ("", "")
        told = f"after {'; '.join(before[-3:])} and before {after} came {answer}."
        assert (told in example.text.target) == ("example" in example.text.target) == (example.position > 2)
        seen += example.position > 2
    assert 0 < seen < 200  # both with and without an example


def test_the_forms_say_the_same(sparse_data: DataSet, judge: Rella, tmp_path: Path) -> None:
    chosen = examples(sparse_data)
    for form in ("messages", "alpaca", "text"):
        export_rows(chosen, tmp_path / f"{form}.jsonl", form=form, valid=10, judge=judge)
    forms = [lines(tmp_path / f"{form}.jsonl") for form in ("messages", "alpaca", "text")]
    for chat, alpaca, text, example in zip(*forms, chosen.training(), strict=True):
        facts = {"user": example.user, "position": example.position, "item": example.item, "task": "next"}
        assert all({k: v for k, v in row.items() if k in facts} == facts for row in (chat, alpaca, text))
        said = [message["content"] for message in chat["messages"]]
        assert said == [alpaca["instruction"], alpaca["input"], alpaca["output"]] and said[2] == example.answer
        assert text["completion"] == judge.prompts.lead + example.answer and alpaca["input"] in text["prompt"]
        asked = judge.prompts.choice(example.text, [example.answer]).text  # as `--by likelihood` asks
        assert text["prompt"] == asked and text["text"] == text["prompt"] + text["completion"]


def test_a_manifest_says_what_the_rows_come_from(sparse_data: DataSet, judge: Rella, tmp_path: Path) -> None:
    lists = write_rankings(tmp_path / "r", sparse_data, [(u, 1) for u in range(150)], depth=40)
    sources: dict[str, TuningSource] = {task: examples(sparse_data, task, lists, rows=9) for task in DELREC_TASKS}
    done = export_row_sets(sources, tmp_path / "rows", form="text", valid=5, judge=judge)
    assert [(rows.rows, rows.valid_rows, rows.liked) for rows in done.values()] == [
        (9, 5, None),
        (9, 0, None),  # no list at a position that validates
        (9, 5, None),
    ]
    for task, rows in done.items():
        manifest = json.loads(rows.manifest.read_text())
        assert manifest["data"] == {"name": "ml-1m", "fingerprint": sparse_data.fingerprint}
        assert manifest["domain"] == {
            "name": "movies", "fingerprint": MOVIES.fingerprint, "choice": MOVIES.choice_fingerprint
        }  # fmt: skip
        assert manifest["samples"] == {"rows": 9, "k": 5, "candidates": 15, "seed": 0, "valid": rows.valid_rows}
        known = {"name": "Random", "fingerprint": lists.fingerprint}
        assert (manifest["task"], manifest["ranking"]) == (task, known if task == "simulating" else None)
        assert (manifest["answers"], manifest["chat_format"]) == (None, "the model's own")
        assert manifest["files"].keys() == {path.name for path in (rows.train, rows.valid) if path is not None}


def test_sets_of_rows_change_together_or_not_at_all(sparse_data: DataSet, roomy_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows"
    sources = {task: examples(sparse_data, task) for task in ("temporal", "next")}
    short = EngineSettings(ctx=256)
    with Rella.from_gguf(roomy_model, settings=short, cache=Cache(None)) as small:
        with pytest.raises(ContextError, match=r"user \d+, position \d+: a prompt of .* context of 256; .*\(-k\)"):
            export_row_sets(sources, out, form="text", judge=small)
        assert not out.exists()
        export_row_sets(sources, out, valid=3)
        (out / "mine.txt").write_text("kept")
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        assert len(before) == 7
        with pytest.raises(ContextError):
            export_row_sets(sources, out, form="text", judge=small, force=True)
    with pytest.raises(InputError, match=r"temporal.jsonl: is there already.*--force"):
        export_row_sets(sources, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    export_row_sets(sources, out, valid=3, force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before  # equal calls, equal bytes
    export_row_sets(sources, out, valid=0, force=True)
    assert {path.name for path in out.glob("*valid*")} == set()  # none of another export is left beside the rows


def test_sets_of_rows_are_written_by_one_process_and_through_no_link(sparse_data: DataSet, tmp_path: Path) -> None:
    out, sources = tmp_path / "rows", {"next": examples(sparse_data, "next")}
    with locked(out), pytest.raises(InputError, match="rows: is being written by another process"):
        export_row_sets(sources, out)
    (out / "mine").mkdir(parents=True)
    (out / ".rella-part").symlink_to(out / "mine")
    with pytest.raises(InputError, match=r"\.rella-part: is a symbolic link"):
        export_row_sets(sources, out)
    assert sorted(path.name for path in out.iterdir()) == [".rella-part", "mine"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rows": 0}, "rows is 0"),
        ({"k": 0}, "K is '0'"),
        ({"candidates": 1}, "candidates is 1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_their_range_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        DelrecSettings(**changed)


def test_what_cannot_be_asked_is_refused(sparse_data: DataSet, small_data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ranking: .*|needs what a sequential recommender expects; give --ranking"):
        examples(sparse_data, "simulating")
    lists = write_rankings(tmp_path / "r", sparse_data, [(u, 10**6) for u in range(3)], depth=3)
    with pytest.raises(InputError, match=r"no list at a position that trains; write training positions: --train-pos"):
        examples(sparse_data, "simulating", lists)
    for task in DELREC_TASKS:
        with pytest.raises(InputError, match="are rankings for ml-1m"):
            examples(small_data, task, lists)
    with pytest.raises(InputError, match=r"user \d+ leaves \d+ items untouched, .* ask for fewer --candidates"):
        list(examples(sparse_data, candidates=36).training())
