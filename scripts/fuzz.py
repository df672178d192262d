"""Give the command line damaged models, adapters, indexes and data, and count how it ends.

    python scripts/fuzz.py [--models 1000] [--adapters 200] [--indexes 100] [--data 1000] [--seed 0] [--jobs 1]
        [--keep DIR]

Each input is made from its seed, kind and number alone, so that one can be made again: `--only values/17`. Good ends
are a result, and a refusal in one line (a line a fault, where a file has several); all others are listed, and the exit
code is 1.
"""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).resolve().parent)]

from damaged_data import DATA_MAKERS, seal_again, whole_inputs  # noqa: E402
from mutations import Parts, damage_bytes, damage_json, damage_values  # noqa: E402
from peft_folder import write_peft  # noqa: E402
from tiny_model import Shape, write_adapter, write_model  # noqa: E402

EXAMPLES = ROOT / "examples"
HISTORY = ("--history", str(EXAMPLES / "history.json"))
USUAL = ("--threads", "1", "--json")
LONGEST = 120.0
ENDS = ("refused", "accepted", "traceback", "signal", "hang", "other")
GOOD = ("refused", "accepted")
SHAPE = Shape(ctx=2048)


@dataclass(frozen=True)
class Attempt:
    """One damaged input, by its kind and number."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        """How `--only` names it."""
        return f"{self.kind}/{self.number}"


@dataclass(frozen=True)
class Outcome:
    """How the command ended, and what it said last."""

    attempt: Attempt
    end: str
    said: str


@dataclass(frozen=True)
class Bench:
    """The undamaged inputs, the folder for damaged ones, and where those that end badly are kept."""

    folder: Path
    seed: int
    keep: Path | None

    @classmethod
    def prepare(cls, folder: Path, seed: int, keep: Path | None) -> "Bench":
        """Write the undamaged inputs."""
        bench = cls(folder, seed, keep)
        for tokenizer in ("spm", "bpe"):
            write_model(bench.model(tokenizer), tokenizer=tokenizer, shape=SHAPE)
        write_adapter(folder / "adapter.gguf", shape=SHAPE)
        write_peft(folder / "peft", shape=SHAPE)
        build = ("index", "build", str(EXAMPLES / "items.json"), "--out", str(folder / "index"))
        end, said = bench.ends_of([(*build, "--model", str(bench.model("spm")), "--dim", "4", *USUAL)])
        if end == "accepted":
            end, said = bench.ends_of([whole_inputs(folder, Random(0))])
        if end != "accepted":
            raise SystemExit(f"the undamaged index or data cannot be made: {said}")
        return bench

    def model(self, tokenizer: str) -> Path:
        """Return an undamaged model."""
        return self.folder / f"{tokenizer}.gguf"

    def run(self, attempt: Attempt) -> Outcome:
        """Make an input, give it to the command, and throw it away, or keep it."""
        dice = Random(f"{self.seed}/{attempt.name}")
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            end, said = self.ends_of(MAKERS[attempt.kind](self, Path(folder), dice))
            if end not in GOOD and self.keep is not None:
                shutil.copytree(folder, self.keep / f"{self.seed}-{attempt.kind}-{attempt.number}", dirs_exist_ok=True)
        return Outcome(attempt, end, said)

    def ends_of(self, commands: Sequence[tuple[str, ...]]) -> tuple[str, str]:
        """Run commands one after the other, until one does not end well; say how the last one ended."""
        end, said = "accepted", ""
        for command in commands:
            end, said = ends(command, self.folder)
            if end != "accepted":
                break
        return end, said


def ends(command: Sequence[str], folder: Path) -> tuple[str, str]:
    """Run one command; say how it ended, and its last words."""
    environment = {**os.environ, "RELLA_CACHE": str(folder / "cache"), "RELLA_STATE": str(folder / "state")}
    environment.pop("RELLA_MODEL", None)
    with subprocess.Popen(
        [sys.executable, "-m", "rella_cli", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            _, raw = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "hang", ""
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    lines = raw.decode("utf-8", errors="replace").splitlines()
    return end_of(process.returncode, lines), lines[-1] if lines else ""


def end_of(code: int, lines: Sequence[str]) -> str:
    """Name the end of a command by its exit code and what it wrote on stderr."""
    if code < 0 or code >= 128:
        return "signal"
    if any(line.startswith("Traceback") for line in lines):
        return "traceback"
    said = [line for line in lines if not line.startswith(("rella: WARNING", "warning: ", "note: "))]
    if code == 0:
        return "other" if said else "accepted"  # a debugger's words, say
    # A domain's file or a recipe may have several faults, a line each.
    ours = bool(said) and all(line.startswith("rella: ") for line in said)
    refused = ours and (code == 2 or (code == 1 and len(said) == 1))
    return "refused" if refused else "other"


def _score(model: Path, *more: str) -> tuple[str, ...]:
    return ("score", *HISTORY, "--item", str(EXAMPLES / "item.json"), "--model", str(model), *more, *USUAL)


def _model_by_bytes(bench: Bench, folder: Path, dice: Random) -> list[tuple[str, ...]]:
    data = bench.model(dice.choice(("spm", "bpe"))).read_bytes()
    beginning = dice.choice((64, 1000, 13_000, len(data)))  # the magic and counts, the numbers, the header, all
    path = folder / "model.gguf"
    path.write_bytes(damage_bytes(data, dice, 0, beginning))
    return [_score(path)]


def _model_by_values(bench: Bench, folder: Path, dice: Random) -> list[tuple[str, ...]]:
    parts = Parts.of(bench.model(dice.choice(("spm", "bpe"))))
    damage_values(parts, dice)
    path = folder / "model.gguf"
    path.write_bytes(parts.pack())
    return [_score(path)]


def _adapter(bench: Bench, folder: Path, dice: Random) -> list[tuple[str, ...]]:
    source, path = bench.folder / "adapter.gguf", folder / "adapter.gguf"
    if dice.random() < 0.5:
        parts = Parts.of(source)
        damage_values(parts, dice)
        path.write_bytes(parts.pack())
    else:
        path.write_bytes(damage_bytes(source.read_bytes(), dice, 0, dice.choice((600, source.stat().st_size))))
    return [_score(bench.model("spm"), "--lora", str(path))]


def _peft(bench: Bench, folder: Path, dice: Random) -> list[tuple[str, ...]]:
    damaged, out, model = folder / "peft", folder / "out.gguf", bench.model("spm")
    shutil.copytree(bench.folder / "peft", damaged)
    _damage_file(damaged / dice.choice(("adapter_config.json", "adapter_model.safetensors")), dice)
    convert = ("lora", "convert", str(damaged), "--base", str(model), "-o", str(out), "--json")
    return [convert, _score(model, "--lora", str(out))]


def _index(bench: Bench, folder: Path, dice: Random) -> list[tuple[str, ...]]:
    damaged, model = folder / "index", str(bench.model("spm"))
    shutil.copytree(bench.folder / "index", damaged)
    files = sorted(damaged.iterdir())
    first, second = dice.sample(files, 2)
    if dice.random() < 0.2:
        data = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(data)
    else:
        _damage_file(first, dice)
    if dice.random() < 0.5:
        seal_again(damaged)
    usual, given = ("--model", model, *USUAL), ("--index", str(damaged))
    return [
        dice.choice(
            (
                ("rank", *HISTORY, "--items", str(EXAMPLES / "items.json"), *given, *usual),
                ("recommend", *HISTORY, "-n", "2", *given, *usual),
                ("index", "search", str(damaged), "space opera", *usual),
                ("index", "info", str(damaged), "--json"),
            )
        )
    ]


def _damage_file(path: Path, dice: Random) -> None:
    data = path.read_bytes()
    as_json = path.suffix == ".json" and dice.random() < 0.7
    path.write_bytes(damage_json(data, dice) if as_json else damage_bytes(data, dice))


def _data(kind: str, bench: Bench, folder: Path, dice: Random) -> list[tuple[str, ...]]:
    return DATA_MAKERS[kind](bench.folder, folder, dice)


MAKERS: dict[str, Callable[[Bench, Path, Random], list[tuple[str, ...]]]] = {
    "bytes": _model_by_bytes,
    "values": _model_by_values,
    "adapter": _adapter,
    "peft": _peft,
    "index": _index,
    **{kind: partial(_data, kind) for kind in DATA_MAKERS},
}


def attempts(options: argparse.Namespace) -> Iterator[Attempt]:
    """List what to try."""
    if options.only:
        kind, _, number = options.only.partition("/")
        yield Attempt(kind, int(number))
        return
    counts = {
        "bytes": options.models // 2,
        "values": options.models - options.models // 2,
        "adapter": options.adapters - options.adapters // 2,
        "peft": options.adapters // 2,
        "index": options.indexes,
        **{kind: options.data // len(DATA_MAKERS) for kind in DATA_MAKERS},
    }
    for kind, count in counts.items():
        for number in range(count):
            yield Attempt(kind, number)


def report(outcomes: Sequence[Outcome], seed: int) -> bool:
    """Print how all ended, and each bad end; tell whether all were good."""
    counts = Counter((outcome.attempt.kind, outcome.end) for outcome in outcomes)
    print(f"{'':10}" + "".join(f"{end:>11}" for end in ENDS))
    for kind in MAKERS:
        if any((kind, end) in counts for end in ENDS):
            print(f"{kind:10}" + "".join(f"{counts[kind, end]:>11,}" for end in ENDS))
    bad = [outcome for outcome in outcomes if outcome.end not in GOOD]
    for outcome in bad:
        print(f"{outcome.end}: --seed {seed} --only {outcome.attempt.name}: {outcome.said[:300]}")
    return not bad


def main(arguments: list[str] | None = None) -> int:
    """Try all; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000, help="half damaged by bytes, half well-formed")
    parser.add_argument("--adapters", type=int, default=200, help="half GGUFs, half PEFT folders")
    parser.add_argument("--indexes", type=int, default=100)
    parser.add_argument("--data", type=int, default=1000, help="tables, records, domains, recipes, prepared sets alike")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep inputs that end badly")
    parser.add_argument("--only", metavar="KIND/NUMBER", help="try one input again, such as values/17")
    options = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        bench = Bench.prepare(Path(folder), options.seed, options.keep)
        outcomes = list(pool.map(partial(Bench.run, bench), attempts(options)))
    return 0 if report(outcomes, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
