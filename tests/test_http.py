"""The HTTP server: routes, refusals, keys, and its answers against the library's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("prometheus_client", reason="the extra serve is not installed")


import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from rella_cpp import EngineSettings, Rella
from rella_cpp.serving.desk import Desk
from rella_cpp.serving.http.app import Serving, make_app
from rella_cpp.serving.scheduler import Scheduler
from rella_cpp.serving.service import Service

PAST = [{"title": title, "year": 1970 + 5 * place, "rating": place % 5 + 1} for place, title in enumerate("ABCDEFG")]
ITEMS: list[dict[str, object]] = [{"title": "Dune", "year": 1984}, {"title": "Big"}, {"title": "Jaws"}]


@pytest.fixture(scope="module", params=["question", "stream"])
def rella(request: pytest.FixtureRequest, roomy_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy_model, layout=request.param, settings=EngineSettings(exact=True)) as rella:
        yield rella


@pytest.fixture(scope="module")
def serving(rella: Rella) -> Iterator[Serving]:
    from rella_cpp import Selection

    with Scheduler(rella.judge) as scheduler:
        layout = rella.prompts.layout
        service = Service(rella, rella.domain, Selection.of(layout), layout=layout)
        yield Serving(
            Desk(service, scheduler, exact=True), rella.engine, "tiny", {"layout": rella.prompts.layout},
            lambda: rella.judged_tokens, most_bytes=1 << 16,
        )  # fmt: skip


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[TestClient]:
    with TestClient(make_app(serving), raise_server_exceptions=False) as client:
        yield client


def test_a_score_is_the_librarys(client: TestClient, rella: Rella) -> None:
    (own,) = rella.rank(PAST, ITEMS[:1])
    found = client.post("/rella/score", json={"id": 7, "history": PAST, "item": ITEMS[0]}).json()
    assert found["id"] == 7 and found["exact"] is True and found["score"]["yes_logit"] == own.yes_logit
    ranked = client.post("/rella/rank", json={"history": PAST, "items": ITEMS}).json()["scores"]
    assert [row["yes_logit"] for row in ranked] == [each.yes_logit for each in rella.rank(PAST, ITEMS)]
    why = client.post("/rella/explain", json={"history": PAST, "item": ITEMS[0]}).json()["score"]["why"]
    assert why == rella.explain(PAST, ITEMS[:1])[0].as_dict()


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_rerank_puts_the_likeliest_first(client: TestClient, rella: Rella, path: str) -> None:
    documents: list[Any] = ["Dune (1984)", {"title": "Big"}, {"text": "Jaws"}]
    query = json.dumps({"history": PAST, "user": {"age": "25-34"}})
    asked = {"model": "tiny", "query": query, "documents": documents, "return_documents": True}
    found = client.post(path, json=asked).json()
    scores = rella.rank(PAST, ITEMS, user={"age": "25-34"})
    assert {row["index"]: row["relevance_score"] for row in found["results"]} == {
        place: score.probability for place, score in enumerate(scores)
    }
    relevance = [row["relevance_score"] for row in found["results"]]
    assert relevance == sorted(relevance, reverse=True)
    assert [row["document"]["text"] for row in found["results"]] == [
        ["Dune (1984)", "Big", "Jaws"][row["index"]] for row in found["results"]
    ]
    best = client.post(path, json={**asked, "top_n": 1, "return_documents": False}).json()["results"]
    assert best == [{name: value for name, value in found["results"][0].items() if name != "document"}]
    assert client.post(path, json={**asked, "query": json.dumps(PAST)}).status_code == 200


def test_what_a_person_wants_in_plain_words_is_shown_or_refused(client: TestClient, rella: Rella) -> None:
    asked = {"query": "slow films about the sea", "documents": ["Jaws (1975)", "Big (1988)"]}
    answer = client.post("/v1/rerank", json=asked)
    if rella.prompts.layout == "stream":
        assert answer.status_code == 400 and answer.json()["error"]["place"] == "query"
    else:
        other = client.post("/v1/rerank", json={**asked, "query": "comedies"}).json()["results"]
        found = answer.json()["results"]
        assert len(found) == 2 and {row["index"]: row for row in found} != {row["index"]: row for row in other}


def test_label_scores_are_the_models_own(client: TestClient, rella: Rella) -> None:
    from rella_cpp.engine.segments import Prompt, Span

    labels = [5, 9, 11]
    asked = {"query": "Alien is ", "items": ["good", "bad"], "label_token_ids": labels}
    found = client.post("/v1/score", json=asked).json()
    assert found["object"] == "scoring"
    for text, row in zip(("good", "bad"), found["scores"], strict=True):
        tokens = np.array(rella.engine.encode([Span("Alien is "), Span(text)]).tokens, np.int32)
        (logits,) = rella.engine.logits([Prompt((tokens,))])
        wide = logits[-1].astype(float)
        shares = np.exp(wide - wide.max()) / np.exp(wide - wide.max()).sum()
        assert row == pytest.approx(shares[labels].tolist(), rel=1e-5)
    together = client.post("/v1/score", json={**asked, "apply_softmax": True}).json()["scores"]
    assert [sum(row) for row in together] == pytest.approx([1, 1])
    first = client.post("/generative_scoring", json=asked).json()["data"]
    assert [row["score"] for row in first] == [row[0] for row in together] and first[1]["index"] == 1
    swapped = client.post("/v1/score", json={**asked, "item_first": True}).json()["scores"]
    assert swapped != found["scores"]
    ids = {**asked, "query": [3, 4], "items": [[5], [6, 7]]}
    assert len(client.post("/v1/score", json=ids).json()["scores"]) == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "place"),
    [
        ("/rella/score", "nonsense", 400, "column 1"),
        ("/rella/score", "[]", 400, None),
        ("/rella/score", {"history": PAST, "item": {"titel": "x"}}, 400, "item"),
        ("/rella/score", {"history": PAST, "items": [{"title": "x"}, {}]}, 400, "items[1]"),
        ("/rella/score", {"history": PAST, "recommend": 3}, 400, "recommend"),
        ("/rella/score", {"history": PAST, "item": {"title": "x"}, "deadline": 0}, 504, None),
        ("/rella/recommend", {"history": PAST, "item": {"title": "x"}}, 400, "recommend"),
        ("/rella/recommend", {"history": PAST, "recommend": 3}, 400, None),  # there is no index
        ("/v1/rerank", {"query": "[]", "documents": []}, 400, "documents"),
        ("/v1/rerank", {"query": 3, "documents": ["a b"]}, 400, "query"),
        ("/v1/rerank", {"query": "{", "documents": ["a b"]}, 400, "query"),
        ("/v1/rerank", {"query": json.dumps(PAST), "documents": ["a b", 3]}, 400, "documents[1]"),
        ("/v1/rerank", {"query": json.dumps(PAST), "documents": ["a b"], "top_n": 0}, 400, "top_n"),
        ("/v1/score", {"query": "a", "items": ["b"], "label_token_ids": [10**9]}, 400, "label_token_ids"),
        ("/v1/score", {"query": "a", "items": [], "label_token_ids": [1]}, 400, "items"),
        ("/v1/score", {"query": "a " * 9000, "items": ["b"], "label_token_ids": [1]}, 400, "items[0]"),
        ("/rella/score", {"history": PAST, "item": {"title": "x" * 99_000}}, 413, None),
        ("/rella/score", {"history": [{"title": 1, "rating": 1}] * 5001, "item": {"title": 1}}, 413, None),
        ("/nowhere", {}, 404, None),
    ],
)
def test_a_bad_request_gets_its_own_error(
    client: TestClient, path: str, body: object, status: int, place: str | None
) -> None:
    answer = client.post(path, content=body if isinstance(body, str) else json.dumps(body))
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["place"] == place and error["message"] and set(error) == {"message", "place", "kind"}
    assert client.get("/health").json()["status"] == "ok"


def test_half_a_surrogate_pair_is_answered_in_ascii(client: TestClient) -> None:
    body = '{"id": "\\ud800", "history": [{"title": "A", "rating": 3}], "item": {"title": "\\ud800 B"}}'
    answer = client.post("/rella/score", content=body)
    assert answer.status_code == 200 and '"id": "\\ud800"' in answer.text


def test_many_label_scores_are_read_in_parts(client: TestClient) -> None:
    asked = {"query": "a", "items": [f" {n}" for n in range(70)], "label_token_ids": [3, 4]}
    found = client.post("/v1/score", json=asked).json()["scores"]
    assert len(found) == 70
    for number in (0, 40, 69):
        assert found[number] == client.post("/v1/score", json={**asked, "items": [f" {number}"]}).json()["scores"][0]


def test_what_was_passed_over_is_told(client: TestClient) -> None:
    found = client.post("/rella/score", json={"history": PAST, "item": {"title": "Big", "yeer": 1988}}).json()
    assert any("yeer is not read; did you mean year?" in each for each in found["warnings"])


def test_what_is_served_and_counted_is_told(client: TestClient) -> None:
    assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"
    assert "/v1/rerank" in client.get("/openapi.json").json()["paths"]
    assert client.get("/docs").status_code == 404 and client.get("/v1/rerank").status_code == 405
    client.post("/rella/score", json={"history": PAST, "item": {"title": "Xanadu"}})
    text = client.get("/metrics").text
    assert 'rella_requests_total{route="/rella/score",status="200"}' in text
    assert 'rella_tokens_total{kind="decoded"}' in text and "rella_waiting 0.0" in text
    assert "Xanadu" not in text and "nowhere" not in text


def test_whoever_has_no_key_is_not_let_in(serving: Serving) -> None:
    from dataclasses import replace

    with TestClient(make_app(replace(serving, api_key="secret")), raise_server_exceptions=False) as client:
        body = {"history": PAST, "item": {"title": "x"}}
        assert client.get("/health").status_code == 200
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "secret"}):
            assert client.post("/rella/score", json=body, headers=headers).status_code == 401
        assert client.post("/rella/score", json=body, headers={"Authorization": "Bearer secret"}).status_code == 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_KEYS = (
    "id history item items user k order retrieval window why by contrast context deadline recommend candidates query "
    "documents top_n label_token_ids item_first apply_softmax layout"
).split()
_BODIES = st.dictionaries(
    st.sampled_from(_KEYS), _JSON | st.just(PAST) | st.just(ITEMS) | st.just(ITEMS[0]), max_size=6
)
_PATHS = st.sampled_from(
    ["/rella/score", "/rella/rank", "/rella/explain", "/v1/rerank", "/v1/score", "/generative_scoring"]
)


@settings(
    max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(_PATHS, _BODIES | _JSON)
def test_no_request_breaks_the_server(client: TestClient, path: str, body: object) -> None:
    answer = client.post(path, content=json.dumps(body))
    assert answer.status_code < 500 or answer.status_code == 504, answer.text
    assert client.get("/health").status_code == 200
