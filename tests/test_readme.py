import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pytest
from look_alikes import amazon, ml_1m, random_ratings, write_files
from peft_folder import write_peft, write_soft
from pyarrow import parquet
from tiny_model import Shape

from rella_cpp import DataSet, load_domain, packaged_model
from rella_cpp.datasets.leave_one_out import LeaveOneOut
from rella_cpp.engine.machine.amx import amx_flags

ROOT = Path(__file__).parent.parent
SMOLLM2 = Shape(embd=576, heads=9, heads_kv=3, ff=1536, layers=30)
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALL = (ROOT / "docs/install.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    return [
        line.removeprefix("$ ") for block in blocks("console", text) for line in block.splitlines() if line[0] == "$"
    ]


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


COMMANDS = commands(README)
PATH, TUNING = commands(section("From a download to a table")), commands(section("Tuning on a few hundred samples"))
SUMMARIES = commands(section("Long item texts: preference summaries"))
CHOOSING = commands(section("What comes next: likelihoods and soft prompts"))
STREAMS = commands(section("Streams: histories of ratings"))
RELLA = [
    command.partition(" && ")[2] if command.startswith("pip") else command
    for command in COMMANDS
    if command not in PATH + TUNING + STREAMS[2:] + SUMMARIES[3:] + CHOOSING[1:]
]


def shell(command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, shell=True, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )


@pytest.mark.model
@pytest.mark.skipif(packaged_model() is None, reason="the extra smollm2 is not installed")
@pytest.mark.parametrize("command", [command for command in RELLA if command.startswith("rella")])
def test_the_commands_run(command: str) -> None:
    done = shell(command)
    assert done.returncode == 0 and done.stdout, done.stderr


