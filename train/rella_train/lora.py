"""Tune a LoRA adapter on rows that `rella export stream`, `reit` or `trsr` wrote with `--format text`, with PEFT.

    pip install -e '.[train]'
    rella export stream ml-1m --format text --model model.gguf -o train.jsonl
    python -m rella_train.lora train.jsonl --base model.gguf --minutes 12 -o adapter/
    rella lora convert adapter/ --base model.gguf -o adapter.gguf

The base is a GGUF, dequantised by transformers, or a Hugging Face folder. The loss is the mean cross entropy of the
answers' tokens, all answers of a sequence in one forward pass, their logits in float32. The untuned model is checked
first. The adapter kept is the one that did best on the validation rows, by LogLoss for a stream, by AUC for yes and no;
the last one is beside it in last/; the test split is never read. Killed, the same command goes on from the last
checkpoint and comes to the same bytes. Defaults of some options depend on the rows' layout.
"""

import argparse
import itertools
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from rella_train.files import read_manifest
from rella_train.llama import LlamaLearner, learns
from rella_train.model import Learner, load_model, load_tokenizer, validate, with_lora
from rella_train.progress import Parser, Progress, learning_rate, run, save_adapter, try_folder
from rella_train.rows import Batch, Order, RowReader, sorted_batches

DEFAULTS: dict[str, dict[str, Any]] = {
    "stream": {
        "rank": 16, "alpha": 32, "dropout": 0.0, "targets": ["all-linear"], "epochs": 1, "batch": 8, "lr": 1.5e-3,
    },
    "question": {
        "rank": 8, "alpha": 16, "dropout": 0.05, "targets": ["q_proj", "v_proj"], "epochs": 5, "batch": 16, "lr": 1e-3,
    },
}  # fmt: skip
HIGHEST = {  # of numbers that are more than 0; a seed may be 0
    "rank": 4096, "alpha": 10**6, "epochs": 10**6, "tokens": 10**12, "minutes": 10**6, "check": 10**12, "batch": 10**6,
    "lr": 100, "seed": 10**12,
}  # fmt: skip
SAID, SAVED = 20, 60  # seconds between two lines of progress, and between two checkpoints


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add(name: str, kind: Any, text: str, **more: Any) -> None:
        known = [str(DEFAULTS[layout].get(name[2:])) for layout in ("stream", "question")]
        text += f" (stream {known[0]}, question {known[1]})" if known[0] != "None" else ""
        parser.add_argument(name, type=kind, help=text, **more)

    add("rows", Path, "training rows; NAME.valid.jsonl and NAME.manifest.json beside them")
    parser.add_argument("--base", type=Path, required=True, help="a GGUF, or a Hugging Face folder")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the PEFT adapter")
    add("--rank", int, "of the matrices")
    add("--alpha", int, "the adapter is scaled by alpha / rank")
    add("--dropout", float, "0 takes half the time on a CPU")
    add("--targets", str, "module names, or all-linear", nargs="+")
    add("--layers", int, "adapt only the layers from this one on: the backward pass ends there", default=0)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, help="times through the rows (stream 1, question 5)")
    length.add_argument("--tokens", type=int, help="train on so many tokens")
    length.add_argument("--minutes", type=float, help="as many tokens as take so long; checks come on top")
    add("--check", int, "tokens between two checks; else an epoch, an eighth of one, or more where checks are long")
    add("--batch", int, "rows a step; four times as many on a GPU")
    add("--lr", float, "highest learning rate")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of the base [bfloat16]")
    add("--seed", int, "of the order and the first matrices [0]", default=0)
    parser.add_argument("--plain", action="store_true", help="transformers' own passes, where there are quicker ones")
    parser.add_argument("--valid-only", action="store_true", help="check the untuned base, and stop")
    return parser.parse_args()


def complete(given: argparse.Namespace, manifest: dict[str, Any]) -> None:
    """Fill in the defaults of the rows' layout."""
    known = DEFAULTS["stream" if manifest.get("layout") == "stream" else "question"]
    if given.tokens is not None or given.minutes is not None:
        known = {**known, "epochs": None}
    if torch.cuda.is_available():
        known = {**known, "batch": 4 * known["batch"]}
    for name, value in known.items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    for name, highest in HIGHEST.items():
        value, zero = getattr(given, name), name == "seed"
        if value is not None and not (0 < value <= highest or zero and value == 0):  # nan is neither
            wanted = f"0 to {highest}" if zero else f"more than 0, and at most {highest}"
            raise SystemExit(f"--{name} is {value}; give {wanted}")
    if not 0 <= given.dropout < 1:
        raise SystemExit(f"--dropout is {given.dropout}; give 0 or more, and less than 1")


class Course(NamedTuple):
    """How long a training is, and how often it is checked, in tokens."""

    total: int
    every: int


def tokens_a_second(learner: Learner, order: Order) -> float:
    """Measure a few steps that change nothing, each batch once before to build the kernels of its shape."""
    seen, spent = 0, 0.0
    for batch in itertools.islice(order.batches(), 2):
        for timed in (False, True):
            start = time.monotonic()
            learner.add_gradients(batch)
            learner.model.zero_grad()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if timed:
                seen, spent = seen + batch.tokens, spent + time.monotonic() - start
    return seen / spent


