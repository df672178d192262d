"""llama.cpp's own server, asked over HTTP."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from compared.task import Limits, among
from rella_cpp import EngineError
from rella_cpp.prompts.question import Question

_LOADING = 600.0  # seconds


class Server:
    """`llama-server`, started on a free port of this machine and asked one prompt after another.

    Parameters
    ----------
    binary
        The server.
    path, limits
        The model, and how to run it.
    top
        How many tokens to list. Yes or No may not be among them.
    prompts
        How many questions to ask.

    Raises
    ------
    EngineError
        It does not start, or does not answer as llama-server does.

    """

    name = "llama-server"
    reuses = True

    def __init__(self, binary: Path, path: Path, limits: Limits, top: int = 100, prompts: int | None = None) -> None:
        self.how = f"POST /completion with n_predict 1, n_probs {top}, cache_prompt true; one slot, over HTTP"
        self.prompts = prompts
        self._binary, self._top, self._prompt_cache = binary, top, True
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}"
        self._log = TemporaryFile()
        # --cache-ram 0: else the second round would find the first one's prompts.
        numbers = {
            "--cache-ram": 0,
            "-c": limits.ctx,
            "-t": limits.threads,
            "-tb": limits.threads,
            "-np": 1,
            "--port": port,
        }
        layers = ["-ngl", "999" if limits.gpu_layers < 0 else str(limits.gpu_layers)]
        command = [str(binary), "-m", str(path), "--host", "127.0.0.1", *layers]
        command += [word for name, number in numbers.items() for word in (name, str(number))]
        try:
            self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        except OSError as error:
            self._log.close()
            raise EngineError(f"{binary} cannot be started ({error.strerror}): name llama-server itself") from None
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def fresh(self) -> None:
        """Let the next prompt be read whole."""
        self._prompt_cache = False

    def read(self, prompts: Sequence[Question]) -> Iterator[float | None]:
        """Complete prompts one after another by one token."""
        for question in prompts:
            request = {
                "prompt": list(question.tokens),
                "n_predict": 1,
                "n_probs": self._top,
                "temperature": 0.0,
                "cache_prompt": self._prompt_cache,
                # Else nothing is listed where the answer would end at once. What is listed stays as it is.
                "ignore_eos": True,
            }
            self._prompt_cache = True
            try:
                listed = self._ask("/completion", request)["completion_probabilities"][0]["top_logprobs"]  # type: ignore[index]
                found = {int(entry["id"]): float(entry["logprob"]) for entry in listed}
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise EngineError(f"{self._binary} does not answer as llama-server does ({error!r})") from None
            yield among(found, *question.answers.tokens)

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _ask(self, place: str, request: object = None) -> dict[str, object]:
        body = None if request is None else json.dumps(request).encode()
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self._url + place, body, headers), timeout=600) as reply:
            answer: dict[str, object] = json.load(reply)
            return answer

    def _wait(self) -> None:
        """Wait until the model is loaded: until then, /health answers 503."""
        end = time.monotonic() + _LOADING
        while self._process.poll() is None and time.monotonic() < end:
            try:
                self._ask("/health")
                return
            except (OSError, ValueError):
                time.sleep(0.1)
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing said")
        raise EngineError(f"{self._binary} did not start: {said}")
