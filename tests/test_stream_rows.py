"""Rows of streams, against the prompts that the model is asked with."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judges import MOVIES
from look_alikes import amazon, ml_1m, random_ratings, write_files

from rella_cpp import (
    Cache,
    ContextError,
    DataSet,
    EngineSettings,
    Histories,
    InputError,
    PrepareOptions,
    Rella,
    SequenceSettings,
    StreamSequences,
    export_rows,
    load_domain,
    prepare,
)
from rella_cpp.domains.domain import Domain
from rella_cpp.engine.segments import Span
from rella_cpp.prompts.streams.text import write_stream
from rella_cpp.retrieval.selection import Selection

HELD_OUT = ("valid", "test")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """90 users, 30 movies, each with its mean rating as it was known."""
    folder = tmp_path_factory.mktemp("averages")
    files = ml_1m(random_ratings(seed=5, users=90, movies=30, most=30), movies=30, users=90)
    return prepare(
        "ml-1m", write_files(folder / "ml-1m.zip", files), folder / "data", options=PrepareOptions(averages=True)
    )


@pytest.fixture
def streamer(roomy_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy_model, layout="stream", cache=Cache(None)) as rella:
        yield rella


@pytest.fixture
def chatter(roomy_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy_model, layout="stream", chat_format="chatml", cache=Cache(None)) as rella:
        yield rella


def sequences(data: DataSet, judge: Rella | None = None, domain: Domain = MOVIES, **settings: Any) -> StreamSequences:
    chosen = SequenceSettings(**{"k": 4, **settings})
    return StreamSequences(data, Histories(data, None, domain), domain, chosen, judge)


def lines(path: Path | None) -> list[dict[str, Any]]:
    assert path is not None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(
    source: StreamSequences, out: Path, **wanted: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    rows = export_rows(source, out, **{"form": "text", "valid": 10**6, **wanted})
    return lines(rows.train), lines(rows.valid), json.loads(rows.manifest.read_text())


def prompt_of(data: DataSet, rella: Rella, sample: int, k: int) -> tuple[str, tuple[int, ...]]:
    """Return text and tokens of the prompt that an evaluation asks about a sample."""
    histories = Histories(data, None, MOVIES)
    positions, unshown = histories.stream(sample, Selection(k, "recent", "time", window="anchored"))
    behaviors = data.behaviors(histories.start(sample) + positions)
    user = data.user(int(data.samples.user[sample]))
    question = rella.prompts.stream(write_stream(MOVIES, user, behaviors, data.target(sample), unshown))
    assert question.text is not None
    return question.text, question.tokens


def with_repeats(data: DataSet) -> DataSet:
    """Return the data with every fifth interaction about the item of the user's second."""
    made = DataSet.open(data.folder)
    known, items = made.interactions, made.interactions.item.copy()
    for start, end in zip(known.starts, known.starts[1:], strict=False):
        items[start + 1 : end : 5] = items[start + 1] if end - start > 1 else items[start:end:5]
    samples = made.samples
    made.__dict__["interactions"] = replace(known, item=items)
    made.__dict__["samples"] = replace(samples, item=items[known.starts[samples.user] + samples.position])
    return made


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_a_validation_row_is_up_to_each_answer_the_prompt_that_asks_for_it(
    data: DataSet, streamer: Rella, chatter: Rella, tmp_path: Path, k: int, repeats: bool, framed: bool
) -> None:
    rella, data = chatter if framed else streamer, with_repeats(data) if repeats else data
    source = sequences(data, rella, k=k)
    frame = rella.prompts.stream_frame
    seen, together = list[int](), 0
    for example in source.validation(10**6):
        (row,) = source.writer("text")(example)
        together += len(row["answers"]) > 1
        spans = frame.answered(example.header, example.lines).spans
        assert "".join(span.text for span in spans) == row["text"]
        tokens = rella.engine.encode(spans).tokens
        for answer in row["answers"]:
            text, asked = prompt_of(data, rella, answer["sample"], k)
            assert row["text"][: answer["start"]] == text
            assert tokens[: len(asked)] == asked  # so one pass over the row gives what each prompt would
            seen.append(answer["sample"])
    rows = [row for row in data.samples.rows("valid").tolist()]
    of_users = Counter(int(data.samples.user[row]) for row in rows)
    assert len(seen) == len(set(seen)) == sum(min(20, count) for count in of_users.values())
    assert set(seen) <= set(rows)
    assert together > 3 or k == 1


