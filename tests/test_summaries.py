"""Summaries of a data set's samples: what is read, that a kill changes nothing, what is refused."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judges import MOVIES, Killed

from rella_cpp import (
    Adapter,
    Behavior,
    BlockSummary,
    Cache,
    CollectionSettings,
    ContextError,
    DataSet,
    Engine,
    EngineSettings,
    EvaluationSettings,
    InputError,
    PreferenceSummary,
    Rella,
    Summaries,
    SummarySettings,
    WrittenSummaries,
    write_summaries,
)
from rella_cpp.engine.engine import Continuation
from rella_cpp.engine.segments import Prompt
from rella_cpp.evaluation.clicks import drawn
from rella_cpp.storage.artifacts import read_json, write_json
from rella_cpp.summarization.collection import GROUP

SMALL = SummarySettings(recent=2, block_size=3, summary_tokens=8, item_tokens=8)
FILES = ("summaries.json", "summaries.jsonl")


class Teller:
    """Summarises in words that tell what it was given; remembers it, and can be killed."""

    domain = MOVIES

    def __init__(self, stop_after: int = 10**6) -> None:
        self.calls: list[list[Sequence[Behavior]]] = []
        self.stop_after = stop_after

    def summaries(
        self,
        histories: Sequence[Sequence[Behavior]],
        settings: SummarySettings,
        *,
        together: bool = False,
        progress: Callable[..., None] = print,
    ) -> list[PreferenceSummary]:
        assert together
        if len(self.calls) == self.stop_after:
            raise Killed
        self.calls.append(list(histories))
        progress("summarising", 1, 2)
        return [self.summary(history, settings) for history in histories]

    def summary(self, history: Sequence[Behavior], settings: SummarySettings) -> PreferenceSummary:
        blocks = tuple(
            BlockSummary(tuple(block), " ".join(str(history[row].item.fields["title"]) for row in block))
            for block in settings.blocks(len(history))
        )
        return PreferenceSummary(blocks[-1].text if blocks else None, settings.method, blocks, len(blocks), 1)

    def identity(self) -> Mapping[str, object]:
        return {"model": {"name": "teller", "fingerprint": "f"}}


class Swayed(Engine):
    """A real model whose every text hangs on all prompts of its call, as rounding may make it."""

    def continuations(
        self, prompts: Sequence[Prompt], max_tokens: int, adapters: Sequence[Adapter] = (), *, end: str = ""
    ) -> list[Continuation]:
        tokens = [np.concatenate(prompt.merged).tobytes() for prompt in prompts]
        self.told = [*getattr(self, "told", []), *tokens]
        company = zlib.crc32(b"".join(tokens))
        return [Continuation(f"{zlib.crc32(own)} beside {company}.", True) for own in tokens]


def write(
    data: DataSet, out: Path, author: Any, force: bool = False, progress: Any = None, **settings: Any
) -> WrittenSummaries:
    chosen = CollectionSettings(**{"split": "test", "summary": SMALL, **settings})
    more = {} if progress is None else {"progress": progress}
    return write_summaries(data, out, chosen, author=author, force=force, **more)


def test_each_sample_is_summarised_from_what_stands_before_it(small_data: DataSet, tmp_path: Path) -> None:
    teller = Teller()
    found = write(small_data, tmp_path / "s", teller, split="train", limit=30).summaries
    samples, known = small_data.samples, small_data.interactions
    histories = [history for call in teller.calls for history in call]
    assert [len(call) for call in teller.calls] == [GROUP, 30 - GROUP] and len(found.lines) == 30
    for line, history in zip(found.lines, histories, strict=True):
        user, position = int(samples.user[line.sample]), int(samples.position[line.sample])
        start = int(known.starts[user])
        earlier = [place for place in range(position) if known.item[start + place] != samples.item[line.sample]]
        assert history == small_data.behaviors(start + np.array(earlier, dtype=np.int64))
        assert (line.user, line.item) == (
            small_data.user_id(user),
            small_data.item_id(int(samples.item[line.sample])),
        )
        blocks = [list(block.behaviors) for block in line.summary.blocks]
        assert [place for block in blocks for place in block] == earlier[: max(0, len(earlier) - 2)]


def test_the_samples_are_those_that_an_evaluation_draws(small_data: DataSet, tmp_path: Path) -> None:
    for split in ("train", "test"):
        found = write(small_data, tmp_path / split, Teller(), split=split, limit=20, seed=3).summaries
        evaluated = drawn(small_data, EvaluationSettings(split, 20, 3)).tolist()
        assert [line.sample for line in found.lines] == evaluated == found.rows(split)
    every = write(small_data, tmp_path / "all", Teller(), split="all", limit=20, seed=3).summaries
    assert [len(every.rows(split)) for split in ("train", "valid", "test")] == [20, 20, 20]
    assert every.rows("test") == evaluated
    assert [line.sample for line in every.lines] == sorted(line.sample for line in every.lines)
    assert every.of(evaluated[3]).split == "test" and every.summary == SMALL
    with pytest.raises(InputError, match="has no summary of sample 999999"):
        every.of(999999)


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_killed_anywhere_and_run_again_the_files_are_the_same(small_data: DataSet, tmp_path: Path, stop: int) -> None:
    whole = write(small_data, tmp_path / "whole", Teller(), limit=40).summaries
    with pytest.raises(Killed):
        write(small_data, tmp_path / "cut", Teller(stop), limit=40)
    with (tmp_path / "cut/summaries.jsonl.part").open("ab") as file:  # a kill -9 in the middle of a write
        file.write(b'{"sample": 3, "sum')
    with pytest.raises(InputError, match="is not finished; give the same"):
        Summaries.open(tmp_path / "cut")
    rest = Teller()
    done = write(small_data, tmp_path / "cut", rest, limit=40)
    assert len(rest.calls) == 3 - stop
    for name in FILES:
        assert (done.summaries.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert sorted(path.name for path in done.summaries.folder.iterdir()) == sorted(FILES)
    again = Teller()
    assert write(small_data, tmp_path / "cut", again, limit=40).generated == 0 and again.calls == []


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("method", ["recurrent", "hierarchical"])
def test_texts_of_one_group_sway_no_other_after_a_kill(
    small_data: DataSet, roomy_model: Path, tmp_path: Path, method: Any, kept: bool
) -> None:
    """With a cache on disk (one for each of the two), and with none: a user's samples stand in several groups."""
    settings = SummarySettings(method, recent=0, block_size=3, summary_tokens=40)

    def author(name: str) -> Rella:
        return Rella(Swayed.from_gguf(roomy_model), MOVIES, cache=Cache(tmp_path / name if kept else None))

    def kill(_task: str, done: int, _total: int, _note: str = "") -> None:
        if done > GROUP:  # within the second group
            raise Killed

    with author("first") as rella:
        whole = write(small_data, tmp_path / "whole", rella.summarizer, limit=48, summary=settings)
        told = rella.engine.told  # type: ignore[attr-defined]
        assert kept or len(set(told)) < len(told)  # some block is asked for in two groups
    with author("second") as rella, pytest.raises(Killed):
        write(small_data, tmp_path / "cut", rella.summarizer, limit=48, summary=settings, progress=kill)
    with author("second") as rella:
        done = write(small_data, tmp_path / "cut", rella.summarizer, limit=48, summary=settings)
    assert whole.summaries.report()["texts"] == whole.generated + whole.reused
    for name in FILES:
        assert (done.summaries.folder / name).read_bytes() == (whole.summaries.folder / name).read_bytes()