def course(given: argparse.Namespace, learner: Learner, order: Order, progress: Progress, checked: int) -> Course:
    """Say how long to train: measured where minutes are given, once, and kept in the checkpoint."""
    if given.tokens is not None:
        total = given.tokens
    elif given.minutes is None:
        total = math.ceil(given.epochs * order.total())
    else:
        if "tokens" not in progress.facts:
            rate = tokens_a_second(learner, order)
            progress.facts["tokens"] = max(1, round(60 * given.minutes * rate))
            progress.save()
            print(f"{rate:.0f} tokens/s: {given.minutes:g} minutes are {progress.facts['tokens']:,} tokens", flush=True)
        total = progress.facts["tokens"]
    parts = given.epochs if given.epochs is not None and given.epochs > 1 else 8
    return Course(total, given.check or max(math.ceil(total / parts), 2 * checked))


class Trainer:
    """Trains a model; tells how far it is; checks it now and then, and keeps the best and the last."""

    def __init__(self, given: argparse.Namespace, manifest: dict[str, Any]) -> None:
        self.given, self.manifest = given, manifest
        self.stream = manifest.get("layout") == "stream"
        beside = given.rows.with_name(f"{given.rows.stem}.valid.jsonl")
        if not beside.is_file():
            raise SystemExit(f"{beside}: no such file; export validation rows too: one cannot choose an epoch without")
        tokenizer = load_tokenizer(given.base)
        self.valid = list(RowReader(beside, manifest, tokenizer))
        self.order = Order(RowReader(given.rows, manifest, tokenizer), given.batch, given.seed)
        answers = self.order.reader.answers
        if len({answers.liked[answer] for row in self.valid for answer in row.answers}) < 2:
            raise SystemExit(f"{beside}: its answers are all liked, or none is; export more validation rows")
        torch.manual_seed(given.seed)
        self.model = with_lora(load_model(given.base, given.dtype), given, str(given.base))
        quick = not given.plain and learns(self.model, given.dropout)
        self.learner = LlamaLearner(self.model, answers) if quick else Learner(self.model, answers)
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, weight_decay=0.0, fused=True)
        rows = {name: value for name, value in manifest.items() if name not in ("versions", "sha256")}
        self.progress = Progress(given, rows, self.model, self.optimizer, math.inf, fresh=given.valid_only)
        self.losses: list[float] = []

    def check(self) -> tuple[float, str]:
        """Check the model on the validation rows: what is to be least, and all figures in words."""
        start = time.monotonic()
        auc, loss = validate(self.learner, sorted_batches(self.valid, self.given.batch, self.learner.answers))
        said = f"validation AUC {auc:.4f}, LogLoss {loss:.4f} ({time.monotonic() - start:.0f} s)"
        return (loss if self.stream else -auc), said

    def run(self) -> None:
        """Train to the end, from wherever a killed run was."""
        answers, begun = sum(len(row.places) for row in self.valid), self.progress.seen
        checked = sum(len(row.tokens) for row in self.valid)
        if not begun:
            print(
                f"checking {answers:,} answers in {checked:,} tokens; fewer take less time (export --valid)", flush=True
            )
            print(f"untuned, {answers:,} answers: {self.check()[1]}", flush=True)
        if self.given.valid_only:
            return
        self.course = course(self.given, self.learner, self.order, self.progress, checked)
        if begun:
            print(f"going on after {begun:,} of {self.course.total:,} tokens", flush=True)
        self.steps(begun)
        figure = f"LogLoss {self.progress.best:.4f}" if self.stream else f"AUC {-self.progress.best:.4f}"
        print(f"best validation {figure}: {self.given.out}; the last adapter: {self.given.out / 'last'}")

    def steps(self, begun: int) -> None:
        """Make the steps that are left."""
        seen, total, since = 0, self.course.total, begun
        spent, told, saved = 0.0, time.monotonic(), time.monotonic()
        for number, batch in enumerate(self.order.batches()):
            before, seen = seen, seen + batch.tokens
            if before >= total:
                return
            if seen <= begun:
                continue
            start = time.monotonic()
            self.step(number, batch, learning_rate(self.given.lr, (before + min(seen, total)) / 2, total))
            self.progress.seen = seen
            spent += time.monotonic() - start
            due = before // self.course.every != seen // self.course.every or seen >= total
            if due or time.monotonic() - told > SAID:
                self.tell(seen, (seen - since) / spent)
                told = time.monotonic()
            if due:
                self.keep()
            if due or time.monotonic() - saved > SAVED:
                self.progress.save()
                saved = time.monotonic()

    def step(self, number: int, batch: Batch, rate: float) -> None:
        """Make one step; its dropout depends on its number alone."""
        if self.given.dropout:
            torch.manual_seed(1000003 * (self.given.seed + 1) + number)
        self.optimizer.param_groups[0]["lr"] = rate
        loss = self.learner.add_gradients(batch)
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.losses.append(loss)

    def tell(self, seen: int, rate: float) -> None:
        """Print how far the training is."""
        left = max(0, self.course.total - seen) / rate / 60
        mean = sum(self.losses) / len(self.losses)
        self.losses.clear()
        print(
            f"{seen:,} of {self.course.total:,} tokens, loss {mean:.4f}, {rate:.0f} tokens/s, {left:.1f} min left",
            flush=True,
        )

    def keep(self) -> None:
        """Check the model; keep it as the last, and as the best if it is."""
        figure, said = self.check()
        best = figure < self.progress.best
        print(f"{self.progress.seen:,} tokens: {said}{', kept' if best else ''}", flush=True)
        save_adapter(self.model, self.given.out / "last", self.given.base, self.manifest)
        if best:
            self.progress.best = figure
            save_adapter(self.model, self.given.out, self.given.base, self.manifest)


def main() -> None:
    """Train; check on the validation rows now and then; keep the best."""
    given = options()
    manifest = read_manifest(given.rows)
    complete(given, manifest)
    if not given.valid_only:
        for folder in (given.out, given.out / "last"):
            try_folder(folder)
    Trainer(given, manifest).run()


if __name__ == "__main__":
    run(main)
