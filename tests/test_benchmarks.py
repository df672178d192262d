import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import Shape, write_model

import peers
import plot
from compared.report import embed_rows, rank_rows, tables
from compared.server import Server
from compared.task import Limits, among, shared_length
from compared.timing import Timed, scaled
from rella_cpp import Cache, EngineError, EngineSettings, Rella
from rella_cpp.benchmark.prompts import rank_questions
from rella_cpp.benchmark.workload import Mix
from rella_cpp.prompts.question import AnswerTokens, Question

MIX = Mix(items=3, behaviors=2)
FEW = "--items 3 --behaviors 2 --embed 4 --few 2 --top 1000 --repeats 2 --threads 1".split()
JUDGES = [
    "rella-cpp",
    "rella-cpp, exact",
    "llama_decode loop",
    "create_completion",
    "create_completion, prefix match",
    "create_completion, LlamaRAMCache",
]


@pytest.fixture(scope="module", params=["spm", "bpe"])
def model(request: pytest.FixtureRequest, models: Path) -> Path:
    name = request.param
    return write_model(models / f"peers-{name}.gguf", tokenizer=name, shape=Shape(ctx=2048))


def run(model: Path, out: Path, *arguments: object) -> dict[str, Any]:
    peers.main(["--model", str(model), "-o", str(out), *FEW, *map(str, arguments)])
    results: dict[str, Any] = json.loads(out.read_text())
    return results


