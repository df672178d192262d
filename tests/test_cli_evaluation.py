"""From a prepared data set to a table, through the commands."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import Run, runner
from tiny_model import Shape, write_model

from rella_cpp import (
    Cache,
    DataSet,
    EvaluationSettings,
    Histories,
    Rella,
    build_index,
    evaluate,
    load_domain,
)


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def index(rella: Run, small_data: DataSet, roomy_model: Path, tmp_path: Path) -> Path:
    result = rella("index", "build", small_data.folder, "-o", tmp_path / "index", "-m", roomy_model, "--json")
    assert result.code == 0, result.err
    return tmp_path / "index"


@pytest.fixture
def history(small_data: DataSet, tmp_path: Path) -> Path:
    path = tmp_path / "history.json"
    behaviors = [{**b.item.fields, "rating": b.rating} for b in small_data.history(5, 12)]
    path.write_text(json.dumps(behaviors))
    return path


def test_an_index_is_built_shown_searched_and_grown(
    rella: Run, small_data: DataSet, index: Path, roomy_model: Path, tmp_path: Path
) -> None:
    (facts,) = rella("index", "info", index, "--json").lines()
    assert (facts["items"], facts["dim"], facts["dtype"]) == (30, 16, "f16")
    assert "PCA keeps" in rella("index", "info", index).out
    title = small_data.item(3).fields["title"]
    first = rella("index", "search", index, title, "-n", 3, "-m", roomy_model, "--json").lines()
    assert len(first) == 3 and set(first[0]) == {"rank", "cosine", "item"}
    assert str(title) in rella("index", "search", index, title, "-m", roomy_model).out
    items = tmp_path / "new.json"
    items.write_text('[{"id": "900", "title": "A new one"}, {"id": "901", "title": "Another"}]')
    (grown,) = rella("index", "add", index, items, "-m", roomy_model, "--json").lines()
    assert (grown["added"], grown["items"]) == (2, 32)
    again = rella("index", "build", small_data.folder, "-o", index, "-m", roomy_model)
    assert again.code == 2 and "another items: 32, not 30" in again.err


def test_from_a_data_set_to_a_calibrated_comparison(
    rella: Run, small_data: DataSet, index: Path, roomy_model: Path, tmp_path: Path, history: Path
) -> None:
    common = ("-m", roomy_model, "--index", index, "-k", 3)
    valid = rella("evaluate", small_data.folder, *common, "--split", "valid", "-o", tmp_path / "valid", "--json")
    assert valid.code == 0 and set(valid.lines()[0]["metrics"]) == {  # type: ignore[call-overload]
        *(
            "model",
            "base_rate",
            "last_5",
            "last_3",
            "item_mean",
            "similarity",
            "logistic",
            "boosting",
            "bias",
            "factors",
        )
    }
    fitted = rella("calibrate", tmp_path / "valid", "--blend", "-o", tmp_path / "cal.json")
    assert fitted.code == 0 and "weight of gap" in fitted.out
    run = ("evaluate", small_data.folder, *common, "--calibration", tmp_path / "cal.json", "-o", tmp_path / "test")
    shown = rella(*run)
    assert shown.code == 0 and "blend" in shown.out and "samples of" in shown.out
    again = rella(*run)
    assert again.out == shown.out  # complete: the report is printed
    compared = rella("compare", tmp_path / "valid", tmp_path / "test", "--json").lines()
    assert {row["predictor"] for row in compared} >= {"model", "blend", "logistic"}
    table = rella("compare", tmp_path / "valid", tmp_path / "test")
    assert "other samples: no paired difference" in table.out
    scored = rella("score", "--history", history, "--item", history, *common, "--calibration", tmp_path / "cal.json")
    assert scored.code == 0 and "before calibration" in " ".join(scored.out.split())


def test_recommending_needs_an_index_and_a_history_only(
    rella: Run, index: Path, history: Path, roomy_model: Path
) -> None:
    arguments = ("recommend", "--history", history, "--index", index, "-n", 4, "--candidates", 8, "-m", roomy_model)
    rows = rella(*arguments, "--json").lines()
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    seen = {str(behavior["id"]) for behavior in json.loads(history.read_text())}
    assert not seen & {str(row["item"]["id"]) for row in rows}  # type: ignore[index]
    assert "near " in rella(*arguments).out
    contrast = rella(*arguments, "--json", "--contrast").lines()
    assert all("contrast" in row for row in contrast)


def test_a_sweep_and_a_page(rella: Run, small_data: DataSet, roomy_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ("evaluate", small_data.folder, "-m", roomy_model, "--retrieval", "recent", "--limit", 24)
    shown = rella(*arguments, "--sweep", "k=2,4", "-o", tmp_path / "sweep")
    assert shown.code == 0 and "k2" in shown.out and "k4" in shown.out
    page = tmp_path / "page.html"
    assert rella("compare", tmp_path / "sweep", "--html", page).code == 0
    text = page.read_text()
    for part in ("ROC", "Reliability", "Scores by label", "AUC against K", "&quot;retrieval&quot;", "<svg"):
        assert part in text
    assert not re.search(r"""(src|href)=["'](?!#)|url\(["']?(?!#)|@import""", text)  # nothing to fetch
    refused = rella("compare", tmp_path / "sweep", "--html", page)
    assert refused.code == 2 and "page.html: is there already" in refused.err


def test_ready_prompts_and_baselines_alone(rella: Run, small_data: DataSet, roomy_model: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "p.json"
    prompts.write_text(json.dumps([{"input": f"Movie {n}? ", "output": ["No", "Yes"][n % 2]} for n in range(12)]))
    shown = rella("evaluate", "--prompts", prompts, "-m", roomy_model, "-o", tmp_path / "a", "--json")
    assert shown.lines()[0]["samples"] == 12
    plain = rella("evaluate", small_data.folder, "--baselines-only", "-o", tmp_path / "b")
    assert plain.code == 0 and "logistic" in plain.out and "similarity baseline left out" in plain.err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_with_9_and_run_again_gives_the_same_file(
    small_data: DataSet, models: Path, tmp_path: Path, own_cache: Path
) -> None:
    model = write_model(models / "slow.gguf", shape=Shape(ctx=4096, embd=128, ff=256, layers=4))

    def command(out: str) -> list[str]:
        arguments = f"evaluate {small_data.folder} -m {model} --retrieval recent --split train --limit 40 -o {out}"
        return [sys.executable, "-m", "rella_cli", *arguments.split()]

    whole, cut = str(tmp_path / "whole"), str(tmp_path / "cut")
    subprocess.run(command(whole), check=True, capture_output=True)
    part = tmp_path / "cut" / "predictions.jsonl.part"
    kills = 0
    for lines in (1, 20):
        process = subprocess.Popen(command(cut), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (part.exists() and part.read_bytes().count(b"\n") >= lines):
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills
    subprocess.run(command(cut), check=True, capture_output=True)
    for name in ("predictions.jsonl", "run.json", "metrics.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


BAD = [
    ("evaluate {nowhere} -o {out}", "nowhere: no such folder"),
    ("evaluate {items} -o {out}", "items.json: "),
    ("evaluate -o {out}", "give DATA or --prompts"),
    ("evaluate {data} --prompts {items} -o {out}", "not both"),
    ("evaluate {data} -m {model} --split all -o {out}", "split is 'all'"),
    ("evaluate {data} -m {model} --limit 0 -o {out}", "limit is 0"),
    (
        "evaluate {data} -m {model} --protocol rank --limit-users 3 -o {out}",
        "--limit-users are those of --protocol clicks",
    ),
    ("evaluate {data} -m {model} --sweep j=3 -o {out}", "--sweep is 'j=3'; give values of K"),
    ("evaluate {data} -m {model} --sweep k=3,x -o {out}", "--sweep is 'k=3,x'"),
    ("evaluate {data} -m {model} --sweep k=3,3 -o {out}", "each value of K once"),
    ("evaluate {data} -m {model} --index {data} -o {out}", "is a prepared data set, not an index"),
    ("evaluate {data} -m {model} --index {index} --domain books -o {out}", "domain movies"),
    ("evaluate {data} --baselines-only --contrast -o {out}", "--baselines-only"),
    ("evaluate {data} --baselines-only -o {items}", "items.json: "),
    ("evaluate {data} --baselines-only -o {index}", "holds something else than a run"),
    ("evaluate --prompts {broken} -m {model} -o {out}", "broken.json, line 2, column 1: is not JSON"),
    ("evaluate --prompts {items} -m {model} -o {out}", "items.json, entry[0]: input is null"),
    ("evaluate {data} -m {model} --calibration {items} -o {out}", "items.json: is damaged (it is no JSON object)"),
    ("calibrate {data} -o {out}", "is no run (it has no run.json)"),
    ("calibrate {nowhere} -o {out}", "no such folder"),
    ("calibrate {run} -o {out}", "is a run on the split test; calibrate on validation only"),
    ("calibrate {run} -o {items}", "items.json: is there already"),
    ("compare {data}", "is no run"),
    ("compare {run} --html {items}", "items.json: is there already"),
    ("index build {items} -o {run}", "is there already, and no index: it is not overwritten"),
    ("index build {items} -o {run} --force", "is there already, and no index"),
    ("index build {items} -o {data} --force", "is there already, and no index"),
    ("data prepare ml-1m {data} {index} --force", "no prepared data set: it is not overwritten"),
    ("index info {data}", "is a prepared data set, not an index"),
    ("evaluate --prompts {items} --sweep k=3,4 -m {model} -o {out}", "leave out --split, --limit-users, --sweep"),
    ("evaluate {data} --baselines-only --sweep k=3,4 -o {run}", "is a run; name a folder of its own"),
    ("calibrate {run} -o {index} --force", "index: is a folder"),
    ("calibrate {run} -o {run}/run.json --force", "run.json: is one of the inputs"),
    ("evaluate {data} -m {model} --head {run} --contrast -o {out}", "a head has no contrast"),
    ("recommend --history {history} --index {index} -m {model} --candidates 0", "of 0 candidates"),
    ("index build {nowhere} -o {out}", "nowhere: no such file"),
    ("index build {items} -o {out} --dim 0", "dim is 0"),
    ("index build {items} -o {out} --pool max", "pool is 'max'; one of prompt, item"),
    ("index build {twice} -o {out}", "item[1]: is the same item as item[0]"),
    ("index build {items} -o {index} -m {model}", "is an index with another items: 30, not 1"),
    ("index add {nowhere} {items}", "no such folder"),
    ("index add {index} {items} -m {other}", "was built with the model"),
    ("index search {index} x -m {other}", "give that model as --embed-model"),
    ("index search {index} x -m {model} -n 0", "count is 0"),
    ("index info {items}", "is no index"),
    ("recommend --history {history} --index {nowhere}", "no such folder"),
    ("recommend --history {history} --index {index} -m {model} -n 0", "0 recommendations of 30 candidates are wanted"),
    ("recommend --history {items} --index {index} -m {other}", "'Stranger' is not in the index"),
    ("score --history {history} --item {items} --index {run} -m {model}", "is no index"),
    ("score --history {history} --item {items} --calibration {run}/run.json -m {model}", "is no calibration"),
]


@pytest.fixture(scope="module")
def world(small_data: DataSet, roomy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files right and wrong, an index and a run; made once, since nothing of it may be changed."""
    folder = tmp_path_factory.mktemp("world")
    files = {name: folder / f"{name}.json" for name in ("items", "broken", "twice", "history")}
    files["items"].write_text('[{"title": "Stranger"}]')
    files["broken"].write_text('[{"input": "x"},\nnonsense]')
    files["twice"].write_text('[{"id": 1, "title": "A"}, {"id": 1, "title": "B"}]')
    files["history"].write_text(json.dumps([{**b.item.fields, "rating": b.rating} for b in small_data.history(5, 12)]))
    files |= {name: folder / name for name in ("nowhere", "out", "run", "index")}
    files |= {"data": small_data.folder, "model": roomy_model, "other": write_model(folder / "other.gguf", seed=9)}
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as judge:
        build_index(judge.vectors, small_data.all_items(), files["index"])
    histories = Histories(small_data, None, load_domain("movies"))
    evaluate(histories, files["run"], EvaluationSettings(), judge=None)
    return files


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(rella: Run, world: dict[str, Path], arguments: str, said: str) -> None:
    before = {path: path.read_bytes() for path in world["out"].parent.rglob("*") if path.is_file()}
    result = rella(*arguments.format(**world).split())
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")
    assert {path: path.read_bytes() for path in world["out"].parent.rglob("*") if path.is_file()} == before