@pytest.mark.model
@pytest.mark.skipif(packaged_model() is None, reason="the extra smollm2 is not installed")
def test_the_path_with_summaries_runs(tmp_path: Path) -> None:
    histories = {f"u{user}": [(user + 3 * step) % 40 for step in range(4)] for user in range(36)}
    write_files(tmp_path / "amazon-scientific.zip", amazon(histories, 40))
    assert len(SUMMARIES) == 9
    for command in SUMMARIES[3:]:
        done = shell(re.sub(r"--limit \d+", "--limit 2", command), tmp_path)
        assert done.returncode == 0 and done.stdout, (command, done.stderr)
    rows = [json.loads(line) for line in (tmp_path / "trsr.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == [1, 0] * 2


@pytest.mark.model
@pytest.mark.skipif(packaged_model() is None, reason="the extra smollm2 is not installed")
def test_the_python_of_summaries_runs() -> None:
    code = next(block for block in blocks("py") if "SummarySettings" in block)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.rstrip().endswith("read (9, 10, 11)"), done.stderr


@pytest.mark.model
@pytest.mark.skipif(packaged_model() is None, reason="the extra smollm2 is not installed")
def test_the_path_from_a_download_to_a_table_runs(tmp_path: Path) -> None:
    # The commands as they stand, on a small look-alike of the download.
    ratings = random_ratings(seed=1, users=60, movies=16, most=16)
    write_files(tmp_path / "ml-1m.zip", ml_1m(ratings, movies=16, users=60))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    assert len(PATH) == 11
    for command in PATH:
        done = shell(command, tmp_path)
        assert done.returncode == 0 and done.stdout, (command, done.stderr)
    assert "<svg" in (tmp_path / "comparison.html").read_text()
    # And on from there; in place of the training, which needs torch, an adapter such as it leaves.
    assert len(TUNING) == 8
    for command in TUNING:
        if command.startswith("rella lora convert"):
            write_peft(tmp_path / "adapter", shape=SMOLLM2, rank=2, alpha=0.01)
            shutil.copyfile(tmp_path / "train.manifest.json", tmp_path / "adapter/rella.json")
        done = shell(re.sub(r"--shots \d+|--limit \d+", lambda size: f"{size[0].split()[0]} 24", command), tmp_path)
        assert done.returncode == 0 and done.stdout, (command, done.stderr)
    code = next(block for block in blocks("py") if "export_rows" in block)
    code = code.replace("shots=256", "shots=24").replace('"train.jsonl"', '"rows.jsonl"').replace('"head"', '"head2"')
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tuned.gguf").stat().st_size > (tmp_path / "smollm2.gguf").stat().st_size * 0.99


@pytest.mark.model
@pytest.mark.skipif(packaged_model() is None, reason="the extra smollm2 is not installed")
def test_the_path_of_streams_runs(tmp_path: Path) -> None:
    # In place of what an earlier path leaves, and of what trains, which needs torch, files such as these.
    model = packaged_model()
    assert model is not None and len(STREAMS) == 7
    (tmp_path / "smollm2.gguf").symlink_to(model)
    ratings = random_ratings(seed=1, users=60, movies=30, most=20)
    write_files(tmp_path / "ml-1m.zip", ml_1m(ratings, movies=30, users=60))
    write_peft(tmp_path / "stream", shape=SMOLLM2, rank=2, alpha=0.01)
    for command in STREAMS[2:]:
        if "convert" in command:
            shutil.copyfile(tmp_path / "stream.manifest.json", tmp_path / "stream/rella.json")
        done = shell(re.sub(r"--limit \d+", "--limit 8", command), tmp_path)
        assert done.returncode == 0 and done.stdout, (command, done.stderr)
        assert "does not say" not in done.stderr
    assert '"levels"' in (tmp_path / "runs/stream/predictions.jsonl").read_text()


@pytest.mark.model
@pytest.mark.skipif(packaged_model() is None, reason="the extra smollm2 is not installed")
def test_the_path_to_what_comes_next_runs(tmp_path: Path) -> None:
    # In place of what the earlier paths leave, and of what trains, which needs torch, files such as these.
    model = packaged_model()
    assert model is not None and len(CHOOSING) == 6
    (tmp_path / "smollm2.gguf").symlink_to(model)
    write_files(
        tmp_path / "ml-1m.zip", ml_1m(random_ratings(seed=1, users=60, movies=40, most=16), movies=40, users=60)
    )
    for command in ("rella data prepare ml-1m ml-1m.zip ml-1m", "rella index build ml-1m -o ml-1m.index"):
        assert shell(command, tmp_path).returncode == 0
    write_lists(DataSet.open(tmp_path / "ml-1m"), tmp_path / "sasrec.parquet")
    write_soft(tmp_path / "prompt", tokens=4, width=SMOLLM2.embd)
    write_peft(tmp_path / "picks", shape=SMOLLM2, rank=2, alpha=0.01)
    for command in CHOOSING[1:]:
        if "convert" in command:
            task, folder = ("temporal", "prompt") if "soft" in command else ("next", "picks")
            shutil.copyfile(tmp_path / f"rows/{task}.manifest.json", tmp_path / folder / "rella.json")
        done = shell(re.sub(r"--rows \d+|--limit \d+", lambda size: f"{size[0].split()[0]} 4", command), tmp_path)
        assert done.returncode == 0 and done.stdout, (command, done.stderr)
        assert "does not say" not in done.stderr
    assert len((tmp_path / "runs/delrec/predictions.jsonl").read_text().splitlines()) == 4 * 15


def write_lists(data: DataSet, path: Path) -> None:
    """Write lists of all items at each user's targets, the training one too."""
    left, items = LeaveOneOut(data), [data.item_id(item) for item in range(data.items.num_rows)]
    places = [
        (u, p) for split in ("train", "valid", "test") for u, p in zip(left.users, left.positions(split), strict=True)
    ]
    rows = [
        {"user": data.user_id(int(user)), "position": int(position), "items": items, "scores": list(range(len(items)))}
        for user, position in places
    ]
    parquet.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.model
@pytest.mark.skipif(packaged_model() is None, reason="the extra smollm2 is not installed")
def test_the_python_and_the_example_run() -> None:
    (code,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert re.fullmatch(r"0\.\d{3}, read \(0, 1\), \d+ tokens\n", done.stdout), done.stderr
    assert shell("python examples/rank_films.py").stdout.count("\n") == 5


def test_the_domain_shown_is_a_domain(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    path = tmp_path / "wine.toml"
    path.write_text(text, encoding="utf-8")
    assert load_domain(path).answers == ("Yes", "No")


def test_it_can_be_tried_before_line_40() -> None:
    top = README.splitlines()[:40]
    assert any("pip install" in line for line in top) and any("Rella.from_bundle" in line for line in top)
    assert COMMANDS[-1].endswith("scripts/check")


def unknown_options(text: str) -> set[str]:
    known = set(
        re.findall(
            r'"(--[a-z-]+)(?:/--[a-z-]+)?"',
            "".join(p.read_text() for folder in ("cli", "train", "examples") for p in (ROOT / folder).rglob("*.py")),
        )
    )
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - known


def test_every_option_it_names_exists() -> None:
    assert unknown_options(README) <= {"--force-reinstall", "--no-cache-dir", "--no-deps", "--help", "--install"}
    assert unknown_options(INSTALL) <= {"--force-reinstall", "--no-cache-dir", "--no-deps", "--no-binary", "--install"}


def test_the_page_on_installing_begins_with_the_commands_of_the_readme() -> None:
    lines = [line for block in blocks("sh", INSTALL) for line in block.splitlines()]
    assert lines[0] == COMMANDS[0] and set(lines[1:3]) <= set(blocks("sh", section("Install"))[0].splitlines())
    assert [shell(command).returncode for command in commands(INSTALL)] == [0]


def test_the_faster_build_is_asked_for_with_the_header() -> None:
    (command,) = [line for line in INSTALL.splitlines() if line.startswith("CXXFLAGS=")]
    flags, pip, _ = command.partition("pip install")
    done = shell(f"{flags}sh -c 'echo \"$CXXFLAGS\"'")  # all but the ten minutes
    assert pip and done.stdout == f"{amx_flags()}\n", done.stderr
    pinned = re.findall(r"llama-cpp-python==([\d.]+)", README + INSTALL)
    assert len(pinned) == 3 and set(pinned) == {version("llama-cpp-python")}
