"""Bodies of requests: read up to a limit, and JSON; and what a request is refused with."""

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from rella_cpp.errors import InputError
from rella_cpp.serving.requests import parse_line
from rella_gguf.shown import json_line

_STATUS = {"input": 400, "engine": 500, "deadline": 504, "cancelled": 499, "busy": 429, "closed": 503}
"""HTTP's status of the kinds of errors."""


class Answer(JSONResponse):
    """JSON in ASCII: a title may hold half a surrogate pair."""

    def render(self, content: Any) -> bytes:
        """Return what is sent."""
        return json_line(content, ascii_only=True).encode()


class Refused(Exception):
    """A request is answered with an error.

    Attributes
    ----------
    status
        HTTP's.
    error
        `message`, `place` and `kind`, as the worker's.
    headers
        Of the answer.

    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        place: str | None = None,
        kind: str = "input",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.error: dict[str, Any] = {"message": message, "place": place, "kind": kind}

    @classmethod
    def of(cls, error: Mapping[str, Any]) -> "Refused":
        """Make one of a worker's error."""
        headers = {"Retry-After": "1"} if error["kind"] == "busy" else None
        status = _STATUS[error["kind"]]
        return cls(status, error["message"], place=error["place"], kind=error["kind"], headers=headers)


async def read_json(request: Request, most: int) -> object:
    """Read a body of at most `most` bytes as JSON.

    Raises
    ------
    Refused
        It is longer (413), no JSON (400), or the client has gone (499).

    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_long(most)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_long(most)
    except ClientDisconnect:
        raise Refused(499, "the client has gone", kind="cancelled") from None
    try:
        return await run_in_threadpool(parse_line, bytes(body))
    except InputError as error:
        raise Refused(400, str(error), place=error.place) from None


def _too_long(most: int) -> Refused:
    return Refused(413, f"the body has more than {most:,} bytes; send a shorter history, or fewer items")
