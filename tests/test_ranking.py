import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from browser import needs_browser, opened
from judges import MOVIES, Killed, Mean
from test_calibration import fake_run

from rella_cpp import (
    DataSet,
    Histories,
    InputError,
    Item,
    ItemIndex,
    Query,
    RankingSettings,
    Rella,
    Run,
    Score,
    build_index,
    compare_runs,
    evaluate_ranking,
    fit_calibration,
    report,
    write_page,
)
from rella_cpp.datasets.last_liked import LastLiked
from rella_cpp.datasets.negatives import Candidates
from rella_cpp.evaluation.protocols import RANK
from rella_cpp.evaluation.runs import GROUP

WIDTH = 5
FILES = ["predictions.jsonl", "run.json"]


class Taste(Mean):
    """Judges by the item alone: an order of no meaning, the same whatever the company."""

    def judge(self, queries: Sequence[Query]) -> list[list[Score]]:
        return [
            [replace(score, probability=crc32(str(score.item.fields["id"]).encode()) % 1000 / 1000) for score in scores]
            for scores in super().judge(queries)
        ]


def rank(
    data: DataSet, out: Path, judge: Any, index: ItemIndex | None = None, force: bool = False, **settings: Any
) -> Run:
    chosen = RankingSettings(**{"split": "train", "limit": 20, "k": 5, "negatives": WIDTH - 1, **settings})
    return evaluate_ranking(Histories(data, index, MOVIES), out, chosen, judge=judge, force=force)


@pytest.fixture
def sparse_index(judge: Rella, sparse_data: DataSet, tmp_path: Path) -> ItemIndex:
    return build_index(judge.vectors, sparse_data.all_items(), tmp_path / "index")


def test_a_run_has_one_line_a_candidate_of_the_users_drawn(sparse_data: DataSet, tmp_path: Path) -> None:
    done = rank(sparse_data, tmp_path / "run", Taste())
    drawn = Candidates.draw(sparse_data, LastLiked.of(sparse_data), "train", 20, 0, WIDTH - 1)
    lines = iter(done.lines)
    for row, user in enumerate(drawn.user.tolist()):
        for column, item in enumerate(drawn.items[row].tolist()):
            line = next(lines)
            assert line["sample"] == user * WIDTH + column and line["user"] == sparse_data.user_id(user)
            assert line["item"] == sparse_data.item_id(item) and line["label"] == (column == drawn.positive[row])
            assert line["used"] == list(range(drawn.position[row]))  # the judge is given all that stands before
            assert set(line["rankers"]) == {"popularity"}
    assert next(lines, None) is None
    assert done.settings["samples"] == {
        **{"protocol": "rank", "split": "train", "split_by": "users 10:1:1, seed 0", "limit": 20, "seed": 0},
        **{"negatives": 4, "users": 20, "count": 100},
    }


def test_a_report_has_metrics_differences_and_what_they_say(sparse_data: DataSet, tmp_path: Path) -> None:
    done = rank(sparse_data, tmp_path / "run", Taste(), limit=None)
    found = report(done)
    assert found.items() <= json.loads((done.folder / "metrics.json").read_text()).items()
    assert list(found["metrics"]) == ["model", "popularity"] and found["candidates"] == WIDTH
    assert set(found["differences"]["model"]["popularity"]) == set(found["chance"]) == set(RANK.metrics)
    difference = found["differences"]["model"]["popularity"]["ndcg@10"]
    values = [found["metrics"][name]["ndcg@10"]["value"] for name in ("model", "popularity")]
    assert difference["value"] == pytest.approx(values[0] - values[1])
    assert any("popularity" in sentence for sentence in found["verdicts"])
    assert found["prompt_tokens"] == 7 and found["shortened"] == 0
    assert any("not split by users" in note for note in found["notes"])
    assert "similarity baseline left out: it needs --index" in found["notes"]


def test_a_taste_of_no_meaning_is_told_from_chance_no_oftener_than_its_interval_says(
    sparse_data: DataSet, tmp_path: Path
) -> None:
    said = []
    for seed in range(4):
        found = report(rank(sparse_data, tmp_path / str(seed), Taste(), limit=None, seed=seed))
        area, by_chance = found["metrics"]["model"]["ndcg@10"], found["chance"]["ndcg@10"]
        said.append(any("not distinguishable from chance (NDCG@10" in sentence for sentence in found["verdicts"]))
        assert said[-1] == (area["low"] <= by_chance <= area["high"])
    assert any(said)


def test_a_judge_that_says_nothing_gets_exactly_what_chance_gets(sparse_data: DataSet, tmp_path: Path) -> None:
    # The mean of the history is the same for all candidates: whatever is drawn, no place may be favoured.
    found = report(rank(sparse_data, tmp_path / "run", Mean()))
    for metric, by_chance in found["chance"].items():
        assert found["metrics"]["model"][metric]["value"] == pytest.approx(by_chance, abs=1e-15)


