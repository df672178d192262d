"""Tune a LoRA adapter on rows that `rella export reit … --format text` wrote (ReiT, ReLLa §3.3), with PEFT.

    pip install -e '.[train]'
    rella export reit ml-1m --index ml-1m.index --shots 800 -k 5 --format text --model model.gguf -o train.jsonl
    python examples/train_lora.py train.jsonl --base model.gguf -o adapter/
    rella lora convert adapter/ --base model.gguf -o adapter.gguf

The base is a GGUF, dequantised by transformers, or a Hugging Face folder. The loss is the cross entropy of the answer's
token alone. The adapter kept is the one with the best AUC on the validation rows; the test split is never read. Killed,
the same command goes on from the last check.
"""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForCausalLM, AutoTokenizer

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
Rows = list[tuple[list[int], int]]  # the prompt's tokens, and 1 for the positive answer


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The docstring as it stands, and each option's default."""


def options() -> argparse.Namespace:
    """Read the command line; the defaults are the paper's, the batch and the learning rate aside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("rows", type=Path, help="training rows; NAME.valid.jsonl and NAME.manifest.json beside them")
    parser.add_argument("--base", type=Path, required=True, help="a GGUF, or a Hugging Face folder")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the PEFT adapter")
    parser.add_argument("--rank", type=int, default=8, help="of the matrices")
    parser.add_argument("--alpha", type=int, default=16, help="the adapter is scaled by alpha / rank")
    parser.add_argument("--dropout", type=float, default=0.05, help="0 takes half the time on a CPU")
    parser.add_argument("--targets", nargs="+", default=["q_proj", "v_proj"], help="module names, or all-linear")
    parser.add_argument("--epochs", type=int, default=5, help="times through the rows")
    parser.add_argument("--check", type=int, help="rows between two checks on the validation rows; else an epoch's")
    parser.add_argument("--batch", type=int, default=16, help="rows a step")
    parser.add_argument("--lr", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of the base")
    parser.add_argument("--seed", type=int, default=0, help="of the order and the first matrices")
    return parser.parse_args()


def load_base(path: Path, dtype: str) -> tuple[Any, Any]:
    """Load the model, on a GPU if there is one, and its tokenizer."""
    source, gguf = (path.parent, {"gguf_file": path.name}) if path.suffix == ".gguf" else (path, {})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, dtype), **gguf).to(device)
    return model, AutoTokenizer.from_pretrained(source, **gguf)


def answer_tokens(tokenizer: Any, prompt: str, lead: str, answers: list[str]) -> tuple[list[int], int, int]:
    """Tokenise a prompt with each answer behind it: the tokens before the first difference, and the two that differ."""
    yes, no = (tokenizer(prompt + lead + answer)["input_ids"] for answer in answers)
    first = next(place for place, (a, b) in enumerate(zip(yes, no, strict=False)) if a != b)
    return yes[:first], yes[first], no[first]


def read_rows(path: Path, tokenizer: Any, answers: list[str]) -> tuple[Rows, int, int]:
    """Read rows of the form text: tokens and labels, and the two answers' tokens."""
    rows: Rows = []
    yes = no = -1
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        lead = row["completion"].removesuffix(answers[0 if row["label"] else 1])
        tokens, yes, no = answer_tokens(tokenizer, row["prompt"], lead, answers)
        rows.append((tokens, row["label"]))
    return rows, yes, no


def last_logits(model: Any, batch: Rows) -> Any:
    """Return the logits at each prompt's last position, (batch, vocabulary); shorter prompts are padded on the left."""
    # Few lengths: a CPU's bfloat16 kernels are built anew for every shape, which takes ten times as long as the step.
    longest = -(-max(len(tokens) for tokens, _ in batch) // 64) * 64
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, (tokens, _) in enumerate(batch):
        ids[place, longest - len(tokens) :] = torch.tensor(tokens)
        mask[place, longest - len(tokens) :] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    sent = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    on_device = {name: value.to(model.device) for name, value in sent.items()}
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.dtype == torch.bfloat16):
        logits = model(**on_device, logits_to_keep=1, use_cache=False).logits
    return logits[:, -1].float()


def epoch_batches(rows: Rows, size: int, seed: int) -> Iterator[Rows]:
    """Yield an epoch's batches in random order; prompts of like length go together, which spares padding."""
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=random).tolist()
    pools = [order[start : start + 8 * size] for start in range(0, len(order), 8 * size)]
    for pool in pools:
        pool.sort(key=lambda place: len(rows[place][0]))
        batches = [pool[start : start + size] for start in range(0, len(pool), size)]
        for number in torch.randperm(len(batches), generator=random).tolist():
            yield [rows[place] for place in batches[number]]


@torch.no_grad()
def validation_auc(model: Any, rows: Rows, yes: int, no: int, size: int) -> float:
    """Return the AUC of the logit gap."""
    model.eval()
    ordered = sorted(rows, key=lambda row: len(row[0]))
    gaps: list[float] = []
    for start in range(0, len(ordered), size):
        logits = last_logits(model, ordered[start : start + size])
        gaps += (logits[:, yes] - logits[:, no]).tolist()
    model.train()
    return float(roc_auc_score([label for _, label in ordered], gaps))


