import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from look_alikes import ml_1m, random_ratings, write_files

from rella_cpp import load_domain, packaged_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines() if line[0] == "$"]
PATH = [
    command for command in COMMANDS if "ml-1m" in command or command.startswith(("rella calibrate", "rella compare"))
]
RELLA = [
    command.partition(" && ")[2] if command.startswith("pip") else command
    for command in COMMANDS
    if command not in PATH
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
    assert any("pip install" in line for line in top) and any("Rella.from_gguf" in line for line in top)
    assert COMMANDS[-1].endswith("scripts/check")


def test_every_option_it_names_exists() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    known = set(
        re.findall(r'"(--[a-z-]+)(?:/--[a-z-]+)?"', "".join(p.read_text() for p in (ROOT / "cli").rglob("*.py")))
    )
    assert named - known <= {"--force-reinstall", "--no-cache-dir", "--help", "--install"}