def test_answers_are_the_ratings_and_stand_where_the_row_says(data: DataSet, tmp_path: Path) -> None:
    training, validation, manifest = written(sequences(data), tmp_path / "rows.jsonl")
    labels = [level["label"] for level in manifest["levels"]]
    assert labels == ["1", "2", "3", "4", "5"]
    assert [level["liked"] for level in manifest["levels"]] == [False, False, False, True, True]
    known, samples = data.interactions, data.samples
    for row in [*training, *validation]:
        for answer in row["answers"]:
            said = row["text"][answer["start"] : answer["end"]]
            assert said == labels[answer["level"]] and row["text"][answer["end"]] == "\n"
            assert answer["label"] == (int(said) > 3)
            if "sample" in answer:
                user = samples.user[answer["sample"]]
                rating = known.ratings()[known.starts[user] + samples.position[answer["sample"]]]
                assert int(said) == rating and data.user_id(user) == row["user"]
                assert answer["label"] == samples.label[answer["sample"]]
    for row in training:
        assert row["text"].count("\n") - 1 == len(row["answers"])
        assert row["text"].endswith("\n") and row["text"][-2] in labels


def test_training_rows_hold_each_training_rating_once_and_no_other(data: DataSet) -> None:
    known, samples = data.interactions, data.samples
    split = np.full(len(known.item), -1)
    split[known.starts[samples.user] + samples.position] = samples.split
    train = np.flatnonzero(split == 0)
    found = Counter[int]()
    for example in sequences(data).training():
        assert example.first % 8 == 0 and 2 <= len(example.lines) <= 8
        found.update(sample for sample in example.samples if sample >= 0)
    alone = Counter[int]()  # a window of one line is left out
    ends = {int(user): int(np.flatnonzero(split[known.starts[user] : known.starts[user + 1]] == 0).max(initial=-1))
            for user in range(len(known.starts) - 1)}  # fmt: skip
    for user, last in ends.items():
        if last >= 0 and last % 8 == 0:
            alone[int(np.searchsorted(samples.user * 10**6 + samples.position, user * 10**6 + last))] = 1
    assert found + alone == Counter({row: 1 for row in np.flatnonzero(samples.split == 0).tolist()})
    assert sum(found.values()) > 100 and len(train) == sum(found.values()) + sum(alone.values())


def test_more_tokens_begin_with_the_rows_of_fewer_and_end_behind_the_second_pass(
    data: DataSet, streamer: Rella, tmp_path: Path
) -> None:
    every, _, _ = written(sequences(data), tmp_path / "all.jsonl")
    few, _, told = written(sequences(data, streamer, tokens=3000), tmp_path / "few.jsonl", judge=streamer)
    more, _, _ = written(sequences(data, streamer, tokens=9000), tmp_path / "more.jsonl", judge=streamer)
    most, _, _ = written(sequences(data, streamer, tokens=10**9), tmp_path / "most.jsonl", judge=streamer)
    assert 0 < len(few) < len(more) and few == more[: len(few)] and more == most[: len(more)]
    assert most[: len(every)] == every
    assert len(most) > len(every) and {row["first"] % 8 for row in most[len(every) :]} == {4}
    counted = [len(streamer.engine.encode([Span(row["text"])]).tokens) for row in few]
    assert sum(counted[:-1]) < 3000 <= sum(counted) == told["samples"]["written"]
    assert told["model"] == streamer.model.as_dict() and told["chat_format"] is None
    other, _, _ = written(sequences(data, seed=1), tmp_path / "other.jsonl")
    assert other != every and sorted(map(str, other)) == sorted(map(str, every))


def test_fields_are_dropped_from_whole_training_rows_alone(data: DataSet, tmp_path: Path) -> None:
    plain, checked, _ = written(sequences(data), tmp_path / "plain.jsonl")
    bare, bare_checked, _ = written(sequences(data, drop=1.0), tmp_path / "bare.jsonl")
    some, _, manifest = written(sequences(data, drop=0.4), tmp_path / "some.jsonl")
    assert checked == bare_checked and manifest["samples"]["drop"] == 0.4
    kinds, titles = Counter[tuple[bool, bool, bool]](), set(map(str, data.items["title"].to_pylist()))
    for full, none, part in zip(plain, bare, some, strict=True):
        key = ("user", "first")
        assert [full[name] for name in key] == [none[name] for name in key] == [part[name] for name in key]
        for answers in (none["answers"], part["answers"]):
            ratings = [{k: v for k, v in answer.items() if k not in ("start", "end")} for answer in answers]
            assert ratings == [{k: v for k, v in a.items() if k not in ("start", "end")} for a in full["answers"]]
        header, *films = none["text"].splitlines()
        assert header.startswith("A person rated these movies from 1 to 5 stars.")
        assert {film.rpartition(": ")[0] for film in films} <= titles
        header, *films = part["text"].splitlines()
        shown = [film.rpartition(": ")[0] for film in films]
        averages = [film[-3:-2].isdigit() and film[-2] == "." for film in shown]
        years = ["19" in film and "(" in film for film in shown]
        assert len(set(averages)) == len(set(years)) == 1
        assert averages[0] == ("behind what people give" in header)
        kinds[averages[0], years[0], "(age" in header] += 1
    assert len(kinds) == 8, kinds  # independently of each other
    assert written(sequences(data, drop=0.4), tmp_path / "again.jsonl")[0] == some


