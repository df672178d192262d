"""The protocol `choose`: each user's next item among items never touched; and rankings by likelihood."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pytest
from judges import MOVIES, Killed, Mean

from rella_cpp import (
    Cache,
    ChoiceQuery,
    DataSet,
    EngineSettings,
    Histories,
    InputError,
    Item,
    Likelihood,
    ModelIdentity,
    RankingSettings,
    Rella,
    Run,
    SummarySettings,
    build_index,
    compare_runs,
    evaluate_ranking,
    fit_calibration,
    load_domain,
    report,
    write_page,
)
from rella_cpp.datasets.leave_one_out import LeaveOneOut
from rella_cpp.datasets.negatives import Candidates
from rella_cpp.evaluation.baselines.popularity import TrainingCounts
from rella_cpp.evaluation.protocols import CHOOSE
from rella_cpp.evaluation.runs import GROUP

WIDTH = 5
FILES = ["predictions.jsonl", "run.json"]


class Chooser:
    """Finds a name the likelier the smaller its checksum; counts the users it saw and can be killed."""

    def __init__(self, stop_after: int = 10**6) -> None:
        self.queries: list[ChoiceQuery] = []
        self.stop_after = stop_after

    def likelihoods(self, queries: Sequence[ChoiceQuery]) -> list[list[Likelihood]]:
        found = []
        for query in queries:
            if len(self.queries) == self.stop_after:
                raise Killed
            self.queries.append(query)
            used, model = tuple(range(len(query.history))), ModelIdentity("checksum", "f")
            values = [-crc32(MOVIES.name_item(Item.of(item)).encode()) % 1000 / 10 - 101 for item in query.items]
            found.append(
                [
                    Likelihood(Item.of(item), value, 2, 0.2, 9, used, len(used) // 8, model)
                    for item, value in zip(query.items, values, strict=True)
                ]
            )
        return found

    def settings(self) -> Mapping[str, object]:
        return {"model": {"name": "checksum", "fingerprint": "f"}, "domain": {"fingerprint": "d"}}


def choose(data: DataSet, out: Path, judge: Any, ranking: Any = None, force: bool = False, **settings: Any) -> Run:
    chosen = RankingSettings.choosing(**{"limit": 20, "k": 5, "candidates": WIDTH, **settings})
    histories = Histories(data, None, MOVIES)
    return evaluate_ranking(histories, out, chosen, judge=judge, ranking=ranking, force=force)


def drawn(data: DataSet, split: str = "test", limit: int | None = 20) -> Candidates:
    return Candidates.draw(data, LeaveOneOut(data), split, limit, 0, WIDTH - 1)


@pytest.mark.parametrize(("split", "back"), [("test", 1), ("valid", 2), ("train", 3)])
def test_each_user_has_the_next_item_among_items_never_touched(sparse_data: DataSet, split: str, back: int) -> None:
    found, known = drawn(sparse_data, split, None), sparse_data.interactions
    lengths = np.diff(known.starts)
    assert found.user.tolist() == np.flatnonzero(lengths >= 5).tolist()
    for row, user in enumerate(found.user.tolist()):
        own = known.item[known.starts[user] : known.starts[user + 1]].tolist()
        place = int(found.positive[row])
        assert found.position[row] == len(own) - back and found.items[row, place] == own[-back]
        others = np.delete(found.items[row], place).tolist()
        assert len(set(others)) == WIDTH - 1 and not set(others) & set(own)
    assert len(set(found.positive.tolist())) == WIDTH  # the target's place is drawn, too


def test_popularity_counts_what_others_did_in_training(sparse_data: DataSet) -> None:
    left, known = LeaveOneOut(sparse_data), sparse_data.interactions
    counts, tested = TrainingCounts(sparse_data, left.trains()), set(left.users.tolist())
    trained: list[tuple[int, int]] = []
    for user in range(len(known.starts) - 1):
        own = known.item[known.starts[user] : known.starts[user + 1]].tolist()
        trained += [(user, item) for item in (own[:-2] if user in tested else own)]
    everybody = Counter(item for _, item in trained)
    for split in ("test", "train"):  # whose target trains: its own user does not count for it
        found = drawn(sparse_data, split)
        for user, items in zip(found.user.tolist(), found.items, strict=True):
            wanted = [everybody[item] - trained.count((user, item)) for item in items.tolist()]
            assert counts.of(user, items).tolist() == wanted


def test_a_run_has_one_line_a_candidate_in_the_order_of_the_prompt(sparse_data: DataSet, tmp_path: Path) -> None:
    judge = Chooser()
    done, found = choose(sparse_data, tmp_path / "run", judge), drawn(sparse_data)
    lines = iter(done.lines)
    for row, (user, query) in enumerate(zip(found.user.tolist(), judge.queries, strict=True)):
        assert (query.k, query.allow_empty_history, len(query.history)) == (5, True, found.position[row])
        assert list(query.items) == [sparse_data.item(item) for item in found.items[row].tolist()]
        for column, item in enumerate(found.items[row].tolist()):
            line = next(lines)
            assert line["sample"] == user * WIDTH + column and line["item"] == sparse_data.item_id(item)
            assert line["label"] == (column == found.positive[row]) and line["per_token"] == line["log_probability"] / 2
            assert list(line)[4:] == [
                *("log_probability", "per_token", "tokens", "share", "prompt_tokens", "used", "dropped", "rankers")
            ]
    assert next(lines, None) is None
    assert done.settings["samples"] == {
        **{"protocol": "choose", "split": "test", "split_by": "leave one out", "limit": 20, "seed": 0},
        **{"candidates": 5, "tied": 1, "users": 20, "count": 100},
    }
    assert done.settings["reading"] == {
        **{"k": 5, "retrieval": "recent", "order": "time", "by": "likelihood", "listed": "as drawn"},
        "wording": MOVIES.choice_fingerprint,
    }
    assert "ranking" not in done.settings


def test_a_report_has_the_protocols_metrics(sparse_data: DataSet, tmp_path: Path) -> None:
    done = choose(sparse_data, tmp_path / "run", Chooser(), limit=None)
    found = report(done)
    assert (found["protocol"], found["candidates"], found["users"]) == ("choose", WIDTH, len(done.lines) // WIDTH)
    assert list(found["metrics"]) == ["model", "per_token", "popularity"]
    assert tuple(found["metrics"]["model"]) == tuple(found["chance"]) == ("hr@1", "hr@5", "ndcg@5", "mrr")
    # By hand: the share of users whose positive has the greatest log-probability; no two are alike.
    scores = np.array([line["log_probability"] for line in done.lines]).reshape(-1, WIDTH)
    positive = np.array([line["label"] for line in done.lines]).reshape(-1, WIDTH).argmax(axis=1)
    assert found["metrics"]["model"]["hr@1"]["value"] == pytest.approx((scores.argmax(axis=1) == positive).mean())
    places = (scores > scores[np.arange(len(positive)), positive][:, None]).sum(axis=1) + 1
    assert found["metrics"]["model"]["mrr"]["value"] == pytest.approx((1 / places).mean())
    assert found["metrics"]["model"]["hr@5"]["value"] == 1 and found["chance"]["hr@1"] == 1 / WIDTH
    # Both order names of two tokens alike: their difference is nothing, in every draw.
    difference = found["differences"]["model"]["popularity"]["hr@1"]
    assert found["differences"]["per_token"]["popularity"]["hr@1"] == difference
    assert any("HR@1" in sentence for sentence in found["verdicts"])
    assert found["shortened"] == sum(line["dropped"] > 0 for line in done.lines[::WIDTH])  # prompts, not candidates
    assert found["notes"] == ["similarity baseline left out: it needs --index"]


@pytest.mark.parametrize("stop", [0, 3, GROUP, 2 * GROUP + 1])
def test_killed_anywhere_and_run_again_the_files_are_the_same(sparse_data: DataSet, tmp_path: Path, stop: int) -> None:
    wanted = choose(sparse_data, tmp_path / "whole", Chooser())
    with pytest.raises(Killed):
        choose(sparse_data, tmp_path / "cut", Chooser(stop))
    rest = Chooser()
    done = choose(sparse_data, tmp_path / "cut", rest)
    assert len(rest.queries) == 20 - stop // GROUP * GROUP  # whole groups of eight users are kept
    for name in FILES:
        assert (done.folder / name).read_bytes() == (wanted.folder / name).read_bytes()
    again = Chooser()
    choose(sparse_data, tmp_path / "cut", again)
    assert again.queries == []


def test_lines_are_what_choose_gives_to_the_last_bit_where_exact(
    exact_judge: Rella, sparse_data: DataSet, tmp_path: Path
) -> None:
    index = build_index(exact_judge.vectors, sparse_data.all_items(), tmp_path / "index")
    settings = RankingSettings.choosing(limit=3, k=3, candidates=WIDTH)
    histories = Histories(sparse_data, index, MOVIES)
    done = evaluate_ranking(histories, tmp_path / "run", settings, judge=exact_judge)
    found = drawn(sparse_data, limit=3)
    for row, user in enumerate(found.user.tolist()):
        history = sparse_data.history(user, int(found.position[row]))
        items = [sparse_data.item(item) for item in found.items[row].tolist()]
        wanted = exact_judge.choose(history, items, user=sparse_data.user(user), k=3)
        for line, each in zip(done.lines[row * WIDTH :][:WIDTH], wanted, strict=True):
            assert (line["log_probability"], line["share"], line["tokens"]) == (
                *(each.log_probability, each.share, each.tokens),
            )
            assert line["used"] == list(each.used)
    assert list(report(done)["metrics"]) == ["model", "per_token", "popularity", "similarity"]


class Listed(NamedTuple):
    """A list that puts the greatest number first."""

    def scores_of(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return items.astype(np.float64)


class Lists:
    fingerprint = "abc"
    folder = Path("lists")

    def __init__(self, name: str = "SASRec", lacking: Sequence[int] = ()) -> None:
        self.name, self.lacking = name, lacking
        self.asked: list[tuple[int, int]] = []

    def check(self, data: DataSet) -> None:
        if self.name == "foreign":
            raise InputError("are rankings for other data")

    def holds(self, users: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        return ~np.isin(users, self.lacking) & (positions >= 0)

    def find(self, user: int, position: int) -> Listed | None:
        self.asked.append((user, position))
        return None if user in self.lacking else Listed()


def test_another_recommenders_lists_are_a_baseline_by_its_name(sparse_data: DataSet, tmp_path: Path) -> None:
    lists, found = Lists(), drawn(sparse_data)
    done = choose(sparse_data, tmp_path / "run", None, lists)
    assert done.settings["ranking"] == {"name": "SASRec", "fingerprint": "abc"} and done.settings["judge"] is None
    assert set(lists.asked) == set(zip(found.user.tolist(), found.position.tolist(), strict=True))
    assert [line["rankers"]["sequential"] for line in done.lines] == found.items.ravel().tolist()
    assert list(report(done)["metrics"]) == ["popularity", "SASRec"]
    for name in ("", "popularity", "model"):  # none, or one that would be taken for another
        nameless = choose(sparse_data, tmp_path / f"run {name}", Chooser(), Lists(name))
        assert list(report(nameless)["metrics"]) == ["model", "per_token", "popularity", "sequential"]
    with pytest.raises(InputError, match=r"is a run with another ranking"):
        choose(sparse_data, tmp_path / "run", None)


def test_lists_that_lack_a_user_are_refused_before_anything_is_read(sparse_data: DataSet, tmp_path: Path) -> None:
    found = drawn(sparse_data)
    lacking = found.user[[4, 9, 11]].tolist()
    first = sparse_data.user_id(lacking[0])
    said = rf"^lists: has no list for 3 of the 20 users \(the first: user {first}, .*; import lists"
    judge = Chooser()
    with pytest.raises(InputError, match=said):
        choose(sparse_data, tmp_path / "run", judge, Lists(lacking=lacking))
    with pytest.raises(InputError, match="for other data"):
        choose(sparse_data, tmp_path / "run", judge, Lists("foreign"))
    assert not judge.queries and not (tmp_path / "run").exists()


def test_both_ways_to_judge_are_compared_over_the_same_candidates(sparse_data: DataSet, tmp_path: Path) -> None:
    likely = choose(sparse_data, tmp_path / "likely", Chooser())
    asked = choose(sparse_data, tmp_path / "asked", Mean(), by="yes-no", retrieval="recent")
    assert asked.settings["reading"] == {"k": 5, "retrieval": "recent", "order": "time"}
    rows = compare_runs([likely, asked])
    assert [(row["run"], row["predictor"]) for row in rows] == [
        *(("likely", name) for name in ("model", "per_token", "popularity")),
        ("asked", "model"),
    ]
    assert rows[3]["difference"] and "HR@1" in rows[3]["verdict"]
    # The mean of the history says nothing of a candidate: exactly chance.
    for metric, by_chance in report(asked)["chance"].items():
        assert rows[3]["metrics"][metric]["value"] == pytest.approx(by_chance)
    other = choose(sparse_data, tmp_path / "other", Chooser(), candidates=WIDTH + 1)
    assert "other users or candidates: no paired" in compare_runs([likely, other])[-2]["verdict"]


def test_runs_of_another_kind_are_refused(sparse_data: DataSet, tmp_path: Path) -> None:
    done = choose(sparse_data, tmp_path / "choose", Chooser())
    settings = RankingSettings(split="train", limit=9, negatives=WIDTH - 1, by="likelihood", k=3)
    histories = Histories(sparse_data, None, MOVIES)
    ranked = evaluate_ranking(histories, tmp_path / "rank", settings, judge=Chooser())
    assert ranked.settings["samples"]["negatives"] == WIDTH - 1 and ranked.settings["reading"]["by"] == "likelihood"
    assert "ndcg@10" in report(ranked)["metrics"]["per_token"]
    with pytest.raises(InputError, match=r"is a run of --protocol rank, .* one of choose; compare"):
        compare_runs([done, ranked])
    with pytest.raises(InputError, match="is a run of --protocol choose, whose share of liked items is made up"):
        fit_calibration(done)
    pytest.importorskip("matplotlib")
    write_page([done], tmp_path / "page.html")
    assert "<svg" in (tmp_path / "page.html").read_text()
    with pytest.raises(InputError, match="is a run with another samples"):
        choose(sparse_data, tmp_path / "choose", Chooser(), candidates=WIDTH + 2)
    reworded = load_domain("books")
    with pytest.raises(InputError, match="is a run with another reading"):  # the words of the prompt count, too
        evaluate_ranking(
            Histories(sparse_data, None, reworded),
            tmp_path / "choose",
            RankingSettings.choosing(limit=20, k=5, candidates=WIDTH),
            judge=Chooser(),
        )


def test_a_prompt_that_does_not_fit_is_named_by_its_user(
    roomy_model: Path, sparse_data: DataSet, tmp_path: Path
) -> None:
    first = sparse_data.user_id(int(drawn(sparse_data).user[0]))
    with (
        Rella.from_gguf(roomy_model, settings=EngineSettings(ctx=256), cache=Cache(None)) as tight,
        pytest.raises(InputError, match=rf"user {first}: a prompt of \d+ tokens with no history does not fit"),
    ):
        choose(sparse_data, tmp_path / "run", tight)


def test_targets_at_the_same_time_as_what_stands_before_them_are_counted(sparse_data: DataSet, tmp_path: Path) -> None:
    copy = DataSet(sparse_data.folder, sparse_data.manifest, sparse_data.fingerprint)
    known, found = sparse_data.interactions, drawn(sparse_data)
    assert known.timestamp is not None
    times = known.timestamp.copy()
    for user in found.user.tolist():
        times[known.starts[user + 1] - 1] += 1  # none is tied
    for user in found.user[[3, 7, 8]].tolist():
        times[known.starts[user + 1] - 1] = times[known.starts[user + 1] - 2]
    copy.__dict__["interactions"] = dataclasses.replace(known, timestamp=times)
    done = choose(copy, tmp_path / "run", None)
    assert done.settings["samples"]["tied"] == 3
    assert any(note.startswith("3 of the 20 targets have the time") for note in report(done)["notes"])


def test_what_was_tuned_on_the_datas_own_split_gets_a_note(sparse_data: DataSet, tmp_path: Path) -> None:
    class Tuned(Chooser):
        def settings(self) -> Mapping[str, object]:
            return {"model": {"name": "checksum", "fingerprint": "f", "adapters": [{"name": "a"}]}}

    notes = report(choose(sparse_data, tmp_path / "run", Tuned()))["notes"]
    assert any("what was tuned on that split may have seen them" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"log_probability": "much"}, "is no prediction"),
        ({"share": 1.5}, "is no prediction"),
        ({"per_token": None}, "is no prediction"),
    ],
)
def test_predictions_that_are_none_are_refused(
    sparse_data: DataSet, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = choose(sparse_data, tmp_path / "run", Chooser()).folder / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1] |= change
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputError, match=f"line 2: {said}"):
        report(Run.open(path.parent))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"candidates": 1}, "1 candidates are wanted; give 2 to 1,000"),
        ({"candidates": 1001}, "1001 candidates are wanted"),
        ({"candidates": 40}, "leaves .* items untouched, 39 are wanted"),
        ({"split": "all"}, "split is 'all'"),
        ({"k": 0}, "K is '0'"),
        ({"by": "luck"}, "by is 'luck'; one of yes-no, likelihood"),
        ({"protocol": "draw"}, "protocol is 'draw'"),
        ({"summary": SummarySettings()}, "reads no summary"),
    ],
)
def test_settings_out_of_range_are_refused(
    sparse_data: DataSet, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        if "protocol" in settings:
            RankingSettings(**settings)
        choose(sparse_data, tmp_path / "run", Chooser(), **settings)
    assert not (tmp_path / "run").exists()


def test_users_with_few_interactions_are_not_tested(sparse_data: DataSet) -> None:
    other = DataSet.open(sparse_data.folder)
    known = sparse_data.interactions
    short = type(known)(known.item[:4], None, None, np.array([0, 4]))
    other.__dict__["interactions"] = short
    with pytest.raises(InputError, match="no users in the split test with 5 interactions or more"):
        drawn(other)
    assert CHOOSE.deciding == "hr@1"
