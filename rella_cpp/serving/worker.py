"""A worker: requests in, results out, one line each, in order; what is wrong with a line is that line's result."""

from collections.abc import Iterable, Iterator

from rella_cpp.errors import EngineError, InputError
from rella_cpp.serving.requests import LONGEST_LINE, parse_line
from rella_cpp.serving.service import Service

_BOM = b"\xef\xbb\xbf"
_CLOSED = "the model is closed"  # the one failure that no later request can be free of


def split_lines(chunks: Iterable[bytes], longest: int = LONGEST_LINE) -> Iterator[bytes]:
    """Cut a stream of bytes into lines, each as soon as its line break is there.

    Parameters
    ----------
    chunks
        The stream, in pieces of any size.
    longest
        Of a longer line, `longest` + 1 bytes are kept, by which it is known, and the rest is dropped as it comes.

    Yields
    ------
    Lines without their line break, blank ones too; what stands behind the last line break only if there is something.

    """
    held = bytearray()
    for chunk in chunks:
        *ends, start = chunk.split(b"\n")
        for end in ends:
            held += end[: longest + 1 - len(held)]
            yield bytes(held)
            held.clear()
        held += start[: longest + 1 - len(held)]
    if held:
        yield bytes(held)


def work(service: Service, lines: Iterable[bytes]) -> Iterator[dict[str, object]]:
    """Answer requests: one result for each line that is not blank, in order, each before the next line is read.

    Parameters
    ----------
    service
        Answers them.
    lines
        Requests, see `take_request`. The first may begin with a byte order mark.

    Yields
    ------
    JSON objects with the request's `id` and the number of its `line`, from 1 on; then what `Service.answer` returns, or
    `error`: its `message`, its `place` in the request or None, and its `kind`, `input` or `engine`.

    Raises
    ------
    EngineError
        The model was closed meanwhile.

    """
    for number, line in numbered(lines):
        yield _answer(service, line, number)


def numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield lines that are not blank, with their numbers, from 1 on; the first without a byte order mark."""
    for number, line in enumerate(lines, start=1):
        line = line.removeprefix(_BOM) if number == 1 else line
        if line.strip():
            yield number, line


def _answer(service: Service, line: bytes, number: int) -> dict[str, object]:
    value = None
    try:
        value = parse_line(line)
        request, place = service.request(value), f"line {number}"
        service.warn_of_unread(request, place)
        result = service.answer(request, place)
    except InputError as error:
        result = {"error": {"message": str(error), "place": error.place, "kind": "input"}}
    except EngineError as error:
        if str(error) == _CLOSED:
            raise
        result = {"error": {"message": str(error), "place": None, "kind": "engine"}}
    return {"id": value.get("id") if isinstance(value, dict) else None, "line": number, **result}