def test_a_chat_answers_each_item_with_its_rating(data: DataSet, chatter: Rella, tmp_path: Path) -> None:
    texts, valid, _ = written(sequences(data), tmp_path / "text.jsonl")
    chats, checks, manifest = written(sequences(data), tmp_path / "chat.jsonl", form="messages")
    assert manifest["form"] == "messages" and manifest["chat_format"] is manifest["model"] is None
    for text, chat in zip(texts, chats, strict=True):
        turns = chat["messages"]
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * len(text["answers"])
        pairs = [f"{one['content']} {two['content']}\n" for one, two in zip(turns[::2], turns[1::2], strict=True)]
        assert "".join(pairs) == text["text"] and (chat["user"], chat["first"]) == (text["user"], text["first"])
    assert len(checks) == sum(len(row["answers"]) for row in valid) == manifest["samples"]["valid"]
    by_sample = {answer["sample"]: (row, answer) for row in valid for answer in row["answers"]}
    for check in checks:
        row, answer = by_sample[check["sample"]]
        last = check["messages"][-1]
        assert last["role"] == "assistant" and last["content"] == row["text"][answer["start"] : answer["end"]]
        assert check["label"] == answer["label"]
        asked = row["text"][: answer["start"]].rstrip().splitlines()[-1]
        assert check["messages"][-2]["content"].splitlines()[-1] == asked
    framed, _, told = written(sequences(data, chatter), tmp_path / "framed.jsonl", judge=chatter)
    assert told["chat_format"] == "chatml" and told["model"] == chatter.model.as_dict()
    assert framed[0]["text"].startswith("<|im_start|>user\nA person")
    for row, chat in zip(framed, chats, strict=True):
        said = [row["text"][answer["start"] : answer["end"]] for answer in row["answers"]]
        assert said == [turn["content"] for turn in chat["messages"][1::2]]


def test_validation_samples_come_in_runs_and_fewer_are_the_first_of_more(data: DataSet) -> None:
    def drawn(count: int, k: int = 4) -> list[int]:
        source = sequences(data, k=k)
        return [e.samples[line] for e in source.validation(count) for line in e.answered]

    many, by_user = drawn(60), defaultdict[int, list[int]](list)
    assert len(many) == 60 and drawn(25) == many[:25] and drawn(60, k=2) == many
    for sample in many:
        by_user[int(data.samples.user[sample])].append(sample)
    for user, found in by_user.items():
        own = [row for row in data.samples.rows("valid").tolist() if data.samples.user[row] == user]
        assert found == own[: len(found)] and len(found) <= 20
    assert drawn(0) == []


def test_users_who_are_tested_do_not_train_where_users_are_split(data: DataSet) -> None:
    made = DataSet.open(data.folder)
    made.manifest["rules"]["split"] = "users at random"
    split = (made.samples.user % 3).astype(np.uint8)
    made.__dict__["samples"] = replace(made.samples, split=split)
    users = {example.user for example in sequences(made).training()}
    assert users and users == {made.user_id(user) for user in np.unique(made.samples.user[split == 0]).tolist()} | {
        made.user_id(user)
        for user in range(made.users.num_rows)
        if user not in made.samples.user and np.diff(made.interactions.starts)[user] >= 2
    }


def test_behaviors_without_ratings_are_left_out_and_counted(data: DataSet) -> None:
    made, dice = DataSet.open(data.folder), np.random.default_rng(4)
    gone = dice.random(len(made.interactions.item)) < 0.3
    rating = np.where(gone, np.nan, made.interactions.ratings()).astype(np.float32)
    made.__dict__["interactions"] = replace(made.interactions, rating=rating)
    source = sequences(made)
    assert 0 < source.unrated < gone.sum()
    found = [sample for example in source.training() for sample in example.samples]
    found += [example.samples[line] for example in source.validation(10**6) for line in example.answered]
    places = made.interactions.starts[made.samples.user] + made.samples.position
    assert found and not any(gone[places[sample]] for sample in found if sample >= 0)


