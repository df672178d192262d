"""`rella serve` and `rella score --jsonl --concurrent` as processes: clients that apps use, and how they end."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import runner

pytest.importorskip("fastapi", reason="the extra serve is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

PAST = [{"title": title, "year": 1970 + 5 * place, "rating": place % 5 + 1} for place, title in enumerate("ABCDEFG")]
DOCUMENTS = ["Dune (1984)", "Big (1988)", "Jaws (1975)"]


@contextmanager
def served(model: Path, *options: object) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "rella_cli", "serve", "--port", "0", "-m", model, "--no-trial", *options]
    with subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"listening on (http://\S+),", line):
                    yield found[1], process
                    break
            else:
                raise AssertionError("it did not listen")
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(roomy_model: Path) -> Iterator[str]:
    with served(roomy_model, "--exact") as (url, _):
        yield url


def ask(url: str, **request: object) -> Any:
    return httpx.post(f"{url}/rella/score", json={"history": PAST, "item": {"title": "Big"}, **request}, timeout=60)


def test_coheres_client_reranks(server: str) -> None:
    cohere = pytest.importorskip("cohere", reason="cohere is not installed")
    for made in (cohere.ClientV2, cohere.Client):
        with httpx.Client(timeout=60) as connection:
            client = made(api_key="x", base_url=server, httpx_client=connection)
            found = client.rerank(model="tiny", query=json.dumps(PAST), documents=DOCUMENTS, top_n=2).results
        assert len(found) == 2 and found[0].relevance_score >= found[1].relevance_score
        assert {each.index for each in found} < {0, 1, 2}


def test_rerankers_api_ranker_reranks(server: str) -> None:
    rankers = pytest.importorskip("rerankers.models.api_rankers", reason="rerankers is not installed")
    ranker = rankers.APIRanker("tiny", "x", "jina", verbose=0, url=f"{server}/v1/rerank")
    found = ranker.rank(query=json.dumps(PAST), docs=DOCUMENTS)
    scores = [each.score for each in found.results]
    assert scores == sorted(scores, reverse=True) and {each.doc_id for each in found.results} == {0, 1, 2}


def test_fifty_at_a_time_get_what_each_gets_alone(server: str) -> None:
    async def all_of() -> list[Any]:
        async with httpx.AsyncClient(base_url=server, timeout=60) as client:
            asked = [{"id": n, "history": PAST[: n % 5 + 2], "item": {"title": f"Film {n}"}} for n in range(50)]
            return await asyncio.gather(*(client.post("/rella/score", json=each) for each in asked))

    found = [answer.json() for answer in asyncio.run(all_of())]
    for number in (0, 17, 49):
        alone = ask(server, id=number, history=PAST[: number % 5 + 2], item={"title": f"Film {number}"}).json()
        assert found[number] == alone and alone["exact"] is True


def test_a_request_whose_client_has_gone_is_given_up(server: str) -> None:
    many = [{"title": f"Film {n}"} for n in range(3000)]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server}/rella/rank", json={"history": PAST, "items": many}, timeout=0.5)
    for _ in range(100):
        if httpx.get(f"{server}/health").json()["waiting"] == 0:
            break
        asyncio.run(asyncio.sleep(0.1))
    assert httpx.get(f"{server}/health").json()["waiting"] == 0
    counted = httpx.get(f"{server}/metrics").text
    assert 'route="/rella/rank",status="499"' in counted


def test_what_was_taken_is_answered_before_the_server_ends(roomy_model: Path) -> None:
    async def end(url: str, process: "subprocess.Popen[str]") -> list[int]:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            asked = [
                client.post(
                    "/rella/rank", json={"history": PAST, "items": [{"title": f"Film {n}-{i}"} for i in range(20)]}
                )
                for n in range(20)
            ]
            running = [asyncio.create_task(each) for each in asked]
            while (await client.get("/health")).json()["waiting"] < 5:
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*running, return_exceptions=True)
            return [answer.status_code for answer in answers if not isinstance(answer, BaseException)]

    with served(roomy_model) as (url, process):
        statuses = asyncio.run(end(url, process))
        assert process.wait(60) == 0
    assert statuses.count(200) >= 5 and set(statuses) <= {200, 503}


def test_a_server_that_is_told_to_end_at_once_ends(roomy_model: Path) -> None:
    for _ in range(2):
        with served(roomy_model) as (url, process):
            assert httpx.get(f"{url}/health").status_code == 200  # who comes at once is let in
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_a_key_keeps_others_out(roomy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELLA_API_KEY", "secret")
    with served(roomy_model) as (url, _):
        assert ask(url).status_code == 401 and httpx.get(f"{url}/health").status_code == 200
        headers = {"Authorization": "Bearer secret"}
        assert httpx.get(f"{url}/v1/models", headers=headers).json()["data"][0]["object"] == "model"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--port 70000", "--port is 70000; give 0 to 65,535"),
        ("--queue 0", "--queue is 0"),
        ("--host 192.0.2.1", "192.0.2.1:8080: cannot be listened on: Cannot assign requested address; another --host"),
        ("--api-key=", "the key is empty"),
        ("-m none.gguf --port 0", "none.gguf: no such file"),
    ],
)
def test_a_server_that_cannot_be_is_one_line(capsys: pytest.CaptureFixture[str], options: str, said: str) -> None:
    done = runner(capsys)(*f"serve {options}".split())
    assert (done.code, done.out) == (2, "") and said in done.err and done.err.count("\n") == 1


def worker(model: Path, *options: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "rella_cli", "score", "--jsonl", "-m", model, "--no-trial", *options]
    pipe = subprocess.PIPE
    return subprocess.Popen([str(word) for word in command], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


def lines(count: int, items: int = 1) -> bytes:
    asked = [
        {"id": n, "history": PAST, "items": [{"title": f"Film {n} {i}"} for i in range(items)]} for n in range(count)
    ]
    return b"".join(json.dumps(each).encode() + b"\n" for each in asked)


def test_a_concurrent_worker_answers_as_one_that_is_alone(roomy_model: Path) -> None:
    found = []
    for options in (("--exact",), ("--exact", "--concurrent", 7), ("--exact", "--concurrent", 7, "--unordered")):
        with worker(roomy_model, *options) as process:
            out, _ = process.communicate(lines(12, 3), timeout=60)
        assert process.returncode == 0
        rows = [json.loads(line) for line in out.splitlines()]
        found.append(
            sorted(
                ({k: v for k, v in row.items() if k not in ("exact", "warnings")} for row in rows),
                key=lambda row: row["line"],
            )
        )
    assert found[0] == found[1] == found[2]


def test_a_sigterm_ends_a_concurrent_worker_with_every_request_answered(roomy_model: Path) -> None:
    with worker(roomy_model, "--concurrent", 50) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(lines(40, 60))
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rows = [json.loads(line) for line in [first, *process.stdout]]
        process.stdin.close()
        assert process.wait(60) == 0
    assert [row["id"] for row in rows] == [*range(len(rows))]
    kinds = {row["error"]["kind"] for row in rows if "error" in row}
    assert kinds <= {"cancelled"} and "scores" in rows[0]


@pytest.mark.parametrize("options", [(), ("--unordered",)])
def test_a_concurrent_worker_whose_reader_has_gone_ends(roomy_model: Path, options: tuple[str, ...]) -> None:
    with worker(roomy_model, "--concurrent", 4, *options) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.close()
        process.stdin.write(lines(1))
        process.stdin.flush()
        assert process.wait(30) == 1
        process.stdin.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--concurrent 3", "--concurrent without --jsonl"),
        ("--jsonl --concurrent 0", "--concurrent is 0; give 1 to 10,000 requests"),
        ("--jsonl --unordered", "--unordered without --concurrent"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], options: str, said: str) -> None:
    done = runner(capsys)(*f"score {options}".split())
    assert (done.code, done.out) == (2, "") and said in done.err and done.err.count("\n") == 1