def test_other_settings_are_refused_and_force_starts_anew(small_data: DataSet, tmp_path: Path) -> None:
    write(small_data, tmp_path / "s", Teller(), limit=20)
    for settings, said in (
        ({"limit": 21}, "is a folder of summaries with another samples.limit: 20, not 21; name another folder"),
        ({"limit": 20, "seed": 1}, "another samples.seed: 0, not 1"),
        ({"limit": 20, "summary": SummarySettings()}, "another summary.recent: 2, not 5"),
    ):
        with pytest.raises(InputError, match=said):
            write(small_data, tmp_path / "s", Teller(), **settings)
    forced = write(small_data, tmp_path / "s", Teller(), limit=5, force=True)
    assert forced.summaries.report()["samples"] == 5
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds something else than a folder of summaries"):
        write(small_data, tmp_path / "other", Teller(), force=True)
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_a_report_counts_what_came_out(small_data: DataSet, tmp_path: Path) -> None:
    class Moody(Teller):
        def summary(self, history: Sequence[Behavior], settings: SummarySettings) -> PreferenceSummary:
            number = len(history) % 3
            if number == 0:
                return PreferenceSummary(None, "hierarchical", ())
            blocks = tuple(BlockSummary((place,), "" if number == 1 else "likes a thing") for place in range(2))
            text = "" if number == 1 else "likes five things in all"
            return PreferenceSummary(text, "hierarchical", blocks, 1, shortened=2, skipped=3)

    moody = Moody()
    written = write(small_data, tmp_path / "s", moody, limit=30)
    kinds = [len(history) % 3 for call in moody.calls for history in call]
    none, empty, full = (kinds.count(number) for number in range(3))
    assert none and empty and full
    report = written.summaries.report()
    # Of two empty blocks nothing more is asked for; else one text of both.
    assert report["texts"] == 2 * empty + 3 * full == written.generated + written.reused
    assert (report["none"], report["empty"], report["written"], report["words"]) == (none, 2 * empty, full, 5.0)
    assert (report["shortened"], report["skipped"]) == (2 * (empty + full), 3 * (empty + full))
    assert written.generated == empty + full and report["splits"] == {"test": 30}


def test_progress_goes_by_samples_also_within_a_group(small_data: DataSet, tmp_path: Path) -> None:
    seen: list[tuple[object, ...]] = []
    write(small_data, tmp_path / "s", Teller(), limit=40, progress=lambda *told: seen.append(told[1:]))
    assert seen == [(8, 40), (16, 40), (24, 40), (32, 40), (36, 40), (40, 40)]