def test_peers_give_our_answers(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = run(model, tmp_path / "results.json")
    assert [row["peer"] for row in results["rank"]] == JUDGES
    # The same prompts through other calls: F32 weights leave rounding alone between them.
    assert all(row["agrees"] and row["largest_difference"] < 1e-4 for row in results["rank"])
    assert [row["prompts_read"] for row in results["rank"]] == [3, 3, 2, 2, 2, 2]
    assert [row["scaled"] for row in results["rank"]] == [False] * 2 + [True] * 4
    assert [row["peer"] for row in results["embed"]] == ["rella-cpp", "rella-cpp, exact", "Llama.embed"]
    assert all(row["agrees"] and row["least_cosine"] > 0.9999 for row in results["embed"])
    for row in [*results["rank"], *results["embed"]]:
        assert len(row["rounds"]) == 2 and row["seconds"] == pytest.approx(sum(row["rounds"]) / 2)
    assert results["mix"]["titles_from"] == "made up" and results["settings"]["threads"] == 1
    assert {"machine", "build", "versions", "model", "repeats", "tolerance"} <= results.keys()
    assert "| llama_decode loop |" in capsys.readouterr().out


def test_titles_may_be_the_users_own_and_peers_stay_apart(roomy_model: Path, tmp_path: Path) -> None:
    (tmp_path / "titles.txt").write_text("Toy Story (1995)\n\nHeat (1995)\nSabrina (1995)\n")
    results = run(roomy_model, tmp_path / "r.json", "--titles", tmp_path / "titles.txt", "--apart", "--repeats", 1)
    assert results["mix"]["titles"] == 3 and results["mix"]["titles_from"] == "titles.txt"
    assert results["in_turns"] is False and len(results["rank"][0]["rounds"]) == 1
    assert str(tmp_path) not in json.dumps(results)


def test_the_time_of_few_prompts_is_scaled() -> None:
    marks = [10.0, 14.0, 15.0, 17.0]  # the first takes 4 seconds, the others 1.5 in the mean
    assert scaled(marks, 3, reuses=True) == scaled(marks, 3, reuses=False) == 7.0
    assert scaled(marks, 100, reuses=True) == 4 + 99 * 1.5
    assert scaled(marks, 100, reuses=False) == pytest.approx(100 * 7 / 3)
    assert scaled(marks[:2], 10, reuses=True) == 40.0  # one alone tells nothing of the others


def timed(name: str, answers: list[Any], given: int = 3) -> Timed[Any]:
    return Timed(name, "", given, 3, [3.0, 1.0, 2.0], answers)


def test_peers_that_answer_otherwise_are_marked() -> None:
    exact, ours = timed("rella-cpp, exact", [0.5, 0.4, 0.3]), timed("rella-cpp", [0.5, 0.4, 0.31])
    wrong, silent = timed("wrong", [0.5, 0.6], 2), timed("silent", [0.5, None, 0.3])
    rows = rank_rows([ours, exact, wrong, silent], tolerance=0.05)
    assert [row["agrees"] for row in rows] == [True, True, False, False]
    assert [row["answered"] for row in rows] == [3, 3, 2, 2]
    assert rows[2]["largest_difference"] == pytest.approx(0.2) and rows[2]["mean_difference"] == pytest.approx(0.1)
    assert rows[0]["seconds"] == 2.0 and rows[0]["times_ours"] == 1.0
    vectors = [np.array(row, dtype=np.float32) for row in ([1, 0], [0, 1], [3, 4])]
    other = [vectors[0], vectors[2], vectors[2]]
    rows = embed_rows([timed("rella-cpp", vectors), timed("rella-cpp, exact", vectors), timed("o", other)], 0.9)
    assert [row["agrees"] for row in rows] == [True, True, False]
    assert rows[2]["least_cosine"] == pytest.approx(0.8)  # (0, 1) against (3, 4)


def test_among_the_likeliest_tokens_both_answers_must_be() -> None:
    assert among({3: -1.0, 5: -1.0, 9: -4.0}, 3, 5) == 0.5
    assert among({"Yes": -1.0}, "Yes", "No") is None
    assert shared_length((1, 2, 3), (1, 2, 4)) == 2 and shared_length((1, 2), (1, 2, 3)) == 2


STAND_IN = """\
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

folder = Path(__file__).parent
table = json.loads((folder / "table.json").read_text())
(folder / "arguments.json").write_text(json.dumps(sys.argv[1:]))
asked = []

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        self.answer({}, 503 if len(asked) == 1 else 200)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with (folder / "requests.jsonl").open("a") as file:
            file.write(json.dumps(request) + chr(10))
        key = " ".join(map(str, request["prompt"]))
        self.answer(table[key] if key in table else {"error": "what?"})

    def answer(self, value, status=200):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


def executable(path: Path, source: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{source}")
    path.chmod(0o755)
    return path


@pytest.fixture
def asked(roomy_model: Path) -> Iterator[tuple[list[Question], list[float]]]:
    with Rella.from_gguf(roomy_model, settings=EngineSettings(threads=1), cache=Cache(None)) as rella:
        questions = rank_questions(rella, MIX)
        yield questions, [answer.probability for answer in rella.answers(questions)]


def answers_for(questions: list[Question], probabilities: list[float]) -> dict[str, object]:
    """Answer as llama-server does: tokens with their log-probabilities, the answers among them."""
    table: dict[str, object] = {}
    for question, probability in zip(questions, probabilities, strict=True):
        yes, no = question.answers.tokens
        shares = {yes: probability / 2, no: (1 - probability) / 2, 0: 0.5}
        listed = [{"id": token, "token": "?", "logprob": float(np.log(share))} for token, share in shares.items()]
        table[" ".join(map(str, question.tokens))] = {"completion_probabilities": [{"top_logprobs": listed}]}
    return table


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script with a #! line")
def test_llama_server_is_started_asked_and_stopped(
    asked: tuple[list[Question], list[float]], roomy_model: Path, tmp_path: Path
) -> None:
    questions, probabilities = asked
    (tmp_path / "table.json").write_text(json.dumps(answers_for(questions, probabilities)))
    server = Server(executable(tmp_path / "server", STAND_IN), roomy_model, Limits(512, 1, -1), top=7)
    try:
        for _ in range(2):
            server.fresh()
            assert list(server.read(questions)) == pytest.approx(probabilities)
        with pytest.raises(EngineError, match="does not answer as llama-server"):
            list(server.read([Question((1, 2, 3), (), AnswerTokens((4, 5), (True, False)), "")]))
    finally:
        server.close()
    assert server._process.poll() is not None
    requests = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    # Each round begins with a prompt that is read whole; what follows may reuse it.
    assert [request["cache_prompt"] for request in requests[:6]] == [False, True, True] * 2
    assert all((request["n_predict"], request["n_probs"]) == (1, 7) for request in requests)
    arguments = json.loads((tmp_path / "arguments.json").read_text())
    assert arguments[arguments.index("-c") + 1] == "512" and arguments[arguments.index("-m") + 1] == str(roomy_model)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script with a #! line")
def test_a_server_that_does_not_start_is_named_with_its_last_words(roomy_model: Path, tmp_path: Path) -> None:
    broken = executable(tmp_path / "broken", "print('cannot open the model'); raise SystemExit(1)")
    with pytest.raises(EngineError, match="broken did not start: cannot open the model"):
        Server(broken, roomy_model, Limits(512, 1, -1))
    with pytest.raises(EngineError, match="missing cannot be started"):
        Server(tmp_path / "missing", roomy_model, Limits(512, 1, -1))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    exact, ours, wrong = (timed(name, [0.5, 0.4, 0.3]) for name in ("rella-cpp, exact", "rella-cpp", "slow"))
    wrong.seconds, wrong.answers, wrong.given = [80.0], [0.9, None], 2
    facts = {
        "machine": {"cpu": "A CPU", "cores": 2, "memory": 2**34, "system": "Linux"},
        "build": {"offload": False, "backends": {"CPU": ["AVX2"]}},
        "versions": {"rella-cpp": "0.1.0"},
        "model": {"name": "Tiny", "quantisation": "F32", "bytes": 10**6, "fingerprint": "f" * 64},
        "settings": {"threads": 2, "ctx": 512},
        "mix": {
            "items": 3,
            "behaviors": 2,
            "prompt_tokens": {"least": 5, "mean": 6, "most": 7},
            "titles": 0,
            "titles_from": "made up",
        },
        "repeats": 3,
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**facts, "rank": rank_rows([ours, exact, wrong], 0.01), "embed": []}))
    return path


def test_tables_say_what_is_scaled_and_what_differs(results: Path) -> None:
    text = tables(json.loads(results.read_text()))
    assert "| rella-cpp | 0.6667 | 1.0 | 0.0000 | 0.0000 |  |" in text
    assert "| slow | 26.67 | 40.0 | 0.4000 | 0.4000 | scaled from 2, 1 not answered |" in text
    assert "Tiny F32" in text and "A CPU, 2 cores, 16 GiB" in text and "embedding |" not in text


def test_the_plot_is_a_picture_and_the_readme_gets_the_tables(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    readme, out = tmp_path / "README.md", tmp_path / "peers.png"
    readme.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    plot.main([str(results), "-o", str(out), "--readme", str(readme)])
    assert out.read_bytes().startswith(b"\x89PNG") and "| slow |" in capsys.readouterr().out
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->\nTiny") and text.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in text and "| slow |" in text
    for arguments, said in (
        ([results, "-o", out], "is there already"),
        ([readme, "-o", tmp_path / "b.png"], "is damaged"),
        ([results, "-o", results, "--force"], "is one of the inputs"),
    ):
        with pytest.raises(SystemExit) as caught:
            plot.main([str(argument) for argument in arguments])
        said_there = capsys.readouterr().err
        assert caught.value.code == 2 and said in said_there and len(said_there.splitlines()) == 1
    assert not (tmp_path / "b.png").exists()


BAD = [
    ("--model {folder}/none.gguf", "none.gguf: no such file"),
    ("--titles {folder}/none.txt", "none.txt: cannot be read"),
    ("--titles {folder}/empty.txt", "empty.txt: holds no titles"),
    ("-o {folder}/empty.txt", "empty.txt: is there already"),
    ("--model {folder}/new.json -o {folder}/new.json --force", "new.json"),
    ("--items 0", "items is 0"),
    ("--behaviors 0", "behaviors is 0"),
    ("--threads 1000", "threads is 1000"),
    ("--ctx 300", "the context holds 300"),
    ("--ctx 5000", "the model was trained on 4096"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(
    roomy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    given = ["--model", roomy_model, "-o", tmp_path / "new.json", *FEW, *arguments.format(folder=tmp_path).split()]
    with pytest.raises(SystemExit) as caught:
        peers.main([str(argument) for argument in given])
    captured = capsys.readouterr()
    assert caught.value.code == 2 and captured.out == "" and said in captured.err
    assert len(captured.err.splitlines()) == 1 and not (tmp_path / "new.json").exists()


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_transformers_gives_our_answers(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.gguf", shape=Shape(ctx=2048, embd=64, ff=128))
    results = run(model, tmp_path / "results.json", "--hf", "--hf-few", 3, "--repeats", 1, "--tolerance", 0.15)
    found = {row["peer"]: row for row in results["rank"]}
    # llama.cpp keeps keys and values in F16; bfloat16 rounds to three digits, and random weights are not kind.
    for name, least in (("float32", 0.01), ("bfloat16", 0.15)):
        for kept in ("", ", prefix kept"):
            assert found[f"transformers {name}{kept}"]["largest_difference"] < least
    assert all(row["agrees"] for row in results["embed"])
