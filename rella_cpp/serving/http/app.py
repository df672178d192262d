"""The HTTP server's routes: rerank, score, and the worker's requests. No page of it fetches anything."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rella_cpp.engine.engine import Engine
from rella_cpp.errors import InputError
from rella_cpp.serving.desk import Desk, error_of
from rella_cpp.serving.http.bodies import Answer, Refused, read_json
from rella_cpp.serving.http.labels import LabelScoring, sglang_answer, vllm_answer
from rella_cpp.serving.http.metrics import Metrics
from rella_cpp.serving.http.rerank import take_rerank
from rella_cpp.serving.requests import take_deadline
from rella_cpp.serving.scheduler import Busy, Closed, Ticket

_LOOKS = 0.5
"""Seconds between looks at whether a client is still there."""
_OPEN = ("/health",)
"""Routes that need no key: what starts a server asks whether it is up."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served, and within which limits.

    Attributes
    ----------
    desk
        Takes requests.
    engine
        Reads texts for label scores.
    model
        What the model is called, and what `/v1/models` tells of it.
    about
        JSON for `/v1/models`.
    tokens
        Prompt tokens so far, and decoded ones.
    api_key
        What clients must send as `Authorization: Bearer …`; None: nothing.
    most_bytes
        Of a request's body.

    """

    desk: Desk
    engine: Engine
    model: str
    about: Mapping[str, Any]
    tokens: Callable[[], tuple[int, int]]
    api_key: str | None = None
    most_bytes: int = 1 << 22


def make_app(serving: Serving) -> ASGIApp:
    """Make the server's application."""
    app = FastAPI(title="rella", docs_url=None, redoc_url=None)
    metrics = Metrics(lambda: serving.desk.scheduler.waiting, serving.tokens)
    routes = _Routes(serving, metrics)
    posts, gets = routes.posts(), routes.gets()
    for path, answer in posts.items():
        app.add_api_route(path, answer, methods=["POST"], response_model=None)
    for path, shown in gets.items():
        app.add_api_route(path, shown, methods=["GET"], response_model=None)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _refused_by_route)
    app.add_exception_handler(Exception, _failed)
    return _Guard(app, serving.api_key, metrics, {*posts, *gets, "/openapi.json"})