@pytest.mark.parametrize("retrieval", ["recent", "subr"])
def test_lines_are_what_rank_gives_to_the_last_bit_where_exact(
    exact_judge: Rella, sparse_data: DataSet, sparse_index: ItemIndex, tmp_path: Path, retrieval: str
) -> None:
    exact_judge.use_index(sparse_index)
    done = rank(sparse_data, tmp_path / "run", exact_judge, sparse_index, limit=3, k=3, retrieval=retrieval)
    users = LastLiked.of(sparse_data)
    drawn = Candidates.draw(sparse_data, users, "train", 3, 0, WIDTH - 1)
    for row, user in enumerate(drawn.user.tolist()):
        wanted = exact_judge.rank(
            sparse_data.history(user, int(drawn.position[row])),
            [sparse_data.item(item) for item in drawn.items[row].tolist()],
            user=sparse_data.user(user),
            k=3,
            retrieval=retrieval,  # type: ignore[arg-type]
        )
        for line, score in zip(done.lines[row * WIDTH :][:WIDTH], wanted, strict=True):
            assert (line["yes_logit"], line["no_logit"]) == (score.yes_logit, score.no_logit)
            assert line["used"] == list(score.used)


def test_similarity_is_the_mean_cosine_to_the_whole_history(
    sparse_data: DataSet, sparse_index: ItemIndex, tmp_path: Path
) -> None:
    done = rank(sparse_data, tmp_path / "run", None, sparse_index)
    drawn = Candidates.draw(sparse_data, LastLiked.of(sparse_data), "train", 20, 0, WIDTH - 1)

    def cosine(a: Item, b: Item) -> float:
        rows = [sparse_index.row(item, MOVIES) for item in (a, b)]
        first, second = sparse_index.vectors([row for row in rows if row is not None]).astype(np.float64)
        return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    for place, line in enumerate(done.lines):
        row, column = divmod(place, WIDTH)
        history = sparse_data.history(int(drawn.user[row]), int(drawn.position[row]))
        target = sparse_data.item(int(drawn.items[row, column]))
        wanted = np.mean([cosine(behavior.item, target) for behavior in history])
        assert line["rankers"]["similarity"] == pytest.approx(wanted)
    assert set(report(done)["metrics"]) == {"popularity", "similarity"}  # and no model is needed


@pytest.mark.parametrize("stop", [0, 1, WIDTH + 2, GROUP * WIDTH, 2 * GROUP * WIDTH + 3])
def test_killed_anywhere_and_run_again_the_files_are_the_same(sparse_data: DataSet, tmp_path: Path, stop: int) -> None:
    wanted = rank(sparse_data, tmp_path / "whole", Taste())
    with pytest.raises(Killed):
        rank(sparse_data, tmp_path / "cut", Taste(stop))
    rest = Taste()
    done = rank(sparse_data, tmp_path / "cut", rest)
    # Whole groups of eight users are kept, and nothing else.
    assert len(rest.calls) == 20 * WIDTH - stop // (GROUP * WIDTH) * GROUP * WIDTH
    for name in FILES:
        assert (done.folder / name).read_bytes() == (wanted.folder / name).read_bytes()
    assert sorted(path.name for path in done.folder.iterdir()) == FILES
    again = Taste()
    rank(sparse_data, tmp_path / "cut", again)
    assert again.calls == []


def test_a_part_cut_at_any_byte_goes_on_to_the_same_files(sparse_data: DataSet, tmp_path: Path) -> None:
    whole = rank(sparse_data, tmp_path / "whole", Taste())
    text = (whole.folder / "predictions.jsonl").read_bytes()
    ends = [place + 1 for place, byte in enumerate(text) if byte == ord("\n")]
    group = ends[GROUP * WIDTH - 1]
    for number, size in enumerate((0, 9, ends[0], ends[6] + 5, group - 1, group, ends[-2], len(text) - 1, len(text))):
        folder = tmp_path / f"cut{number}"
        folder.mkdir()
        (folder / "run.json").write_bytes((whole.folder / "run.json").read_bytes())
        (folder / "predictions.jsonl.part").write_bytes(text[:size])
        rank(sparse_data, folder, Taste())
        assert (folder / "predictions.jsonl").read_bytes() == text, size


