"""Where a command takes a file, a pipe, a device and a folder are refused in a line, at once and in little memory."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
from commands import Run, runner

from rella_cpp import DataSet, ItemIndex

EXAMPLES = Path(__file__).parent.parent / "examples"
PAST = f"--history {EXAMPLES / 'history.json'}"
ITEM = f"--item {EXAMPLES / 'item.json'}"
JUDGE = f"{PAST} {ITEM} --model {{model}}"
PATIENCE = 20

# {bad} is what is refused; where a folder is right, {file} is, which is never a folder.
COMMANDS = [
    f"score --history {{bad}} {ITEM} --model {{model}}",
    f"score {PAST} --item {{bad}} --model {{model}}",
    f"score {PAST} {ITEM} --model {{bad}}",
    f"score {JUDGE} --user {{bad}}",
    f"score {JUDGE} --lora {{file}}",
    f"score {JUDGE} --soft {{file}}",
    f"score {JUDGE} --head {{bad}}",
    f"score {JUDGE} --calibration {{bad}}",
    f"score {JUDGE} --index {{bad}}",
    f"score {JUDGE} --domain {{bad.toml}}",
    f"rank {PAST} --items {{bad}} --model {{model}}",
    "recommend --history {bad} --index {index} --model {model}",
    f"recommend {PAST} --index {{bad}} --model {{model}}",
    "evaluate {bad} --model {model} --out {out}",
    "evaluate --prompts {bad} --model {model} --out {out}",
    "evaluate {data} --protocol choose --ranking {bad} --model {model} --out {out}",
    "evaluate {data} --calibration {bad} --model {model} --out {out}",
    "evaluate {data} --index {bad} --model {model} --out {out}",
    "evaluate {data} --model {model} --out {file}",
    "calibrate {bad} --out {out}",
    "compare {bad}",
    "data info {bad}",
    "data prepare ml-1m {bad} {out}",
    "data prepare amazon {bad} {out}",
    "data prepare table {bad.csv} {out} --rating-column rating --liked-above 3",
    "data prepare table {bad.jsonl} {out} --rating-column rating --liked-above 3",
    "data prepare table {bad.json.gz} {out} --rating-column rating --liked-above 3",
    "data prepare table {bad.parquet} {out} --rating-column rating --liked-above 3",
    "data prepare table {events} {out} --rating-column rating --liked-above 3 --items {bad.csv}",
    "data prepare table {events} {out} --rating-column rating --liked-above 3 --users {bad.csv}",
    "data prepare table {events} {out} --recipe {bad}",
    "data prepare table {events} {out} --rating-column rating --liked-above 3 --texts {bad.csv}",
    "data prepare table {events} {out} --rating-column rating --liked-above 3 --texts {bad.zip}",
    "data import-ranking {bad.csv} --data {data} --out {out}",
    "data import-ranking {events} --data {bad} --out {out}",
    "domains {bad.toml}",
    "index build {bad} --out {out} --model {model}",
    "index add {index} {bad} --model {model}",
    "index add {bad} {data} --model {model}",
    "index search {bad} words --model {model}",
    "index info {bad}",
    "lora convert {bad} --out {out}",
    "lora convert {peft} --base {bad} --out {out}",
    "merge {bad} {adapter} --out {out}",
    "merge {model} {file} --out {out}",
    "soft convert {bad} --out {out}",
    "gguf inspect {bad}",
    "gguf quantize {bad} --type Q8_0 --out {out}",
    "gguf advise {bad}",
    "export reit {bad} --out {out}",
    "export trsr {data} --summaries {bad} --out {out}",
    "export delrec {data} --ranking {bad} --out {out} --model {model}",
    "tune head {bad} --out {out} --model {model}",
    "summarize {bad} --out {out} --model {model}",
    "summarize --history {bad} --model {model}",
    "bench --model {bad}",
]


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def hurried() -> Iterator[None]:
    """End what hangs."""

    def late(_number: int, _frame: FrameType | None) -> NoReturn:
        raise AssertionError(f"it took more than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Places(dict[str, object]):
    """What a command's braces stand for; `{bad.csv}` is the bad path with that ending."""

    def __init__(self, folder: Path, kind: str, known: dict[str, object]) -> None:
        super().__init__(known)
        self.folder, self.kind = folder, kind

    def __missing__(self, key: str) -> Path:
        name, _, ending = key.partition(".")
        path = self.folder / f"{name}.{ending}".rstrip(".")
        if self.kind == "pipe" or (self.kind == "folder" and name == "file"):
            os.mkfifo(path)
        elif self.kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero")
        return path


def filled(command: str, places: Places) -> list[str]:
    for key in dict.fromkeys(part.split("}")[0] for part in command.split("{")[1:]):
        command = command.replace(f"{{{key}}}", str(places[key]))
    return shlex.split(command)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_a_device_and_a_folder_are_refused_at_once(
    rella: Run,
    hurried: None,
    command: str,
    kind: str,
    spm_model: Path,
    adapter: Path,
    small_data: DataSet,
    small_index: ItemIndex,
    tmp_path: Path,
) -> None:
    (tmp_path / "r.csv").write_text("user,item,rating,title\n1,2,3,T\n")
    (tmp_path / "peft").mkdir()
    known: dict[str, object] = {
        "model": spm_model,
        "adapter": adapter,
        "data": small_data.folder,
        "out": tmp_path / "o",
    }
    known |= {"index": small_index.folder, "events": tmp_path / "r.csv", "peft": tmp_path / "peft"}
    result = rella(*filled(command, Places(tmp_path, kind, known)))
    assert result.code == 2, result
    lines = [line for line in result.err.splitlines() if not line.startswith(("rella: WARNING", "note: "))]
    assert len(lines) == 1 and lines[0].startswith("rella: "), result.err


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in bash, where `rella` is the command."""
    script = f'rella() {{ {shlex.quote(sys.executable)} -m rella_cli "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=4 * PATIENCE)


def test_what_the_shell_hands_down_is_read(spm_model: Path) -> None:
    item, past = EXAMPLES / "item.json", EXAMPLES / "history.json"
    rest = f"--model {shlex.quote(str(spm_model))} --ctx 4096 --json"
    given = [
        f"rella score --history {past} --item {item} {rest}",
        f"rella score --history <(cat {past}) --item <(sleep 0.2; cat {item}) {rest}",
        f"rella score --history /dev/stdin --item {item} {rest} < {past}",
        f"cat {past} | rella score --history /dev/stdin --item {item} {rest}",
        f"cat {past} | rella score --history - --item {item} {rest}",
    ]
    ends = [run(command) for command in given]
    assert all(end.returncode == ends[0].returncode for end in ends), [end.stderr for end in ends]
    assert len({end.stdout for end in ends}) == 1


@pytest.mark.parametrize("way", ["- < /dev/zero", "/dev/stdin < /dev/zero", "<(cat /dev/zero)"])
def test_what_never_ends_is_refused_wherever_it_comes_from(spm_model: Path, way: str) -> None:
    end = run(f"ulimit -d 2000000; rella score --item {EXAMPLES / 'item.json'} --model {spm_model} --history {way}")
    assert end.returncode == 2 and len(end.stderr.splitlines()) == 1 and end.stderr.startswith("rella: "), end.stderr
