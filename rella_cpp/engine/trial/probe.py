"""The child process of a trial: loads a model and asks of it what matters, so that only this process can die.

It says on standard output what it does next, a line each, and that it goes on, a dot each second.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from rella_cpp.engine.engine import Engine
from rella_cpp.engine.loading import load
from rella_cpp.engine.lora import Adapter
from rella_cpp.engine.native import load as load_library
from rella_cpp.engine.segments import Prompt, Segment
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.errors import RellaError
from rella_gguf import shard_paths

MARK = "@ "
"""Begins each line of ours; llama.cpp's last words come without it."""
BEAT = "."
REFUSED = 64
"""Exit code where the model was refused, which is no death."""
STAGES = ("starting", "loading it", "reading one token", "reading a prompt", "reading a batch", "reading hidden states")
"""What is done, one after the other. From the third on, llama.cpp decodes."""

_LONG, _SHORT = 600, 64
"""Tokens of the prompt: more than llama.cpp computes at once; fewer for a file beyond `_LARGE` bytes."""
_LARGE = 1 << 30
_BRANCHES, _BRANCH, _TRUNK = 8, 8, 40
_PRIME = 7919
_TEXT = "Will this person like the movie “Amélie” (2001)?\nAnswer Yes or No."


class Job(NamedTuple):
    """What to try: a model with settings, and the adapter or the soft prompt that is used with it, if one is."""

    model: str
    settings: EngineSettings
    adapter: str | None = None
    soft: str | None = None

    def dump(self) -> str:
        """Write it as JSON."""
        return json.dumps(self._replace(settings=asdict(self.settings))._asdict())  # type: ignore[arg-type]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it back."""
        found = json.loads(text)
        return cls(**{**found, "settings": EngineSettings(**found["settings"])})


def main() -> None:
    """Try what the last argument says, and exit: 0 where all of it went well, `REFUSED` where the model was refused."""
    _leave_no_core()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        probe(Job.parse(sys.argv[-1]), _say)
    except RellaError:  # the parent meets the same, and says it
        code = REFUSED
    else:
        code = 0
    os._exit(code)  # nothing is left to free


def probe(job: Job, say: Callable[[str], None]) -> None:
    """Load a model and read with it: a token, a prompt, a packed batch, hidden states.

    Parameters
    ----------
    job
        What to try.
    say
        Told what comes next, and `BEAT` now and then meanwhile.

    Raises
    ------
    RellaError
        The model was refused, or llama.cpp failed and said so.

    """
    beat = _Beat(say)
    _, loading, one_token, prompt, batch, hidden = STAGES
    say(loading)
    loaded = load(job.model, job.settings, beat=beat)
    library = load_library()
    callback = library.ggml_abort_callback(lambda _data: not beat())
    library.llama_set_abort_callback(loaded.context, callback, None)
    with Engine(loaded, job.settings) as engine:
        words = engine.vocabulary
        words.decode([*words.tokenize(_TEXT), *words.tokenize(_TEXT, special=True)])
        adapters = () if job.adapter is None else (Adapter(Path(job.adapter)),)
        if adapters:
            engine.load_adapters(adapters)
        lead: tuple[Segment, ...] = () if job.soft is None else (_embeddings(job.soft),)
        room = engine.n_ctx - sum(map(len, lead))

        def tokens(count: int, seed: int = 0) -> Segment:
            """Spread ids over the vocabulary."""
            numbers = np.arange(seed, seed + max(1, min(count, room)))
            return (numbers * _PRIME % words.size).astype(np.int32)

        def read(*prompts: tuple[Segment, ...]) -> None:
            for _ in engine.logits([Prompt((*lead, *segments)) for segments in prompts], adapters):
                pass

        say(one_token)
        read((tokens(1),))
        large = sum(part.stat().st_size for part in shard_paths(job.model)) > _LARGE
        length = _SHORT if large or adapters or lead else _LONG
        say(f"{prompt} of {min(length, room)} tokens")
        read((tokens(length),))
        if room > _TRUNK + _BRANCH:
            say(batch)
            read(*((tokens(_TRUNK), tokens(_BRANCH, seed)) for seed in range(1, _BRANCHES + 1)))
        say(hidden)
        for _ in engine.states([Prompt((*lead, tokens(_BRANCH)))], adapters):
            pass


class _Beat:
    """Says at most once a second that work goes on; llama.cpp calls it between the nodes of its graph."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._last = say, time.monotonic()

    def __call__(self) -> bool:
        """Say it, unless it was said just now; return True: go on."""
        now = time.monotonic()
        if now - self._last >= 1:
            self._last = now
            self._say(BEAT)
        return True


def _embeddings(soft: str) -> Segment:
    from rella_gguf import read_soft_prompt

    found: Any = read_soft_prompt(soft).embeddings
    return np.ascontiguousarray(found, dtype=np.float32)


def _say(text: str) -> None:
    os.write(1, f"{MARK}{text}\n".encode())


def _end_with_parent() -> None:
    """End when standard input does: whoever started us has gone."""
    os.read(0, 1)
    os._exit(REFUSED)


def _leave_no_core() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