def fingerprint(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_adapter(model: Any, given: argparse.Namespace, manifest: dict[str, Any]) -> None:
    """Save the adapter, with the record by which `rella` knows what it was tuned on."""
    model.save_pretrained(given.out, save_embedding_layers=False)
    base: dict[str, str] = {"name": given.base.name}
    if given.base.is_file():
        base["fingerprint"] = fingerprint(given.base)
    (given.out / "rella.json").write_text(json.dumps({**manifest, "base": base}, indent=1), encoding="utf-8")


def learning_rate(highest: float, seen: int, total: int) -> float:
    """Return the rate after so many rows: up to the highest over the first twentieth, then down in a line."""
    share = seen / total
    return highest * min(share / 0.05, max(1 - share, 0.02) / 0.95)


class Progress:
    """How far the training is; in a file from check to check, so that a killed run goes on."""

    def __init__(
        self, given: argparse.Namespace, manifest: dict[str, Any], model: Any, optimizer: Any, worst: float = 0.0
    ) -> None:
        self.path = given.out / "training.pt"
        self.settings = {name: str(value) for name, value in vars(given).items()} | {"rows": manifest["sha256"]}
        self.model, self.optimizer = model, optimizer
        self.seen, self.best = 0, worst
        if self.path.exists():
            self.load()

    def load(self) -> None:
        """Go on from the file."""
        state = torch.load(self.path, weights_only=True)
        if state["settings"] != self.settings:
            raise SystemExit(f"{self.path.parent}: holds a training with other settings; name another folder")
        set_peft_model_state_dict(self.model, state["adapter"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seen, self.best = state["seen"], state["best"]
        print(f"going on after {self.seen:,} rows", flush=True)

    def save(self) -> None:
        """Write the file, in place of the last one."""
        state = {
            "settings": self.settings,
            "seen": self.seen,
            "best": self.best,
            "adapter": get_peft_model_state_dict(self.model, save_embedding_layers=False),
            "optimizer": self.optimizer.state_dict(),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.path.with_suffix(".part"))
        os.replace(self.path.with_suffix(".part"), self.path)


def main() -> None:
    """Train; check on the validation rows now and then; keep the best."""
    given = options()
    manifest = json.loads(given.rows.with_name(f"{given.rows.stem}.manifest.json").read_text(encoding="utf-8"))
    checked = given.rows.with_name(f"{given.rows.stem}.valid.jsonl")
    if manifest["form"] != "text":
        raise SystemExit(f"{given.rows}: holds rows of the form {manifest['form']}; export them with --format text")
    if manifest["answers"] is None:
        raise SystemExit(f"{given.rows}: holds rows that no yes or no answers; train_soft_prompt.py reads them")
    if not checked.is_file():
        raise SystemExit(f"{checked}: no such file; export validation rows too: one cannot choose an epoch without")
    torch.manual_seed(given.seed)
    base, tokenizer = load_base(given.base, given.dtype)
    train, yes, no = read_rows(given.rows, tokenizer, manifest["answers"])
    valid, *_ = read_rows(checked, tokenizer, manifest["answers"])
    config = LoraConfig(
        r=given.rank,
        lora_alpha=given.alpha,
        lora_dropout=given.dropout,
        target_modules=ALL_LINEAR if given.targets == ["all-linear"] else given.targets,
        task_type="CAUSAL_LM",
        base_model_name_or_path=str(given.base),
    )
    model = get_peft_model(base, config)
    model.peft_config["default"].base_model_name_or_path = str(given.base)  # PEFT puts the GGUF's folder in its place
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], weight_decay=0.0)
    progress = Progress(given, manifest, model, optimizer)

    total, every = given.epochs * len(train), given.check or len(train)
    seen, losses, start, begun = 0, [], time.monotonic(), progress.seen
    for epoch in range(given.epochs):
        for batch in epoch_batches(train, given.batch, given.seed + epoch):
            seen += len(batch)
            if seen <= begun:
                continue
            optimizer.param_groups[0]["lr"] = learning_rate(given.lr, seen, total)
            wanted = torch.tensor([yes if label else no for _, label in batch], device=model.device)
            loss = torch.nn.functional.cross_entropy(last_logits(model, batch), wanted)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            if seen // every == progress.seen // every and seen < total:
                continue
            auc, rate = validation_auc(model, valid, yes, no, given.batch), (seen - begun) / (time.monotonic() - start)
            told = f"{seen:,} of {total:,} rows, loss {sum(losses) / len(losses):.4f}, validation AUC {auc:.4f}"
            print(f"{told}, {rate:.2f} rows/s{', kept' if auc > progress.best else ''}", flush=True)
            losses.clear()
            if auc > progress.best:
                progress.best = auc
                save_adapter(model, given, manifest)
            progress.seen = seen
            progress.save()
    print(f"best validation AUC {progress.best:.4f}: {given.out}")


if __name__ == "__main__":
    main()