def test_what_cannot_be_written_is_refused(data: DataSet, streamer: Rella, judge: Rella, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    for settings, said in (
        ({"k": 0}, "K is '0'"),
        ({"tokens": 0}, "tokens is 0; give at least 1"),
        ({"drop": 1.5}, "drop is 1.5; give a share from 0 to 1"),
        ({"drop": float("nan")}, "drop is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"tokens": 5}, "tokens are counted by a model's tokenizer; name the model: --model GGUF"),
    ):
        with pytest.raises(InputError, match=said):
            sequences(data, **settings)
    with pytest.raises(
        InputError, match="'alpaca', which has one answer a row; a stream has many; one of text, messages"
    ):
        written(sequences(data), out, form="alpaca")
    with pytest.raises(InputError, match="the model's layout is question"):
        sequences(data, judge)
    with pytest.raises(InputError, match="does not say how a stream is written"):
        sequences(data, domain=load_domain("news"))
    with pytest.raises(InputError, match="-1 validation samples"):
        written(sequences(data), out, valid=-1)
    out.write_text("kept")
    with pytest.raises(InputError, match="is there already"):
        written(sequences(data), out)
    assert out.read_text() == "kept" and list(tmp_path.iterdir()) == [out]


def test_data_without_ratings_or_training_is_refused(data: DataSet, tmp_path: Path) -> None:
    files = amazon({f"u{n}": list(range(n % 3, 9)) for n in range(20)}, items=9)
    bought = prepare("amazon", write_files(tmp_path / "a.zip", files), tmp_path / "amazon")
    with pytest.raises(InputError, match="has no ratings"):
        sequences(bought, domain=load_domain("products"))
    made = DataSet.open(data.folder)
    made.manifest["rules"]["split"] = "users at random"
    made.__dict__["samples"] = replace(made.samples, split=np.full_like(made.samples.split, 2))
    rated = np.isin(np.arange(made.users.num_rows), made.samples.user)
    starts, user = (
        made.interactions.starts,
        np.repeat(np.arange(made.users.num_rows), np.diff(made.interactions.starts)),
    )
    assert len(starts) == made.users.num_rows + 1
    rating = np.where(rated[user], made.interactions.ratings(), np.nan).astype(np.float32)
    made.__dict__["interactions"] = replace(made.interactions, rating=rating)
    with pytest.raises(InputError, match="no user has 2 ratings of the split train before the first of another"):
        sequences(made)


def test_a_sequence_longer_than_the_context_is_named(data: DataSet, roomy_model: Path, tmp_path: Path) -> None:
    with Rella.from_gguf(roomy_model, layout="stream", cache=Cache(None), settings=EngineSettings(ctx=256)) as short:
        with pytest.raises(ContextError, match=r"user \d+, from rating 1 on: a sequence of \d+ tokens") as refused:
            written(sequences(data, short, k=15, tokens=10**6), tmp_path / "rows.jsonl", judge=short)
        assert refused.value.remedy == "raise --ctx, or show fewer behaviors (-k)"
    assert list(tmp_path.iterdir()) == []


def test_data_without_averages_says_none(small_data: DataSet, data: DataSet, tmp_path: Path) -> None:
    training, _, record = written(sequences(small_data), tmp_path / "rows.jsonl")
    assert record["averages"] is False
    assert sequences(data).facts(0)["averages"] is True  # each line shows one
    assert sequences(data, drop=0.3).facts(0)["averages"] is False
    assert all("what people give" not in row["text"] for row in training)
    assert training[0]["text"].splitlines()[1].endswith(tuple(f"): {label}" for label in "12345"))


def test_a_rating_alone_at_a_users_end_is_left_out_and_counted(data: DataSet) -> None:
    pairs, whole = sequences(data, k=1), sequences(data, k=50)  # windows of two; each user one window
    counts = [sum(len(example.lines) for example in each.training()) + each.alone for each in (pairs, whole)]
    assert pairs.alone > whole.alone and counts[0] == counts[1]


def test_data_without_a_validation_split_says_why_there_are_no_validation_rows(
    data: DataSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = DataSet.open(data.folder)
    made.__dict__["samples"] = replace(made.samples, split=np.where(made.samples.split == 1, 0, made.samples.split))
    rows = export_rows(sequences(made), tmp_path / "rows.jsonl", form="text", valid=5)
    assert rows.valid is None and "has no split valid, so there are no validation rows; prepare it" in caplog.text
