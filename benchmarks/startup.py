"""How long `rella score` takes until it decodes, by part, beside a bare script that makes the same context.

    python benchmarks/startup.py [--runs 15] [--cpu 1] [--json] [--model M.gguf]

Both are processes of their own, run in turn, with the model's file in memory and its fingerprint known. Time is counted
from before the process starts: for `rella score` until its first `llama_decode`, for the bare script until its context
is made. An import is counted for the package that is imported, with the standard library's modules that it brings.
Modules are compiled before, as an installed package's are.
"""

import builtins
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples")
FILES = ("--history", os.path.join(EXAMPLES, "history.json"), "--item", os.path.join(EXAMPLES, "item.json"))
IMPORTS = {
    "typer": "import typer",
    "pydantic": "import pydantic (Typer does)",
    "rich": "import rich",
    "numpy": "import numpy",
    "llama_cpp": "import llama_cpp",
    "jinja2": "import jinja2",
    "gguf": "import gguf",
    "joblib": "import joblib",
    "rella_cli": "import rella_*",
    "rella_cpp": "import rella_*",
    "rella_gguf": "import rella_*",
}
CALLS = {"llama_model_load_from_file": "load the model", "llama_init_from_model": "make the context"}
START, BEFORE, AFTER = "start the interpreter", "other work before the model", "other work after it"
LIMIT = 1.5


class Watch:
    """Shares out a process's time among parts; the innermost one that is open gets it.

    Parameters
    ----------
    started
        Wall time in seconds when the process was asked for.

    Attributes
    ----------
    context
        Sizes that the context was made with.

    """

    def __init__(self, started: float) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.context: dict[str, int] = {}
        self._open = [BEFORE]
        self._last = time.time(), time.process_time()
        self.wall[START], self.cpu[START] = self._last[0] - started, self._last[1]
        self._import, builtins.__import__ = builtins.__import__, self._timed_import

    def report(self) -> None:
        """Print what was measured so far, as JSON, and end the process."""
        self._pass_on()
        print(json.dumps({"wall": self.wall, "cpu": self.cpu, "context": self.context}), file=sys.stderr, flush=True)
        os._exit(0)

    def _pass_on(self) -> None:
        """Give the time since the last call to the innermost open part."""
        now = time.time(), time.process_time()
        self.wall[self._open[-1]] += now[0] - self._last[0]
        self.cpu[self._open[-1]] += now[1] - self._last[1]
        self._last = now

    def _run(self, part: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self._pass_on()
        self._open.append(part)
        try:
            return call(*arguments, **named)
        finally:
            self._pass_on()
            self._open.pop()

    def _timed_import(self, name: str, *rest: Any, **named: Any) -> Any:
        part = IMPORTS.get(name.partition(".")[0])
        if part is None or name in sys.modules:
            return self._import(name, *rest, **named)
        module = self._run(part, self._import, name, *rest, **named)
        if name == "llama_cpp" and not self.context:
            self._listen(sys.modules[name])
        return module

    def _listen(self, lib: Any) -> None:
        for name, part in CALLS.items():
            setattr(lib, name, self._timed_call(getattr(lib, name), part))
        lib.llama_decode = lambda *_: self.report()

    def _timed_call(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            result = self._run(part, call, *arguments)
            if part == CALLS["llama_init_from_model"]:
                self.context = {name: int(getattr(arguments[1], name)) for name in ("n_ctx", "n_batch", "n_ubatch")}
                self._open[0] = AFTER
            return result

        return timed


def run_score(watch: Watch, model: str) -> None:
    """Run `rella score`; the watch ends it at the first decode."""
    from rella_cli.main import main

    main(["score", *FILES, "--model", model])


def run_bare(watch: Watch, model: str, sizes: dict[str, int]) -> None:
    """Do the least: import, load, make a context."""
    import llama_cpp as lib

    silent = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(silent, None)
    lib.llama_backend_init()
    loaded = lib.llama_model_load_from_file(os.fsencode(model), lib.llama_model_default_params())
    params = lib.llama_context_default_params()
    for name, size in sizes.items():
        setattr(params, name, size)
    if not lib.llama_init_from_model(loaded, params):
        raise SystemExit("no context could be made")
    watch.report()


def measure(kind: str, model: str, sizes: dict[str, int], compiled: str) -> dict[str, Any]:
    """Run one process, with compiled modules in a folder; return its report."""
    import subprocess

    command = [sys.executable, os.path.abspath(__file__), kind, model, json.dumps(sizes), repr(time.time())]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    own["PYTHONPYCACHEPREFIX"] = compiled
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=own, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    report: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return report


def summary(reports: list[dict[str, Any]], clock: str) -> dict[str, float]:
    """Return medians in milliseconds: of each part, and of the whole."""
    from statistics import median

    parts = dict.fromkeys(part for report in reports for part in report[clock])
    medians = {part: 1000 * median(report[clock].get(part, 0.0) for report in reports) for part in parts}
    return medians | {"all": 1000 * median(sum(report[clock].values()) for report in reports)}


def compare(model: str, runs: int) -> dict[str, Any]:
    """Measure both in turn; return medians and ratios."""
    from tempfile import TemporaryDirectory

    reports: dict[str, list[dict[str, Any]]] = {"score": [], "bare": []}
    with TemporaryDirectory() as compiled:
        # Not counted: it compiles, brings the file into memory, and has its fingerprint remembered.
        sizes = measure("score", model, {}, compiled)["context"]
        measure("bare", model, sizes, compiled)
        for _ in range(runs):
            for kind, found in reports.items():
                found.append(measure(kind, model, sizes, compiled))
    result: dict[str, Any] = {"model": os.path.basename(model), "context": sizes, "runs": runs}
    for kind, found in reports.items():
        result[kind] = {clock: summary(found, clock) for clock in ("wall", "cpu")}
    score, bare = result["score"], result["bare"]
    return result | {"ratio": {clock: score[clock]["all"] / bare[clock]["all"] for clock in ("wall", "cpu")}}


def show(result: dict[str, Any]) -> None:
    """Print the parts as a table."""
    parts = [START, *dict.fromkeys(IMPORTS.values()), BEFORE, *CALLS.values(), AFTER, "all"]
    print(f"{'milliseconds, medians of ' + str(result['runs']):32}{'rella score':>20}{'bare script':>20}")
    print(f"{'':32}" + f"{'wall':>10}{'CPU':>10}" * 2)
    for part in parts:
        row = [result[kind][clock].get(part, 0.0) for kind in ("score", "bare") for clock in ("wall", "cpu")]
        print(f"{part:32}" + "".join(f"{value:10.1f}" if value else " " * 10 for value in row))
    ratio = result["ratio"]
    print(f"{'ratio (wanted: at most ' + str(LIMIT) + ')':32}{ratio['wall']:10.2f}{ratio['cpu']:10.2f}")
    print(f"{result['model']}, " + ", ".join(f"{name} {size}" for name, size in result["context"].items()))


def main() -> None:
    """Measure and print."""
    import argparse

    from rella_cpp import find_model

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15, help="processes of each kind")
    parser.add_argument("--cpu", type=int, help="run on this processor alone")
    parser.add_argument("--model", help="a GGUF; else the packaged one")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.cpu is not None:
        os.sched_setaffinity(0, {chosen.cpu})  # the processes inherit it
    result = compare(str(find_model(chosen.model)), chosen.runs)
    print(json.dumps(result, indent=2)) if chosen.json else show(result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["score"]:
        run_score(Watch(float(sys.argv[4])), sys.argv[2])
    elif sys.argv[1:2] == ["bare"]:
        run_bare(Watch(float(sys.argv[4])), sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