def test_a_line_of_another_item_or_another_drawing_is_refused(sparse_data: DataSet, tmp_path: Path) -> None:
    done = rank(sparse_data, tmp_path / "run", Taste())
    with pytest.raises(InputError, match=r"samples.negatives: 4, not 6"):
        rank(sparse_data, done.folder, Taste(), negatives=6)
    with pytest.raises(InputError, match=r"samples.seed: 0, not 1"):
        rank(sparse_data, done.folder, Taste(), seed=1)
    path = done.folder / "predictions.jsonl"
    lines = path.read_text().splitlines()
    lines[3] = json.dumps(json.loads(lines[3]) | {"item": "999"})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"predictions.jsonl, line 4: is not of item \d+; damaged"):
        rank(sparse_data, done.folder, Taste())
    assert rank(sparse_data, done.folder, Taste(), force=True).samples == done.samples


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 1}, "lines 1 to 5 are not one positive and 4 negatives of one user"),
        ({"user": "x"}, "lines 1 to 5 are not one positive"),
        ({"rankers": {"popularity": None}}, "line 2: is no prediction"),
        ({"rankers": {"fame": 3}}, "line 2: is no prediction"),
    ],
)
def test_predictions_that_are_no_ranking_are_refused(
    sparse_data: DataSet, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    done = rank(sparse_data, tmp_path / "run", Taste())
    path = done.folder / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    place = 1 if not lines[1]["label"] else 2  # a negative, and not the first line
    lines[place] |= change
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputError, match=said.replace("line 2", f"line {place + 1}")):
        report(Run.open(done.folder))


def test_runs_over_the_same_candidates_get_a_paired_difference(sparse_data: DataSet, tmp_path: Path) -> None:
    taste, mean = rank(sparse_data, tmp_path / "taste", Taste()), rank(sparse_data, tmp_path / "mean", Mean())
    rows = compare_runs([taste, mean])
    assert [(row["run"], row["predictor"]) for row in rows] == [
        ("taste", "model"),
        ("taste", "popularity"),
        ("mean", "model"),
    ]
    a, b = (report(run)["metrics"]["model"]["ndcg@10"]["value"] for run in (taste, mean))
    assert rows[2]["difference"]["value"] == pytest.approx(b - a) and rows[2]["users"] == 20
    assert "mean model is" in rows[2]["verdict"] and "taste model: NDCG@10" in rows[2]["verdict"]
    # Another seed numbers its candidates alike, but draws others.
    other = rank(sparse_data, tmp_path / "other", Mean(), seed=1, limit=None)
    whole = rank(sparse_data, tmp_path / "all", Mean(), limit=None)
    assert other.samples == whole.samples
    assert "other users or candidates: no paired" in compare_runs([whole, other])[-2]["verdict"]


def test_clicks_and_rankings_are_not_mixed(sparse_data: DataSet, tmp_path: Path) -> None:
    done = rank(sparse_data, tmp_path / "run", Taste(), split="valid", limit=None)
    with pytest.raises(InputError, match="is a run of --protocol rank, .* one of clicks; compare runs of one protocol"):
        compare_runs([fake_run(tmp_path / "clicks", 50), done])
    with pytest.raises(InputError, match="share of liked items is made up; calibrate on one of --protocol clicks"):
        fit_calibration(done)


@needs_browser
def test_a_browser_opens_the_page_of_rankings(sparse_data: DataSet, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = [
        rank(sparse_data, tmp_path / name, judge(), limit=None) for name, judge in (("taste", Taste), ("mean", Mean))
    ]
    write_page(runs, tmp_path / "page.html")
    shown = opened(tmp_path / "page.html")
    assert shown.count("<svg") > 1 and ">taste<" in shown and "NDCG" in shown


def test_what_cannot_be_scored_is_named_by_its_user(sparse_data: DataSet, tmp_path: Path) -> None:
    class Picky(Taste):
        def judge(self, queries: Sequence[Query]) -> list[list[Score]]:
            if any(len(query.history) > 10 for query in queries):
                raise InputError("is too long", place="item[2]")
            return super().judge(queries)

    users = LastLiked.of(sparse_data)
    drawn = Candidates.draw(sparse_data, users, "train", 20, 0, 4)
    user = sparse_data.user_id(int(drawn.user[drawn.position > 10][0]))
    with pytest.raises(InputError, match=rf"user {user}, item\[2\]: is too long"):
        rank(sparse_data, tmp_path / "run", Picky())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"split": "all"}, "split is 'all'"),
        ({"limit": 0}, "limit is 0; give at least 1 user"),
        ({"seed": -1}, "seed is -1"),
        ({"k": 0}, "K is '0'"),
        ({"negatives": 0}, "0 negatives are wanted; give 1 to 1,000"),
        ({"negatives": 1001}, "1001 negatives"),
        ({"negatives": 36}, "leaves .* items untouched, 36 are wanted"),
        ({"retrieval": "best"}, "retrieval is 'best'"),
    ],
)
def test_settings_out_of_range_are_refused(
    sparse_data: DataSet, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        rank(sparse_data, tmp_path / "run", Mean(), **settings)
    assert not (tmp_path / "run").exists()