class _Routes:
    """Answers each route."""

    def __init__(self, serving: Serving, metrics: Metrics) -> None:
        self._serving, self._metrics = serving, metrics

    def posts(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """Return what answers requests with a body, by path."""
        own = {f"/rella/{kind}": self._worker(kind) for kind in _KINDS}
        return {
            "/v1/rerank": self.rerank,
            "/v2/rerank": self.rerank,
            "/v1/score": self.sglang,
            "/generative_scoring": self.vllm,
            **own,
        }

    def gets(self) -> dict[str, Callable[[], Response]]:
        """Return what shows something, by path."""
        return {"/health": self.health, "/v1/models": self.models, "/metrics": self.metrics}

    async def rerank(self, request: Request) -> Response:
        """Rerank documents by a history (Jina, Cohere)."""
        value = await self._read(request)
        asked = await self._checked(take_rerank, value, self._serving.desk.service)
        found = await self._answered(request, lambda: self._serving.desk.take(asked.request, "a request"))
        return Answer(asked.answer(found, self._serving.model))

    async def sglang(self, request: Request) -> Response:
        """Return the probabilities of tokens behind texts (SGLang)."""
        return await self._labels(request, sglang_answer, softmax=False)

    async def vllm(self, request: Request) -> Response:
        """Return the probability of the first of some tokens behind texts (vLLM)."""
        return await self._labels(request, vllm_answer, softmax=True)

    async def _labels(self, request: Request, answer: Callable[..., dict[str, Any]], *, softmax: bool) -> Response:
        value = await self._read(request)
        engine, scheduler = self._serving.engine, self._serving.desk.scheduler
        asked = await self._checked(LabelScoring.of, value, engine.vocabulary.size, softmax=softmax)
        seconds = await self._checked(take_deadline, value)
        start = time.perf_counter()
        found: list[list[float]] = []
        tokens = 0
        for part in asked.parts():  # others come between
            left = None if seconds is None else max(0.0, start + seconds - time.perf_counter())
            take = partial(scheduler.call, partial(part.read, engine), seconds=left)
            rows, read = await self._answered(request, take)
            found, tokens = found + rows, tokens + read
        return Answer(answer(found, tokens, self._serving.model))

    def _worker(self, kind: str) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a worker's requests of a kind."""
        desk = self._serving.desk

        async def answer(request: Request) -> Response:
            value = await self._read(request)
            if isinstance(value, dict):
                value = value | _KINDS[kind]
            asked = await self._checked(desk.service.request, value)
            if (kind == "recommend") != (asked.wanted.recommend is not None):
                remedy = "give recommend, how many" if kind == "recommend" else "ask /rella/recommend"
                raise Refused(400, f"/rella/{kind} does not answer that; {remedy}", place="recommend")
            found = await self._answered(request, lambda: desk.take(asked, "a request"))
            return Answer({"id": asked.id, **found})

        return answer

    def health(self) -> Response:
        """Tell that the server is up."""
        return Answer({"status": "ok", "waiting": self._serving.desk.scheduler.waiting})

    def models(self) -> Response:
        """Tell which model answers."""
        entry = {"id": self._serving.model, "object": "model", "owned_by": "rella", **self._serving.about}
        return Answer({"object": "list", "data": [entry]})

    def metrics(self) -> Response:
        """Tell what was counted."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _read(self, request: Request) -> object:
        """Read a request's body; where too many wait, not even that."""
        scheduler = self._serving.desk.scheduler
        if scheduler.waiting >= scheduler.most:
            raise _error(Busy(f"{scheduler.most} requests wait already"))
        return await read_json(request, self._serving.most_bytes)

    async def _checked(self, check: Callable[..., Any], *values: object, **more: object) -> Any:
        """Check a request, in a thread: a large one would hold up the others."""
        try:
            return await run_in_threadpool(check, *values, **more)
        except InputError as error:
            raise Refused(400, str(error), place=error.place) from None

    async def _answered(self, request: Request, take: Callable[[], Ticket[Any]]) -> Any:
        """Wait for an answer; give a request up whose client has gone."""
        try:
            ticket = await run_in_threadpool(take)
        except Exception as error:
            raise _error(error) from None
        future = asyncio.wrap_future(ticket.future)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asked may have gone
        try:
            while not (await asyncio.wait({future}, timeout=_LOOKS))[0]:
                if await request.is_disconnected():
                    ticket.cancel()
                    raise Refused(499, "the client has gone", kind="cancelled")
        except asyncio.CancelledError:  # the server ends
            ticket.cancel()
            raise Refused(503, "the server ends", kind="closed") from None
        try:
            return future.result()
        except BaseException as error:
            raise _error(error) from None


_KINDS: dict[str, dict[str, Any]] = {"score": {}, "rank": {}, "recommend": {}, "explain": {"why": True}}
"""The worker's requests, by route, and what a route adds."""


def _error(error: BaseException) -> Refused:
    """Return what a request that ended with an error is answered with; raise what is a fault of ours."""
    if isinstance(error, Closed):
        return Refused(503, "the server ends", kind="closed")
    return Refused.of(error_of(error))


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return Answer({"error": error.error}, error.status, headers=error.headers)


async def _refused_by_route(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {"message": str(error.detail), "place": None, "kind": "route"}
    return Answer({"error": told}, error.status_code, headers=error.headers)


async def _failed(_request: Request, _error: Exception) -> Response:
    told = {"message": "a fault of the server", "place": None, "kind": "engine"}
    return Answer({"error": told}, 500)


class _Guard:
    """Lets in whoever has the key, and counts what is answered."""

    def __init__(self, app: ASGIApp, api_key: str | None, metrics: Metrics, known: set[str]) -> None:
        self._app, self._metrics, self._known = app, metrics, known
        self._wanted = None if api_key is None else api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, route = time.perf_counter(), scope["path"] if scope["path"] in self._known else "other"
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._wanted is not None and scope["path"] not in _OPEN and not self._has_key(scope):
                told = {"message": "the key is wrong, or missing", "place": None, "kind": "key"}
                await Answer({"error": told}, 401, headers={"WWW-Authenticate": "Bearer"})(scope, receive, counted)
                return
            await self._app(scope, receive, counted)
        finally:
            self._metrics.answered(route, status, time.perf_counter() - start)

    def _has_key(self, scope: Scope) -> bool:
        """Compare keys in a time that does not depend on where they differ."""
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key, self._wanted or b"")
