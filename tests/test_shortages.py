"""Little memory and full disks: one line, exit code 1, and nothing half done in a finished place."""

import errno
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import Run, runner
from test_calibration import fake_run
from tiny_model import write_adapter

from rella_cli.shortages import no_disk, no_memory
from rella_cpp import DataSet, EngineError, InputError
from rella_cpp.engine.machine.address_space import address_space_left, check_room

EXAMPLES = Path(__file__).parent.parent / "examples"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="sets Linux's limits of a process")
FEW = "--history {examples}/history.json --item {examples}/item.json --model {model} -k 2"


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="session")
def names(models: Path, small_data: DataSet, roomy_model: Path, spm_model: Path) -> dict[str, Path]:
    return {
        "data": small_data.folder,
        "model": roomy_model,
        "tiny": spm_model,
        "adapter": write_adapter(models / "short.gguf"),
        "run": fake_run(models / "short-run", 100).folder,
        "examples": EXAMPLES,
    }


def limited(limit: str, arguments: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own under a limit, such as `v 200000` (kilobytes of addresses)."""
    words = ["sh", "-c", f'ulimit -{limit} && exec "$@"', "sh", sys.executable, "-m", "rella_cli", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)


@LINUX
@pytest.mark.parametrize("megabytes", [100, 200, 300])
@pytest.mark.parametrize("command", [f"score {FEW}", "data info {data}", "evaluate {data} -o {out}"])
def test_little_memory_is_one_line_or_enough(
    names: dict[str, Path], tmp_path: Path, command: str, megabytes: int
) -> None:
    done = limited(f"v {megabytes}000", command.format(**names, out=tmp_path / "out").split())
    lines = done.stderr.splitlines()
    if done.returncode == 0:
        assert done.stdout and not any("memory" in line for line in lines)
    else:
        assert done.returncode == 1 and done.stdout == "" and len(lines) == 1 and lines[0].startswith("rella: ")
        assert "memory" in lines[0] or "this process has" in lines[0]
    if megabytes == 100:
        assert "out of memory" in lines[0] and "raise the limit of 102 MB (ulimit -v)" in lines[0]


@LINUX
def test_under_a_limit_libraries_reserve_little(names: dict[str, Path]) -> None:
    # Without a word to them, pyarrow alone reserves a gigabyte: a table of a few rows would not be read in half of it.
    done = limited("v 500000", ["data", "info", names["data"]])
    assert done.returncode == 0 and done.stderr == "" and "interactions" in done.stdout


@LINUX
def test_openblas_is_not_waited_for() -> None:
    code = (
        "import re, resource\nfrom rella_cpp.engine.machine.address_space import warm_numpy, warm_scipy\n"
        "warm_numpy()\n"  # no limit: nothing to do
        "used = int(re.search(r'VmSize:\\s+(\\d+)', open('/proc/self/status').read())[1]) << 10\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (30 << 20), resource.RLIM_INFINITY))\n"
        "for warm in (warm_numpy, warm_scipy):\n"
        "    try:\n        warm()\n    except MemoryError as error:\n        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "100 MiB more are needed\n120 MiB more are needed\n"


def test_the_room_that_a_limit_leaves(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("VmSize:\t  1000 kB\n")
    limits = tmp_path / "proc/self/limits"
    limits.write_text("Max address space         3072000              unlimited            bytes\n")
    assert address_space_left(tmp_path) == 2_048_000
    limits.write_text("Max address space         unlimited            unlimited            bytes\n")
    assert address_space_left(tmp_path) is None
    if address_space_left() is None:
        check_room(1 << 60)


def raised(error: BaseException, cause: BaseException, *, hidden: bool = True) -> BaseException:
    """Raise an error while another is handled, as `from None` does or not; return it."""
    try:
        try:
            raise cause
        except BaseException:
            if hidden:
                raise error from None
            raise error  # noqa: B904
    except BaseException as found:
        return found


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (np.exceptions.AxisError("no"), False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ImportError("libarrow.so: failed to map segment from shared object"), True),
        (ImportError("No module named 'torch'"), False),
        (RuntimeError("can't start new thread"), True),
        (InputError("the title is 'Out of memory'"), False),
        (EngineError("llama_decode failed"), False),
        (raised(InputError("cannot be read"), OSError(errno.ENOMEM, "x")), True),
        (raised(InputError("cannot be read"), OSError(errno.EACCES, "x")), False),
        (raised(InputError("cannot be read"), raised(ValueError("y"), MemoryError()), hidden=False), True),
    ],
)
def test_a_lack_of_memory_is_told_by_what_led_to_an_error(error: Exception, lacks: bool) -> None:
    said = no_memory(error)
    assert (said is not None) is lacks
    assert said is None or (said.startswith("out of memory") and str(error) in said)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (raised(InputError("cannot be written"), OSError(errno.ENOSPC, "x")), True),
        (raised(InputError("cannot be written"), OSError(errno.EDQUOT, "x")), True),
        (raised(InputError("cannot be written"), OSError(errno.EACCES, "x")), False),
        (InputError("No space left on device"), False),
    ],
)
def test_a_full_disk_is_told_by_what_led_to_an_error(error: Exception, full: bool) -> None:
    assert no_disk(error) is full


def test_memory_that_runs_out_in_a_command_is_one_line(rella: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_name: str) -> None:
        raise MemoryError("Unable to allocate 7 GiB")

    monkeypatch.setattr("rella_cpp.load_domain", fail)
    result = rella("domains", "movies")
    assert result.code == 1 and result.err.count("\n") == 1
    assert result.err.startswith("rella: out of memory (Unable to allocate 7 GiB): ")


@LINUX
@pytest.mark.parametrize(
    "command",
    [
        "data prepare ml-1m {data}/../ml-1m.zip {out}",
        "lora merge {tiny} {adapter} -o {out}",
        "gguf quantize {tiny} -o {out} --type Q8_0",
        "index build {data} -o {out} --model {model} --no-cache",
        "export reit {data} -o {out} --mix original --order time --model {model} --no-cache --shots 100",
        "compare {run} --html {out}",
    ],
)
def test_a_disk_that_fills_up_is_one_line_and_nothing_half_done(
    names: dict[str, Path], tmp_path: Path, command: str
) -> None:
    # A limit of 1 kB a file is for Python what a full disk is: a write that is refused in its midst.
    if "--html" in command:
        pytest.importorskip("matplotlib")
    out = tmp_path / "folder" / "out"
    out.parent.mkdir()
    done = limited("f 2", command.format(**names, out=out).split())
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("rella: ") and "cannot be written" in done.stderr
    assert not any(out.parent.iterdir())


def test_a_full_disk_ends_with_1(
    rella: Run, names: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = rella("evaluate", names["data"], "-o", tmp_path / "run", "--baselines-only")
    assert result.code == 1 and result.err.count("\n") == 1
    assert "cannot be written (No space left on device); free space, then run it again" in result.err


@LINUX
def test_a_run_on_a_full_disk_keeps_what_it_has(names: dict[str, Path], rella: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = ("evaluate", names["data"], "-o", out, "--baselines-only", "--json")
    done = limited("f 8", given)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not (out / "predictions.jsonl").exists()
    assert rella(*given).code == 0 and (out / "predictions.jsonl").is_file()


@LINUX
@pytest.mark.parametrize("command", ["domains movies", "domains", "cache info", "--version", "gguf inspect {tiny}"])
def test_a_full_standard_output_is_one_line(names: dict[str, Path], command: str) -> None:
    words = [sys.executable, "-m", "rella_cli", *command.format(**names).split()]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "No space left" in done.stderr and done.stderr.count("\n") == 1


def test_the_room_for_a_merge_is_a_disks(rella: Run, names: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=0))
    result = rella("lora", "merge", names["tiny"], names["adapter"], "-o", names["tiny"].parent / "merged.gguf")
    assert result.code == 1 and "the disk has 0 MB left" in result.err
