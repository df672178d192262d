"""`rella tune stream`: from a data set to a bundle, with a trainer that writes a ready adapter."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Run, runner
from look_alikes import ml_1m, random_ratings, write_files
from peft_folder import write_peft
from tiny_model import Shape

from rella_cpp import Bundle, DataSet, EngineError, InputError, Rella, StreamTraining, load_domain, tune_stream
from rella_cpp.storage.progress import Progress
from rella_cpp.training import stream, trainer

SETTINGS = StreamTraining(minutes=0.1, k=3, users=40, valid=20)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let a ready adapter be what training comes to; the options of each training."""
    asked: list[list[str]] = []

    def train(rows: Path, base: Path, out: Path, options: Sequence[str], progress: Progress) -> None:
        assert rows.is_file() and base.is_file()
        asked.append(list(options))
        progress("training", 10, 10, "loss 1.0")
        write_peft(out, shape=Shape(ctx=4096))

    monkeypatch.setattr(stream, "check_trainer", lambda: None)
    monkeypatch.setattr(stream, "train_adapter", train)
    return asked


def test_a_bundle_comes_out_that_says_what_it_is_worth(
    small_data: DataSet, roomy_model: Path, trained: list[list[str]], tmp_path: Path
) -> None:
    made = tune_stream(small_data, load_domain("movies"), roomy_model, tmp_path / "b", SETTINGS)
    assert trained == [["--minutes", "0.1", "--rank", "8", "--alpha", "16"]]
    after, before = made.card["measured"]
    assert "platt" in after["metrics"] and "platt" not in before["metrics"]  # too few samples for a blend
    assert before["samples"] == after["samples"] and not (tmp_path / ".b.tuning").exists()
    assert Bundle.open(tmp_path / "b").manifest.layout == "stream"
    with Rella.from_bundle(tmp_path / "b") as rella:
        history = [{"title": f"Movie {n}", "year": 1990, "rating": n % 5 + 1} for n in range(4)]
        assert rella.score(history, {"title": "Movie 9", "year": 1999}).calibrated is not None


def test_killed_it_goes_on(
    small_data: DataSet, roomy_model: Path, trained: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stream, "fit_calibration", fail)
    with pytest.raises(KeyboardInterrupt):
        tune_stream(small_data, load_domain("movies"), roomy_model, tmp_path / "b", SETTINGS)
    monkeypatch.undo()
    monkeypatch.setattr(stream, "check_trainer", lambda: None)
    tune_stream(small_data, load_domain("movies"), roomy_model, tmp_path / "b", SETTINGS)
    assert len(trained) == 1 and (tmp_path / "b" / "bundle.json").is_file()


def test_what_another_tuning_began_is_not_taken_up(
    small_data: DataSet, roomy_model: Path, trained: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "fit_calibration", None)
    with pytest.raises(TypeError):
        tune_stream(small_data, load_domain("movies"), roomy_model, tmp_path / "b", SETTINGS)
    with pytest.raises(InputError, match="holds what another tuning began"):
        tune_stream(small_data, load_domain("movies"), roomy_model, tmp_path / "b", replace(SETTINGS, rank=4))
    assert len(trained) == 1


def test_a_download_is_prepared_first(roomy_model: Path, trained: list[list[str]], tmp_path: Path) -> None:
    source = tmp_path / "ml-1m.zip"
    write_files(source, ml_1m(random_ratings(seed=1, users=60, movies=16, most=16), movies=16, users=60))
    data = stream.prepared_download("ml-1m", source, tmp_path / "b")
    assert data.interactions.average is not None
    assert stream.prepared_download("ml-1m", source, tmp_path / "b").identity == data.identity
    assert tune_stream(data, load_domain("movies"), roomy_model, tmp_path / "b", SETTINGS).name == "b"
    assert not data.folder.exists()
    with pytest.raises(InputError, match="needs its columns named"):
        stream.prepared_download("table", source, tmp_path / "b")


def test_what_cannot_be_trained_is_one_line(
    capsys: pytest.CaptureFixture[str], small_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rella: Run = runner(capsys)
    monkeypatch.setattr(trainer, "find_spec", lambda name: None if name == "peft" else object())
    result = rella("tune", "stream", small_data.folder, "--bundle", tmp_path / "b")
    assert (result.code, result.err) == (2, "rella: training needs peft; pip install 'rella-cpp[train]'\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").write_text("x")
    assert "is there already" in rella("tune", "stream", small_data.folder, "--bundle", tmp_path / "b").err
    with pytest.raises(InputError, match="minutes is 0"):
        StreamTraining(minutes=0)
    with pytest.raises(InputError, match="rank is 0"):
        StreamTraining(rank=0)
    with pytest.raises(InputError, match="0 tokens are wanted"):
        StreamTraining(tokens=0)


def test_what_is_refused_at_the_start_leaves_nothing_in_the_way(
    small_data: DataSet, roomy_model: Path, trained: list[list[str]], tmp_path: Path
) -> None:
    (tmp_path / "no.gguf").write_bytes(b"no model")
    for bad in (tmp_path / "none.gguf", tmp_path / "no.gguf"):
        with pytest.raises(InputError):
            tune_stream(small_data, load_domain("movies"), bad, tmp_path / "b", SETTINGS)
    source = tmp_path / "ml-1m.zip"
    write_files(source, ml_1m(random_ratings(seed=1, users=60, movies=16, most=16), movies=16, users=60))
    with pytest.raises(InputError):
        stream.prepared_download("ml-25m", source, tmp_path / "c")
    assert stream.prepared_download("ml-1m", source, tmp_path / "c").name == "ml-1m"
    assert tune_stream(small_data, load_domain("movies"), roomy_model, tmp_path / "b", SETTINGS).name == "b"


def test_the_trainer_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    (tmp_path / "rella_train").mkdir()
    (tmp_path / "rella_train" / "__init__.py").touch()
    (tmp_path / "rella_train" / "lora.py").write_text("import sys, time\nprint(*sys.argv, flush=True)\ntime.sleep(60)")
    command = [sys.executable, "-c", trainer._TRAINER, "rows"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline().endswith("rows\n")
        process.stdin.close()
        assert process.wait(timeout=20) == 1
    (tmp_path / "rella_train" / "lora.py").write_text("print('done')")  # and by itself, while that one waits for it
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stdout.read() == "done\n"
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("print('50 of 100 tokens, loss 1.25, 9 tokens/s, 0.1 min left')", None, ""),
        ("import sys; print('rows.jsonl: is no row'); sys.exit(2)", InputError, "^rows.jsonl: is no row$"),
        ("print('a\\nb'); raise SystemExit(3)", EngineError, "failed with status 3: a / b"),
    ],
)
def test_what_the_trainer_says_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception] | None, said: str
) -> None:
    real, seen = subprocess.Popen, list[tuple[object, ...]]()
    monkeypatch.setattr(subprocess, "Popen", lambda _, **more: real([sys.executable, "-c", code], **more))
    if error is None:
        trainer.train_adapter(tmp_path / "r", tmp_path / "b", tmp_path / "o", [], lambda *step: seen.append(step))
        assert seen == [("training", 50, 100, "loss 1.25")]
        return
    with pytest.raises(error, match=said):
        trainer.train_adapter(tmp_path / "r", tmp_path / "b", tmp_path / "o", [], lambda *step: None)
