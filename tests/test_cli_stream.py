"""Streams through the commands: scores, ranks, evaluations, heads and the worker; and what they do not have."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Run, runner
from look_alikes import amazon, ml_1m, random_ratings, write_files
from peft_folder import write_peft

from rella_cpp import (
    Cache,
    DataSet,
    EvaluationSettings,
    Histories,
    InputError,
    RankingSettings,
    Rella,
    evaluate,
    evaluate_ranking,
    load_domain,
    prepare,
)
from rella_cpp.datasets.averages import training_rows
from rella_cpp.datasets.options import PrepareOptions

PAST = [
    {"title": "Alien", "year": 1979, "rating": 5, "average": 4.1},
    {"title": "Heat", "year": 1995},
    {"title": "Gigli", "year": 2003, "rating": 1.5},
]
MOVIES = load_domain("movies")


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    (tmp_path / "past.json").write_text(json.dumps(PAST))
    (tmp_path / "items.json").write_text(json.dumps([{"title": "Up", "average": 3.9}, {"title": "Heat", "year": 1995}]))
    return ["--history", tmp_path / "past.json", "--items", tmp_path / "items.json"]


@pytest.fixture(scope="session")
def averaged(models: Path) -> DataSet:
    """A look-alike of MovieLens-1M with averages."""
    ratings = random_ratings(seed=5, users=40, movies=20, most=18)
    source = write_files(models / "averaged.zip", ml_1m(ratings, movies=20, users=40))
    return prepare("ml-1m", source, models / "averaged", options=PrepareOptions(averages=True))


def test_a_score_of_a_stream_has_the_same_keys_and_three_more(
    rella: Run, files: list[object], roomy_model: Path
) -> None:
    how = [*files, "--model", roomy_model, "--layout", "stream"]
    first, second = rella("score", *how, "--json").lines()
    assert list(first) == (
        "item probability yes_logit no_logit answer_mass prompt_tokens used dropped model".split()
        + ["levels", "expected", "unrated"]
    )
    assert first["unrated"] == 1 and first["used"] == [0, 2]
    assert "".join(first["levels"]) == "12345"  # type: ignore[arg-type]
    # Heat is the second item itself, so it is left out as that, and not for want of a rating.
    assert second["excluded"] == 1 and second["unrated"] == 0
    told = rella("score", *how, "--show-prompt")
    shown = " ".join(told.out.split())
    assert "expected " in shown and "1 without a rating left out" in shown
    assert "Alien (1979), 4.1: 5\nGigli (2003): 2\nUp, 3.9:" in told.out
    assert "does not show" not in told.err
    ranked = rella("rank", *how, "--json").lines()
    assert [row["probability"] for row in ranked] == [first["probability"], second["probability"]]
    assert "1 without a rating left out" in " ".join(rella("rank", *how).out.split())


def test_a_layout_is_that_of_the_adapters_rows_unless_one_is_named(
    rella: Run, files: list[object], roomy_model: Path, tmp_path: Path
) -> None:
    folder = write_peft(tmp_path / "adapter")
    record = {
        "domain": {"name": "movies", "fingerprint": MOVIES.stream_fingerprint},
        "layout": "stream",
        "form": "text",
        "chat_format": None,
        "samples": {"k": 1},
    }
    (folder / "rella.json").write_text(json.dumps(record))
    how = [*files, "--model", roomy_model, "--lora", folder]
    (first, _) = rella("score", *how, "--json").lines()
    assert "levels" in first and first["used"] == [2]  # K is 1, as the adapter was tuned
    (first, _) = rella("score", *how, "--json", "-k", 12).lines()
    assert first["used"] == [0, 2]
    refused = rella("score", *how, "--layout", "question")
    assert refused.code == 2 and "was tuned on the layout stream, not question; add --layout stream" in refused.err
    assert rella("score", *how, "--layout", "question", "--allow-mismatch", "--json").code == 0
    refused = rella("score", *how, "--chat-format", "chatml")
    assert refused.code == 2 and "was tuned on the chat format none, not chatml" in refused.err
    assert "tuned on items with their average" not in rella("score", *how).err
    (folder / "rella.json").write_text(json.dumps({**record, "averages": True}))
    told = rella("score", *how).err
    assert told.count("tuned on items with their average, and here are some without") == 1
    some, mixed = "some items have an average and others none", tmp_path / "mixed.json"
    mixed.write_text('[{"title": "Alien", "average": 4.1}, {"title": "Big"}]')
    assert some in rella("score", *how, "--items", mixed).err
    mixed.write_text('[{"title": "Alien", "average": 4.1}, {"title": "Big", "average": 3}]')
    assert some not in rella("score", *how, "--items", mixed).err
    (folder / "rella.json").write_text(json.dumps({**record, "domain": {"name": "movies", "fingerprint": "0" * 64}}))
    assert "was tuned on the domain movies in another wording" in rella("score", *how).err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layout", "strem"], "layout is 'strem'; one of question, stream"),
        (["--window", "sliding"], "window is 'sliding', which streams have; add --layout stream"),
        (["--retrieval", "both"], "retrieval is 'both', which streams have; add --layout stream"),
        (["--layout", "stream", "--order", "reversed"], "order is 'reversed', and a stream is in the order of time"),
        (["--layout", "stream", "--context", "summary"], "a stream shows ratings, not a summary"),
        (["--layout", "stream", "--by", "likelihood"], "--layout stream with --by likelihood"),
        (["--layout", "stream", "-k", "0"], "K is '0'"),
        (["--layout", "stream", "--retrieval", "subr", "--window", "sliding"], "window is 'sliding', and subr shows"),
        (["--layout", "stream", "--domain", "news"], "but the domain news has no ratings"),
    ],
)
def test_what_a_layout_does_not_have_is_refused_before_a_model_is_loaded(
    rella: Run, files: list[object], arguments: list[str], said: str
) -> None:
    refused = rella("rank", *files, "--model", "no-such.gguf", *arguments)
    assert refused.code == 2 and said in refused.err and refused.err.count("\n") == 1


def test_a_history_without_ratings_is_as_good_as_empty(rella: Run, roomy_model: Path, tmp_path: Path) -> None:
    (tmp_path / "past.json").write_text('[{"title": "Alien"}, {"title": "Heat"}]')
    (tmp_path / "item.json").write_text('{"title": "Up"}')
    how = ["--history", tmp_path / "past.json", "--item", tmp_path / "item.json", "--model", roomy_model]
    refused = rella("score", *how, "--layout", "stream")
    assert refused.code == 2 and "no behavior of the history has a rating; give ratings, take" in refused.err
    assert rella("score", *how).code == 0
    (allowed,) = rella("score", *how, "--layout", "stream", "--allow-empty-history", "--json").lines()
    assert allowed["used"] == [] and allowed["unrated"] == 2


def test_an_average_that_is_not_shown_is_told_of(rella: Run, files: list[object], roomy_model: Path) -> None:
    told = rella("score", *files, "--model", roomy_model)
    assert "note: average is not shown; --layout stream shows it" in told.err and "does not show" not in told.err
    items = Path(str(files[3]))
    for other, said in (("averages", "did you mean average?"), ("vote_average", "average is")):
        items.write_text(json.dumps([{"title": "Up", other: 3.9}]))
        assert f"{other} is not read; {said}" in rella("score", *files, "--model", roomy_model).err


def test_a_domain_that_likes_other_ratings_than_the_data_is_refused(
    rella: Run, averaged: DataSet, roomy_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.toml").write_text(rella("domains", "movies").out.replace("liked = 3.5", "liked = 4.5"))
    own = ["--domain", tmp_path / "own.toml"]
    for command in (
        ["evaluate", averaged.folder, "--model", roomy_model, "--layout", "stream", "-o", tmp_path / "run", *own],
        ["export", "stream", averaged.folder, "-o", tmp_path / "rows.jsonl", *own],
        ["tune", "head", averaged.folder, "--model", roomy_model, "--layout", "stream", "-o", tmp_path / "head", *own],
    ):
        refused = rella(*command)
        assert refused.code == 2 and "is liked, and its rating 4 is not so in the domain own; give a" in refused.err
    assert not any((tmp_path / name).exists() for name in ("run", "rows.jsonl", "head"))


def test_a_domain_without_words_for_a_stream_is_refused(
    rella: Run, files: list[object], roomy_model: Path, tmp_path: Path
) -> None:
    text = rella("domains", "movies").out
    (tmp_path / "own.toml").write_text(text[: text.index("[stream]")])
    refused = rella("score", *files, "--model", roomy_model, "--domain", tmp_path / "own.toml", "--layout", "stream")
    assert refused.code == 2 and "the domain own does not say how a stream is written; add [stream]" in refused.err


def test_an_evaluation_reads_samples_as_streams_and_goes_on(
    rella: Run, averaged: DataSet, roomy_model: Path, tmp_path: Path
) -> None:
    how = [averaged.folder, "--model", roomy_model, "--layout", "stream", "--limit", 30, "--sweep", "k=3,4"]
    done = rella("evaluate", *how, "-o", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    facts = json.loads((tmp_path / "run/k3/run.json").read_text())
    assert facts["judge"]["layout"] == "stream"
    assert facts["reading"] == {"k": 3, "retrieval": "recent", "order": "time", "window": "anchored"}
    lines = [json.loads(line) for line in (tmp_path / "run/k3/predictions.jsonl").read_text().splitlines()]
    assert all(3 <= len(line["used"]) <= 5 or len(line["used"]) < 3 for line in lines)
    assert all(sum(line["levels"].values()) == pytest.approx(1) and 1 <= line["expected"] <= 5 for line in lines)
    again = rella("evaluate", *how, "-o", tmp_path / "run", "--json")
    assert again.out == done.out
    other = rella("evaluate", *how, "-o", tmp_path / "run", "--window", "sliding")
    assert other.code == 2 and "window" in other.err


def test_users_candidates_are_ranked_as_streams(
    rella: Run, averaged: DataSet, roomy_model: Path, tmp_path: Path
) -> None:
    how = ["--protocol", "rank", "--negatives", 3, "--limit", 4, "--split", "test", "--layout", "stream"]
    done = rella("evaluate", averaged.folder, "--model", roomy_model, *how, "-o", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert "levels" in (tmp_path / "run/predictions.jsonl").read_text()
    how = ["--protocol", "choose", "--candidates", 3, "--limit", 4, "--layout", "stream", "-o", tmp_path / "chosen"]
    chosen = rella("evaluate", averaged.folder, "--model", roomy_model, *how, "--json")
    assert chosen.code == 0 and "levels" in (tmp_path / "chosen/predictions.jsonl").read_text(), chosen.err


def test_a_head_reads_streams(
    rella: Run, averaged: DataSet, files: list[object], roomy_model: Path, tmp_path: Path
) -> None:
    how = ["--model", roomy_model, "--layout", "stream"]
    made = rella("tune", "head", averaged.folder, *how, "--shots", 24, "-k", 3, "-o", tmp_path / "head", "--json")
    assert made.code == 0, made.err
    facts = json.loads((tmp_path / "head/manifest.json").read_text())
    assert facts["made_for"]["layout"] == "stream" and facts["fitted_on"]["samples"]["k"] == 3
    (first, _) = rella("score", *files, *how, "-k", 3, "--head", tmp_path / "head", "--json").lines()
    assert {"head", "levels"} <= set(first)
    refused = rella("score", *files, "--model", roomy_model, "--head", tmp_path / "head")
    assert refused.code == 2 and "was fitted on the layout stream, not question; add --layout stream" in refused.err
    for other in (["--window", "sliding"], ["--retrieval", "subr"]):
        told = rella("score", *files, *how, "-k", 3, *other, "--head", tmp_path / "head")
        assert told.code == 0 and "the head was fitted on 3 behaviors of a stream (recent, anchored), not" in told.err
    mixed = rella("tune", "head", averaged.folder, *how, "--mix", "both", "-o", tmp_path / "other")
    assert mixed.code == 2 and "--mix chooses among histories of --layout question" in mixed.err


def test_data_without_ratings_is_no_stream(rella: Run, roomy_model: Path, tmp_path: Path) -> None:
    files = amazon({f"u{n}": [n % 5, (n + 1) % 5, (n + 2) % 5, (n + 3) % 5] for n in range(40)}, items=5)
    data = prepare("amazon", write_files(tmp_path / "amazon.zip", files), tmp_path / "amazon")
    for protocol in ("clicks", "rank"):
        refused = rella(
            "evaluate", data.folder, "--model", roomy_model, "--layout", "stream", "--protocol", protocol,
            "-o", tmp_path / protocol,
        )  # fmt: skip
        assert refused.code == 2 and "has no ratings; take --layout question" in refused.err, refused.err


def test_a_worker_answers_with_streams(roomy_model: Path) -> None:
    requests = [
        {"history": PAST, "item": {"title": "Up"}, "k": 1, "window": "sliding"},
        {"history": PAST, "items": [{"title": "Up"}], "retrieval": "both"},
        {"history": PAST, "item": {"title": "Up"}, "order": "shared"},
        {"history": PAST, "item": {"title": "Up"}, "window": "odd"},
    ]
    command = [sys.executable, "-m", "rella_cli", "score", "--jsonl", "--model", str(roomy_model), "--layout", "stream"]
    given = "\n".join(map(json.dumps, requests))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    one, several, shared, odd = map(json.loads, done.stdout.splitlines())
    assert one["score"]["used"] == [2] and "levels" in one["score"]
    assert several["scores"][0]["used"] == [0, 2] and several["scores"][0]["rank"] == 1
    assert "a stream is in the order of time" in shared["error"]["message"]
    assert odd["error"]["place"] == "window" and "one of anchored, sliding" in odd["error"]["message"]


def test_a_calibration_holds_for_the_layout_and_the_window_it_was_fitted_on(
    rella: Run, averaged: DataSet, files: list[object], roomy_model: Path, tmp_path: Path
) -> None:
    how = ["--model", roomy_model, "--layout", "stream", "-k", 3]
    run, fitted = tmp_path / "run", tmp_path / "platt.json"
    assert rella("evaluate", averaged.folder, *how, "--split", "valid", "-o", run).code == 0
    made = rella("calibrate", run, "-o", fitted)
    assert made.code == 0, made.err
    (first, _) = rella("score", *files, *how, "--calibration", fitted, "--json").lines()
    assert 0 < first["calibrated"] < 1  # type: ignore[operator]
    for other in (["--window", "sliding"], ["-k", 4]):
        refused = rella("score", *files, *how, *other, "--calibration", fitted)
        assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
    question = ["--model", roomy_model, "-k", 3, "--retrieval", "recent"]
    refused = rella("score", *files, *question, "--calibration", fitted)
    assert refused.code == 2 and "was fitted" in refused.err


def test_recommendations_are_judged_as_streams(
    rella: Run, averaged: DataSet, roomy_model: Path, tmp_path: Path
) -> None:
    built = rella("index", "build", averaged.folder, "-o", tmp_path / "index", "-m", roomy_model)
    assert built.code == 0, built.err
    past = [{**b.item.fields, "rating": b.rating} for b in averaged.history(3, 9)]
    (tmp_path / "past.json").write_text(json.dumps(past))
    how = ["--history", tmp_path / "past.json", "--index", tmp_path / "index", "--model", roomy_model, "-n", 3]
    rows = rella("recommend", *how, "--layout", "stream", "--retrieval", "both", "-k", 2, "--json").lines()
    assert len(rows) == 3 and all("expected" in json.dumps(row) for row in rows)
    for row in rows:  # the mean of the training ratings, smoothed with five of the mean of all
        item = row["item"]
        training = training_rows(averaged.interactions, averaged.samples, by_users=False)
        own = averaged.interactions.ratings()[training & (averaged.interactions.item == int(item["id"]) - 1)]  # type: ignore[index]
        every = averaged.interactions.ratings()[training].mean()
        assert item["average"] == pytest.approx((own.sum() + 5 * every) / (len(own) + 5), abs=1e-6)  # type: ignore[index]
    assert rella("recommend", *how, "--layout", "stream", "--order", "shared").code == 2


def test_settings_of_another_layout_than_the_models_are_refused(
    averaged: DataSet, roomy_model: Path, tmp_path: Path
) -> None:
    histories = Histories(averaged, None, MOVIES)
    with Rella.from_gguf(roomy_model, layout="stream", cache=Cache(None)) as judge:
        with pytest.raises(InputError, match="the settings are of the layout question, the model's is stream"):
            evaluate(histories, tmp_path / "run", EvaluationSettings(), judge=judge)
        with pytest.raises(InputError, match="the settings are of the layout question, the model's is stream"):
            evaluate_ranking(histories, tmp_path / "run", RankingSettings(), judge=judge)
    assert not (tmp_path / "run").exists()
