import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import Run, runner

ROOT = Path(__file__).parent.parent
HISTORY = [{"title": "Heat", "year": 1995, "rating": 5}, {"title": "Notting Hill", "rating": 1}]
FILMS = [{"title": "Alien"}, {"title": "Aliens"}, {"title": "Casablanca"}]
WORKER = [sys.executable, "-m", "rella_cli", "score", "--jsonl", "--exact"]

# A worker with a judge of ten lines, to which a signal comes in the midst of every request.
FAKE = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_worker import MOVIES, Fake
from rella_cli.commands.worker import serve
from rella_cpp.serving.service import Service
class Interrupted(Fake):
    def rank(self, history, items, **reading):
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        return super().rank(history, items, **reading)
serve(Service(Interrupted(), MOVIES))
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and pipes are those of POSIX")


def line(**request: object) -> bytes:
    return json.dumps({"history": HISTORY, **request}).encode() + b"\n"


@contextmanager
def started(*command: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker that said it is ready."""
    pipe = subprocess.PIPE
    with subprocess.Popen([str(word) for word in command], stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT) as process:
        try:
            assert process.stderr is not None and process.stderr.readline() == b"rella: ready\n"
            yield process
        finally:
            process.kill()


def ask(process: "subprocess.Popen[bytes]", *lines: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(b"".join(lines))
    process.stdin.flush()


def result(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stdout is not None
    row: dict[str, Any] = json.loads(process.stdout.readline())
    return row


def run(model: Path, data: bytes, *options: object) -> "subprocess.CompletedProcess[bytes]":
    command = [*WORKER, "--model", str(model), *map(str, options)]
    return subprocess.run(command, input=data, capture_output=True, check=False)


def test_requests_are_answered_while_the_pipe_stays_open(roomy_model: Path) -> None:
    with started(*WORKER, "--model", roomy_model) as process:
        for number in (1, 2):  # were anything held back, on either side, this would wait for ever
            ask(process, line(id=number, item=FILMS[0]))
            row = result(process)
            assert (row["id"], row["line"], list(row)[2]) == (number, number, "score")
        ask(process, b'{"id": 3, "history": [')
        ask(process, b'{"title": "Heat"}], "items": [{"title": "A"}]}\n')  # a line in two pieces is one line
        assert result(process)["scores"][0]["rank"] == 1
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, b"")


def test_results_are_those_of_score_and_rank(
    roomy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rella: Run = runner(capsys)
    for name, value in (("h", HISTORY), ("i", FILMS)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    files = (
        "--history",
        tmp_path / "h.json",
        "--items",
        tmp_path / "i.json",
        "--model",
        roomy_model,
        "--exact",
        "--json",
    )
    options = ("-k", 1, "--order", "reversed", "--show-prompt")
    done = run(roomy_model, line(items=FILMS) + line(items=FILMS, k=2, order="time"), *options)
    first, second = (json.loads(row)["scores"] for row in done.stdout.splitlines())
    assert first == rella("rank", *files, *options).lines() and "Casablanca" in first[2]["prompt"]
    assert second == rella("rank", *files, "-k", 2, "--show-prompt").lines() != first


def test_nan_is_what_is_missing(roomy_model: Path) -> None:
    film = {**FILMS[0], "year": float("nan"), "rating": "4.5", "timestamp": 1.6e12}
    told = [{**film, "year": None, "rating": 4.5, "timestamp": 1.6e9}]
    nan = line(id=float("nan"), k=float("nan"), history=[film], item=film)
    done = run(
        roomy_model, nan + line(id=None, k=None, history=told, item={**told[0], "rating": "4.5", "timestamp": 1.6e12})
    )
    rows = [json.loads(row, parse_constant=pytest.fail) for row in done.stdout.splitlines()]
    assert done.returncode == 0 and rows[0]["id"] is None and "score" in rows[0]
    assert rows[0]["score"] == rows[1]["score"]


LINES: list[tuple[bytes, int | None, str]] = [
    (b"nonsense\n", None, "column 1: is not JSON"),
    (b'{"id": 1, "history": [], "item": {"title": "\xff"}}\n', None, "is not UTF-8"),
    (b'{"id": 1, "k": Infinity}\n', None, "holds Infinity"),
    (b'"id"\n', None, "a request is an object"),
    (b"[" * 5000 + b"\n", None, "maximum recursion depth"),
    (b"[" * 90 + b"]" * 90 + b"\n", None, "nested more than 64 levels"),
    (line(id=2, itmes=FILMS), 2, "unknown key itmes; did you mean items?"),
    (line(id=3), 3, "has no item"),
    (line(id=4, item=FILMS[0], items=FILMS), 4, "has both item and items"),
    (line(id=5, item={"title": "x " * 5000}), 5, "item: the title has 10,00"),
    (line(id=6, items=[*FILMS, {"title": "x " * 5000}]), 6, "items[3]: the title has 10,00"),
    (line(id=7, item=FILMS[0], history=[]), 7, "the history is empty"),
    (line(id=8, item=FILMS[0], history=[*HISTORY, {"title": "x", "rating": 9}]), 8, "history[2]: rating is '9'"),
    (line(id=9, item=FILMS[0], retrieval="best"), 9, "retrieval is 'best'"),
    (line(id=10, item=FILMS[0], user={"age": {}}), 10, "user: field age is an object"),
    (b'{"id": 11, "history": [{"title": "' + b"x" * (2 << 20) + b'"}], "item": {"title": "A"}}\n', 11, "history[0]"),
]


def test_bad_lines_get_errors_and_those_between_them_scores(roomy_model: Path) -> None:
    good = line(id="good", item=FILMS[0])
    # 2 MiB of a field that no prompt shows is a lot of input, and nothing wrong.
    long = line(id="long", item={**FILMS[0], "id": 7, "link": "x" * (2 << 20)})
    stream = b"".join(good + bad for bad, _, _ in LINES) + b"\n \r\n" + long + good.rstrip(b"\n")
    done = run(roomy_model, stream)
    rows = [json.loads(row) for row in done.stdout.split(b"\n")[:-1]]
    count = len(LINES)
    assert done.returncode == 0 and len(rows) == 2 * count + 2
    assert [row["line"] for row in rows] == [*range(1, 2 * count + 1), 2 * count + 3, 2 * count + 4]
    for (_, id, said), row in zip(LINES, rows[1::2], strict=False):
        assert row["id"] == id and row["error"]["kind"] == "input" and said in row["error"]["message"]
    scores = [row["score"]["yes_logit"] for row in rows if row["id"] == "good"]
    assert len(scores) == count + 1 and len(set(scores)) == 1  # what was wrong before leaves no trace
    assert rows[-2]["id"] == "long" and len(rows[-2]["score"]["item"]["link"]) == 2 << 20
    ready, *warnings, summary = done.stderr.decode().splitlines()
    assert ready == "rella: ready" and summary == f"rella: {2 * count + 2} requests, {count} with an error"
    # Each kind of warning once, however many requests there were: nobody may be reading them.
    assert [warning.split(": ")[1] for warning in warnings] == ["WARNING", "WARNING"]


def test_results_are_ascii_so_that_no_reader_cuts_them_elsewhere(roomy_model: Path) -> None:
    title = "é \u2028 \u0085 映画 \ud800"
    done = run(roomy_model, line(id=title, item={"title": title}))
    (row,) = done.stdout.decode("ascii").splitlines()
    assert json.loads(row)["id"] == title == json.loads(row)["score"]["item"]["title"]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_no_request_is_no_error(roomy_model: Path, data: bytes) -> None:
    done = run(roomy_model, data)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"rella: ready\n")


def test_a_reader_that_goes_ends_the_worker_quietly(roomy_model: Path) -> None:
    with started(*WORKER, "--model", roomy_model) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        ask(process, b"{}\n")
        assert process.wait(60) == 1 and process.stderr.read() == b""


def test_nobody_need_read_what_is_said(roomy_model: Path) -> None:
    with started(*WORKER, "--model", roomy_model) as process:
        assert process.stderr is not None
        process.stderr.close()
        ask(process, line(item=FILMS[0]), b"{}\n")  # a warning, and an error to be counted
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and out.count(b"\n") == 2


@pytest.mark.parametrize(("name", "code", "said"), [("SIGTERM", 0, b""), ("SIGINT", 130, b"rella: interrupted\n")])
@pytest.mark.parametrize("half", [b"", b'{"id": 1, '])
def test_a_signal_ends_a_worker_that_waits(roomy_model: Path, name: str, code: int, said: bytes, half: bytes) -> None:
    with started(*WORKER, "--model", roomy_model) as process:
        ask(process, line(item=FILMS[0]))
        result(process)
        ask(process, half)  # half a request is none: it gets no error
        process.send_signal(getattr(signal, name))
        assert process.stdout is not None and process.stderr is not None
        assert process.wait(60) == code and process.stdout.read() == b""
        assert process.stderr.read().endswith(said)


def test_a_sigterm_lets_the_request_under_way_finish() -> None:
    lines = [line(id=number, item=FILMS[0]) for number in (1, 2)]
    command = [sys.executable, "-c", FAKE, str(Path(__file__).parent), "SIGTERM"]
    with started(*command) as process:
        ask(process, *lines)  # in one piece: the second is there, and is not begun
        assert process.wait(60) == 0
        assert process.stdout is not None and process.stderr is not None
        (row,) = process.stdout.read().splitlines()
        assert json.loads(row)["id"] == 1 and "score" in json.loads(row)
        assert process.stderr.read() == b""


def test_a_sigterm_ends_a_worker_whose_reader_does_not_read(roomy_model: Path) -> None:
    with started(*WORKER, "--model", roomy_model) as process:
        ask(process, line(item={**FILMS[0], "link": "x" * (1 << 20)}))  # its result fills any pipe
        assert process.stdout is not None
        process.stdout.read(1)  # the worker is writing
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("score --jsonl --history h.json", "--history with --jsonl; leave it out"),
        ("score --jsonl --items i.json", "--item with --jsonl; leave it out"),
        ("score --jsonl --user u.json", "--user with --jsonl; leave it out"),
        ("rank --jsonl", "No such option: --jsonl"),
        ("score --jsonl -k 0", "K is '0'"),
        ("score --jsonl --model none.gguf", "none.gguf: no such file"),
        ("score --item i.json", "Missing option '--history'."),
        ("score --history h.json", "Missing option '--item' / '--items'."),
        ("rank", "Missing option '--history'."),
    ],
)
def test_wrong_usage_gets_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], arguments: str, said: str) -> None:
    done = runner(capsys)(*arguments.split())
    assert (done.code, done.out) == (2, "") and said in done.err and done.err.count("\n") == 1


def test_a_closed_standard_input_is_refused_before_a_model_is_loaded() -> None:
    command = f"{' '.join(WORKER)} --model none.gguf <&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("rella: standard input: it is closed;")


@pytest.mark.parametrize("options", [(), ("--concurrent", "5")], ids=["serial", "concurrent"])
@pytest.mark.parametrize("command", [["node", "worker.mjs"], [sys.executable, "worker_threads.py"]])
def test_the_examples_run(roomy_model: Path, command: list[str], options: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "RELLA_MODEL": str(roomy_model)}
    done = subprocess.run(
        [command[0], ROOT / "examples" / command[1], "-k", "4", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *good, bad = done.stdout.splitlines()
    assert len(good) >= 4 and "rating is '11'" in bad and "rating" not in "".join(good)
