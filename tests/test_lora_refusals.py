"""What the example that trains LoRA refuses besides rows, in one line and before anything long, on a tiny model."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_lora_training import WEIGHTS, question_row, stream_row, write_rows
from tiny_model import Shape, write_model

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore")]  # the warnings of torch and transformers

Refuse = Callable[..., str]


@pytest.fixture(scope="module")
def example() -> Any:
    pytest.importorskip("peft")
    pytest.importorskip("torch").set_num_threads(1)
    return importlib.import_module("rella_train.lora")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("base") / "m.gguf", shape=Shape(ctx=4096, layers=2))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    return write_rows(tmp_path, [stream_row(random, 4, 3) for _ in range(8)], [stream_row(random, 4, 3)] * 2)


@pytest.fixture
def train(example: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run the command as a shell does."""

    def command(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["rella_train.lora", *map(str, arguments)])
        importlib.import_module("rella_train.progress").run(example.main)

    return command


@pytest.fixture
def refuse(train: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run the command, see that it ends with exit code 2, and return the last line that it says."""

    def command(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            train(*arguments)
        assert ended.value.code == 2
        *_, said = capsys.readouterr().err.splitlines()
        assert len(said) < 600 and "; " in said
        return said

    return command


@pytest.mark.parametrize("name", ["afile", "afile/x", "last", "n" * 300])
def test_a_folder_that_cannot_be_written_to_is_refused_before_the_model_is_read(
    refuse: Refuse, rows: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "afile").write_text("")
    (tmp_path / "last").mkdir()
    (tmp_path / "last/last").write_text("")
    (tmp_path / "bad.gguf").write_text("")
    said = refuse(rows, "--base", tmp_path / "bad.gguf", "-o", tmp_path / name)
    assert said.startswith(f"{tmp_path / name}") and said.endswith("; name another folder")


def test_the_trial_of_a_folder_leaves_nothing(example: Any, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/file").write_text("whole")
    for folder in (tmp_path / "a/b", tmp_path / "old", tmp_path / "old/last"):
        example.try_folder(folder)
    assert list(tmp_path.rglob("*")) == [tmp_path / "old", tmp_path / "old/file"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "no such file"),
        (lambda data: b"", "is no model that transformers reads (ValueError: cannot mmap an empty file)"),
        (lambda data: b"no model" * 500, "does not start with the GGUF magic bytes"),
        (lambda data: data[:20], "is no model that transformers reads ("),
        (lambda data: data[:400], "is no model that transformers reads (error: unpack_from requires a buffer"),
        (lambda data: data[:-100], "is no model that transformers reads (ValueError: cannot reshape"),
    ],
)
def test_a_gguf_that_is_none_is_refused(
    refuse: Refuse, rows: Path, base: Path, tmp_path: Path, change: Callable[[bytes], bytes] | None, said: str
) -> None:
    path = tmp_path / "x.gguf"
    if change is not None:
        path.write_bytes(change(base.read_bytes()))
    found = refuse(rows, "--base", path, "-o", tmp_path / "out")
    assert found.startswith(f"{path}: ") and said in found and "; give --base a" in found


@pytest.mark.parametrize("config", [None, "{", "[]", '{"model_type": "nix"}'])
def test_a_folder_that_is_no_model_is_refused(refuse: Refuse, rows: Path, tmp_path: Path, config: str | None) -> None:
    (tmp_path / "base").mkdir()
    if config is not None:
        (tmp_path / "base/config.json").write_text(config)
    said = refuse(rows, "--base", tmp_path / "base", "-o", tmp_path / "out")
    assert said.startswith(f"{tmp_path / 'base'}: is no model that transformers reads (")
    said = refuse(rows, "--base", rows, "-o", tmp_path / "out")
    assert said.startswith(f"{rows}: is no folder, and its name does not end in .gguf; ")


ABOVE = "more than 0, and at most "
FLOATS = [(f"--{name}={value}", ABOVE) for name in ("epochs", "minutes", "lr") for value in ("nan", "inf", "-1", "0")]
WHOLE = [(f"--{name}={10**22}", ABOVE) for name in ("rank", "alpha", "tokens", "check", "batch")]
DROPOUTS = [(f"--dropout={value}", "0 or more, and less than 1") for value in ("2", "1", "-1", "nan", "inf")]
SEEDS = [(f"--seed={value}", "0 to 1000000000000") for value in (10**22, -1)]


@pytest.mark.parametrize(("option", "wanted"), [*FLOATS, *WHOLE, *DROPOUTS, *SEEDS])
def test_numbers_out_of_range_are_refused(refuse: Refuse, rows: Path, tmp_path: Path, option: str, wanted: str) -> None:
    said = refuse(rows, "--base", tmp_path / "nope.gguf", "-o", tmp_path / "out", option)
    name, value = option.split("=")
    assert said.startswith(f"{name} is {value}") and f"; give {wanted}" in said


def test_what_is_no_number_is_refused_in_one_line(refuse: Refuse, rows: Path, base: Path, tmp_path: Path) -> None:
    for option, finding in (
        (("--alpha", "inf"), "argument --alpha: invalid int value: 'inf'"),
        (("--targets", "nix"), "--targets nix: NoMatchingPeftModuleError: Target modules {'nix'} not found"),
        (("--targets", "mlp"), "--targets mlp: ValueError: Target module LlamaMLP("),
    ):
        assert refuse(rows, "--base", base, "-o", tmp_path / "out", *option).startswith(finding)


def test_rows_are_read_from_the_first_that_has_an_answer(
    train: Callable[..., None], refuse: Refuse, rows: Path, base: Path, tmp_path: Path
) -> None:
    whole, empty = rows.read_text(), '{"text": "A person.", "answers": []}\n'
    common = (rows, "--base", base, "--tokens", 300, "--batch", 2, "--check", 10**6)
    train(*common, "-o", tmp_path / "a")
    rows.write_text(empty + whole)
    train(*common, "-o", tmp_path / "b")
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()
    rows.write_text(empty * 2)
    assert refuse(*common, "-o", tmp_path / "c") == f"{rows}: no row has an answer; export other rows"
    beside = rows.with_name("x.valid.jsonl")
    beside.write_text(empty)
    assert refuse(*common, "-o", tmp_path / "c") == f"{beside}: no row has an answer; export other rows"


def test_a_row_that_is_none_is_said_before_any_step(refuse: Refuse, rows: Path, base: Path, tmp_path: Path) -> None:
    with rows.open("a") as file:
        file.write('{"text": "A", "answers": 3}\n')
    said = refuse(rows, "--base", base, "-o", tmp_path / "out", "--tokens", 10)
    assert said == f'{rows}, row 9: its "answers" are 3, not a list; export the rows again'
    random = np.random.default_rng(0)
    path = write_rows(
        tmp_path, [{"text": "Heat Yes", "label": 0}], [question_row(random)], layout="question", answers=["Yes", "No"]
    )
    assert 'row 1: its "text" ends with' in refuse(path, "--base", base, "-o", tmp_path / "out")


def state(**facts: Any) -> Callable[[Any, Path], None]:
    """Return what writes a checkpoint whose contents are changed."""

    def change(torch: Any, path: Path) -> None:
        torch.save({**torch.load(path, weights_only=True), **facts}, path)

    return change


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lambda _, path: path.write_bytes(b""), "is damaged (EOFError"),
        (lambda _, path: path.write_bytes(b"no torch file"), "is damaged (UnpicklingError: Weights only load failed"),
        (lambda _, path: path.write_bytes(path.read_bytes()[:5000]), "is damaged ("),
        (lambda _, path: path.write_bytes(path.read_bytes()[:-1000]), "is damaged ("),
        (lambda torch, path: torch.save([1], path), "is damaged (TypeError"),
        (lambda torch, path: torch.save(torch.zeros(2), path), "is damaged (IndexError"),
        (lambda torch, path: torch.save({"weights": 1}, path), "is damaged (KeyError: 'settings')"),
        (state(optimizer={}), "is damaged (KeyError"),
        (state(settings={}), "holds a training with other settings"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    train: Callable[..., None],
    refuse: Refuse,
    rows: Path,
    base: Path,
    tmp_path: Path,
    damage: Callable[[Any, Path], None],
    finding: str,
) -> None:
    common = (rows, "--base", base, "-o", tmp_path / "out", "--tokens", 100)
    train(*common)
    damage(importlib.import_module("torch"), tmp_path / "out/training.pt")
    assert finding in refuse(*common)


@pytest.mark.parametrize("name", ["training.part", f"last/{WEIGHTS}", "last/rella.json"])
def test_what_cannot_be_written_ends_in_one_line_and_the_checkpoint_stays(
    train: Callable[..., None],
    refuse: Refuse,
    example: Any,
    rows: Path,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """A folder stands where a file is to be written; once it is gone, the same command comes to the same bytes."""
    common = (rows, "--base", base, "--tokens", 900, "--batch", 2, "--check", 300)
    train(*common, "-o", tmp_path / "whole")
    out, progress = tmp_path / "out", importlib.import_module("rella_train.progress").Progress
    saved = progress.save

    def save(own: Any) -> None:
        saved(own)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(progress, "save", save)
        train(*common, "-o", out)
    kept, blocked = (out / "training.pt").read_bytes(), out / name
    blocked.unlink(missing_ok=True)
    blocked.mkdir()
    said = refuse(*common, "-o", out)
    assert (
        said.startswith(f"{blocked.parent}: cannot be written to (") and "it goes on from the last checkpoint" in said
    )
    assert (out / "training.pt").read_bytes() == kept
    blocked.rmdir()
    train(*common, "-o", out)
    for each in (WEIGHTS, f"last/{WEIGHTS}"):
        assert (out / each).read_bytes() == (tmp_path / "whole" / each).read_bytes()


def test_a_model_that_gives_no_numbers_any_more_is_told(
    refuse: Refuse, example: Any, rows: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "learning_rate", lambda *_: float("inf"))
    said = refuse(rows, "--base", base, "-o", tmp_path / "out", "--tokens", 100)
    assert said == "the model gives no numbers any more; begin anew in another folder, with a lower --lr"
    assert not (tmp_path / "out/training.pt").exists()