def test_summaries_hold_for_their_data_and_their_words(
    small_data: DataSet, sparse_data: DataSet, tmp_path: Path
) -> None:
    found = write(small_data, tmp_path / "s", Teller(), limit=5).summaries
    found.check(small_data, MOVIES)
    with pytest.raises(InputError, match=r"s: is of another data set: name ml-1m, fingerprint \w{12}, not ml-1m"):
        found.check(sparse_data, MOVIES)
    assert MOVIES.summary is not None
    other = replace(MOVIES, summary=replace(MOVIES.summary, block="What does the person like?"))
    with pytest.raises(InputError, match="was written in other words than the domain movies has now"):
        found.check(small_data, other)


@pytest.mark.parametrize(
    "change",
    [
        {"summary": None},
        {"summary": 5},
        {"empty": 4},
        {"blocks": [{"behaviors": ["x"], "summary": "y"}]},
        {"split": "exam"},
        {"sample": True},
        {"shortened": "2"},
        {"method": 1},
        None,
    ],
)
def test_damaged_lines_are_refused_by_their_number(
    small_data: DataSet, tmp_path: Path, change: dict[str, object] | None
) -> None:
    folder = write(small_data, tmp_path / "s", Teller(), limit=5).summaries.folder
    path = folder / "summaries.jsonl"
    lines = path.read_text().splitlines()
    lines[3] = json.dumps({**json.loads(lines[3]), **change}) if change else lines[3][:20]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"summaries.jsonl, line 4: is no summary; summarise again"):
        Summaries.open(folder).report()
    path.write_text("\n".join(lines[:3]) + "\n")
    with pytest.raises(InputError, match="holds 3 summaries of 5"):
        Summaries.open(folder).report()
    (folder / "summaries.json").write_text("{")
    with pytest.raises(InputError, match="summaries.json: is damaged"):
        Summaries.open(folder)


@pytest.mark.parametrize(
    ("change", "said"), [({"size": 3}, "unexpected keyword"), ({"block_size": 0}, "block size is 0")]
)
def test_settings_that_are_none_are_refused(
    small_data: DataSet, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = write(small_data, tmp_path / "s", Teller(), limit=5).summaries.folder / "summaries.json"
    settings: dict[str, Any] = read_json(path, "")
    write_json(path, {**settings, "summary": {**settings["summary"], **change}})
    with pytest.raises(InputError, match=f"summaries.json: holds settings that are none .*{said}"):
        Summaries.open(path.parent)


@pytest.mark.parametrize(
    "change",
    [
        {"sample": 10**9},
        {"split": "train"},
        {"user": "nobody"},
        {"item": "0"},
        {"method": "hierarchical"},
        {"blocks": [], "summary": None},
    ],
)
def test_lines_that_do_not_fit_the_data_are_refused(
    small_data: DataSet, tmp_path: Path, change: dict[str, object]
) -> None:
    """A line of the test split that says train would bring its sample among the rows to tune on."""
    folder = write(small_data, tmp_path / "s", Teller(), limit=5).summaries.folder
    Summaries.open(folder).check(small_data, MOVIES)
    lines = (folder / "summaries.jsonl").read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), **change})
    (folder / "summaries.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"summaries.jsonl, line 3: does not fit the data; it was changed"):
        Summaries.open(folder).check(small_data, MOVIES)


def test_a_damaged_line_is_found_before_any_work(small_data: DataSet, tmp_path: Path) -> None:
    folder = write(small_data, tmp_path / "s", Teller(), limit=GROUP + 4).summaries.folder
    lines = (folder / "summaries.jsonl").read_text().splitlines(keepends=True)
    (folder / "summaries.jsonl").unlink()
    line = {**json.loads(lines[0]), "summary": 3}
    (folder / "summaries.jsonl.part").write_text("".join([json.dumps(line) + "\n", *lines[1:GROUP]]))
    teller = Teller()
    with pytest.raises(InputError, match=r"summaries.jsonl.part, line 1: is damaged"):
        write(small_data, tmp_path / "s", teller, limit=GROUP + 4)
    assert not teller.calls


def test_what_cannot_be_summarised_is_refused_before_a_folder_is_made(
    small_data: DataSet, roomy_model: Path, tmp_path: Path
) -> None:
    class Mute(Teller):
        domain = replace(MOVIES, summary=None)

    with pytest.raises(InputError, match="domain movies: has no words for preference summaries"):
        write(small_data, tmp_path / "s", Mute())
    with pytest.raises(InputError, match="no such folder"):
        Summaries.open(tmp_path / "s")
    with pytest.raises(InputError, match="is no folder of summaries"):
        Summaries.open(small_data.folder)
    with (
        Rella.from_gguf(roomy_model, settings=EngineSettings(ctx=256), cache=Cache(None)) as rella,
        pytest.raises(
            ContextError, match=r"samples \d+ to \d+, history 0: a prompt of .* do not fit the context of 256"
        ),
    ):
        write(small_data, tmp_path / "s", rella.summarizer)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"split": "exam"}, "split is 'exam'; one of"), ({"limit": 0}, "limit is 0"), ({"seed": -1}, "seed is -1")],
)
def test_settings_out_of_their_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        CollectionSettings(**settings)
