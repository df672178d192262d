"""Rank films for several users from threads that share one `rella score --jsonl`, a process of its own.

    python examples/worker_threads.py [OPTION of rella score]...

Within one process, threads may share a `Rella` itself: it is safe to use from all of them, one decodes at a time. A
worker keeps the model out of this process: it takes none of its memory, and if it dies, this one goes on. Run it from
the repository's root.
"""

import json
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self


class Worker:
    """A worker process. Results come in the order of the requests, so a queue of futures is all it takes."""

    def __init__(self, *options: str) -> None:
        command = ["rella", "score", "--jsonl", *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._results = self._process.stdin, self._process.stdout
        self._waiting: deque[Future[dict[str, Any]]] = deque()
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its result; what is wrong with the request raises ValueError."""
        future: Future[dict[str, Any]] = Future()
        with self._lock:  # the order of the queue is the order of the lines
            self._waiting.append(future)
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        result = future.result()
        if "error" in result:
            raise ValueError(result["error"]["message"])
        return result

    def _read(self) -> None:
        for line in self._results:
            self._waiting.popleft().set_result(json.loads(line))
        while self._waiting:
            self._waiting.popleft().set_exception(BrokenPipeError("the worker has ended"))

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let the worker end: it answers what it was asked, then exits."""
        with suppress(BrokenPipeError):
            self._requests.close()
        self._reader.join()
        self._results.close()
        self.code = self._process.wait()


def main() -> None:
    """Rank the same films for users who differ in what they have seen."""
    folder = Path(__file__).parent
    person = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    user, history = person["user"], person["history"]
    films = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    users = {f"saw {count} films": history[:count] for count in (2, 4, 6, 8)}
    users["gave 11 stars"] = [{"title": "Alien", "rating": 11}]

    def best(name: str) -> str:
        try:
            scores = worker.ask({"id": name, "user": user, "history": users[name], "items": films})["scores"]
        except (ValueError, BrokenPipeError) as error:
            return f"{name}: {error}"
        first = min(scores, key=lambda score: score["rank"])
        return f"{name}: {first['item']['title']} ({first['probability']:.3f})"

    with Worker(*sys.argv[1:]) as worker, ThreadPoolExecutor(len(users)) as threads:
        print(*threads.map(best, users), sep="\n")
    sys.exit(worker.code)


if __name__ == "__main__":
    main()
