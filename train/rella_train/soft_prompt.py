"""Tune a soft prompt, then a LoRA adapter behind it, on rows of `rella export delrec … --format text` (DELRec).

    pip install -e '.[train]'
    rella export delrec ml-1m --ranking sasrec/ --rows 500 --format text --model model.gguf -o rows/
    python -m rella_train.soft_prompt stage1 rows/ --base model.gguf -o soft/
    python -m rella_train.soft_prompt stage2 rows/ --base model.gguf --soft soft/ -o adapter/
    rella lora convert adapter/ --base model.gguf -o adapter.gguf

Stage 1 (arXiv 2406.11156): the model is frozen; a block of input embeddings before its first token learns what came
between two items (temporal analysis) and what a sequential recommender puts first (pattern simulating). Stage 2: the
block is frozen; LoRA learns what comes next. Without --soft, stage 2 is plain LoRA, to compare with. The loss is the
cross entropy of the answer, summed over its tokens. What is kept is the state with the least loss on the validation
rows; the test items are in no row. Killed, the same command goes on from the last check.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PromptTuningConfig, get_peft_model
from safetensors.torch import load_file

from rella_train.model import answers_only, load_base, with_lora
from rella_train.progress import Help, Progress, fingerprint, learning_rate, run, save_adapter, try_folder

INITIAL = "Choose the item that comes next after what the person chose before, as a recommender would:"
WEIGHTS = "adapter_model.safetensors"
Rows = list[tuple[list[int], int]]  # a row's tokens, and the place where its answer begins


class Part(NamedTuple):
    """Rows of one task: tokens, and the place where the answer begins; and the task's share of the loss."""

    task: str
    train: Rows
    valid: Rows
    weight: float


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    stages = parser.add_subparsers(dest="stage", required=True)
    first = stages.add_parser("stage1", help="a soft prompt, the model frozen", formatter_class=Help)
    second = stages.add_parser("stage2", help="LoRA, the soft prompt frozen", formatter_class=Help)
    for stage, lr, epochs in ((first, 0.03, 2), (second, 1e-3, 2)):
        stage.add_argument("rows", type=Path, help="folder of rows, of validation rows and of manifests")
        stage.add_argument("--base", type=Path, required=True, help="a GGUF, or a Hugging Face folder")
        stage.add_argument("-o", "--out", type=Path, required=True, help="folder for what PEFT saves")
        stage.add_argument("--epochs", type=int, default=epochs, help="times through the rows")
        stage.add_argument("--check", type=int, help="rows between two checks on the validation rows; else an epoch's")
        stage.add_argument("--batch", type=int, default=8, help="rows of each task a step")
        stage.add_argument("--lr", type=float, default=lr, help="highest learning rate")
        stage.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of the base")
        stage.add_argument("--seed", type=int, default=0, help="of the order and the first numbers")
    first.add_argument("--tokens", type=int, default=20, help="length of the soft prompt")
    first.add_argument("--temporal-weight", type=float, default=0.5, help="temporal analysis's share of the loss")
    first.add_argument(
        "--init", choices=("text", "random"), default="text", help="first numbers: of a sentence, or of any tokens"
    )
    second.add_argument("--soft", type=Path, help="what stage 1 saved; else no soft prompt")
    second.add_argument("--rank", type=int, default=8, help="of the matrices")
    second.add_argument("--alpha", type=int, default=16, help="the adapter is scaled by alpha / rank")
    second.add_argument("--dropout", type=float, default=0.0, help="0 takes half the time on a CPU")
    second.add_argument("--targets", nargs="+", default=["all-linear"], help="module names, or all-linear")
    return parser.parse_args()


def read_manifest(folder: Path, task: str) -> dict[str, Any]:
    """Read what a task's rows come from."""
    path = folder / f"{task}.manifest.json"
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; rella export delrec writes it")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if manifest["form"] != "text":
        raise SystemExit(f"{folder}: holds rows of the form {manifest['form']}; export them with --format text")
    return manifest


def read_part(folder: Path, task: str, weight: float, tokenizer: Any) -> Part:
    """Read the rows of a task."""
    found: list[Rows] = []
    for path in (folder / f"{task}.jsonl", folder / f"{task}.valid.jsonl"):
        if not path.is_file():
            raise SystemExit(f"{path}: no such file; export validation rows too: one cannot choose a state without")
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        found.append([split_tokens(tokenizer, row["prompt"], row["completion"]) for row in rows])
    return Part(task, *found, weight)


def split_tokens(tokenizer: Any, prompt: str, completion: str) -> tuple[list[int], int]:
    """Tokenise a prompt and its completion as one text; say where the completion's tokens begin."""
    whole, before = (tokenizer(text)["input_ids"] for text in (prompt + completion, prompt))
    pairs = enumerate(zip(whole, before, strict=False))
    return whole, next((place for place, (a, b) in pairs if a != b), min(len(whole), len(before)))


def padded(number: int, to: int) -> int:
    """Round up. Few shapes: a CPU's bfloat16 kernels are built anew for every one, which takes longer than a step."""
    return -(-number // to) * to


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


def answer_losses(model: Any, block: Any, batch: Rows) -> tuple[Any, Any]:
    """Return each row's cross entropy, summed over its answer's tokens, and whether the model's choice is that answer.

    `block`, of shape (tokens, width), stands right before each row's first token, BOS included, and has the positions
    from 0 on; shorter rows are padded on the left of it.
    """
    size = len(block)
    longest = padded(size + max(len(tokens) for tokens, _ in batch), 64)
    width = padded(max(len(tokens) - start for tokens, start in batch), 8)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask, answer = torch.zeros_like(ids), torch.zeros(len(batch), width, dtype=torch.bool)
    for place, (tokens, start) in enumerate(batch):
        ids[place, longest - len(tokens) :] = torch.tensor(tokens)
        mask[place, longest - len(tokens) - size :] = 1
        answer[place, width - (len(tokens) - start) :] = True
    ids, mask, answer = (each.to(model.device) for each in (ids, mask, answer))
    words = model.get_input_embeddings()(ids)
    block = block.to(words.dtype)
    starts = [longest - len(tokens) for tokens, _ in batch]
    rows = [torch.cat([row[: start - size], block, row[start:]]) for row, start in zip(words, starts, strict=True)]
    sent = {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    wanted = ids[:, -width:][answer]
    before = torch.nn.functional.pad(answer, (longest - width - 1, 1)).flatten().nonzero().flatten()
    with (
        answers_only(model, before),
        torch.autocast(model.device.type, torch.bfloat16, enabled=model.dtype == torch.bfloat16),
    ):
        logits = model(inputs_embeds=torch.stack(rows), **sent, use_cache=False).logits
    row = answer.nonzero()[:, 0]
    losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    wrong = torch.zeros(len(batch), device=losses.device).index_add(0, row, (logits.argmax(1) != wanted).float())
    return torch.zeros_like(wrong).index_add(0, row, losses), wrong == 0


@torch.no_grad()
def validate(model: Any, block: Any, parts: list[Part], size: int) -> tuple[float, str]:
    """Return the loss on the validation rows, and in words each task's: and the share of answers that are right."""
    model.eval()
    total, told = 0.0, []
    for part in parts:
        ordered = sorted(part.valid, key=lambda row: len(row[0]))
        batches = [answer_losses(model, block, ordered[at : at + size]) for at in range(0, len(ordered), size)]
        loss, right = (torch.cat(found).float().mean().item() for found in zip(*batches, strict=True))
        total += part.weight * loss
        told.append(f"{part.task} {loss:.4f}, {right:.1%} right")
    model.train()
    return total, "; ".join(told)


def train(
    given: argparse.Namespace, record: dict[str, Any], model: Any, base: Any, block: Any, parts: list[Part]
) -> None:
    """Train what `model` adds to `base`; check on the validation rows now and then; keep the best."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], weight_decay=0.0)
    progress = Progress(given, record["sha256"], model, optimizer, -math.inf)
    rows = len(parts[0].train)
    total, every = given.epochs * rows, given.check or rows
    seen, losses, spent, begun = 0, [], 0.0, progress.seen
    if begun:
        print(f"going on after {begun:,} rows", flush=True)
    else:
        print(f"before: {validate(base, block, parts, given.batch)[1]}", flush=True)
    for epoch in range(given.epochs):
        tasks = (epoch_batches(part.train, given.batch, given.seed + epoch) for part in parts)
        for batches in zip(*tasks, strict=True):
            seen += len(batches[0])
            if seen <= begun:
                continue
            optimizer.param_groups[0]["lr"] = learning_rate(given.lr, seen - len(batches[0]) / 2, total)
            start = time.monotonic()
            losses.append(0.0)
            for part, batch in zip(parts, batches, strict=True):
                loss = part.weight * answer_losses(base, block, batch)[0].mean()
                loss.backward()
                losses[-1] += loss.item()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            spent += time.monotonic() - start
            if seen // every == progress.seen // every and seen < total:
                continue
            rate = (seen - begun) / spent
            loss, told = validate(base, block, parts, given.batch)
            kept = ", kept" if -loss > progress.best else ""
            mean = sum(losses) / len(losses)
            print(f"{seen:,} of {total:,} rows ({rate:.2f}/s), loss {mean:.4f}; validation {told}{kept}", flush=True)
            losses.clear()
            if kept:
                progress.best = -loss
                save_adapter(model, given.out, given.base, record)
            progress.seen = seen
            progress.save()
    print(f"least validation loss {-progress.best:.4f}: {given.out}")


def first_embeddings(given: argparse.Namespace, tokenizer: Any, words: Any) -> Any:
    """Return what the soft prompt begins with: the embeddings of a text's tokens, or of any."""
    if given.init == "text":
        tokens = tokenizer(INITIAL, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([tokens[place % len(tokens)] for place in range(given.tokens)])
    else:
        ids = torch.randint(len(tokenizer), (given.tokens,), generator=torch.Generator().manual_seed(given.seed))
    return words(ids.to(words.weight.device)).detach().float()


def stage1(given: argparse.Namespace) -> None:
    """Train the soft prompt."""
    shares = {"temporal": given.temporal_weight, "simulating": 1 - given.temporal_weight}
    if not 0 <= given.temporal_weight <= 1:
        raise SystemExit(f"the weight of temporal analysis is {given.temporal_weight:g}; give one between 0 and 1")
    manifests = {task: read_manifest(given.rows, task) for task, share in shares.items() if share}
    *others, last = manifests.values()
    for other in others:
        if any(other[key] != last[key] for key in ("data", "domain", "chat_format", "model")):
            raise SystemExit(f"{given.rows}: its tasks are of other data, words or models; export them together")
    base, tokenizer = load_base(given.base, given.dtype)
    parts = [read_part(given.rows, task, shares[task], tokenizer) for task in manifests]
    if len({len(part.train) for part in parts}) > 1:
        raise SystemExit(f"{given.rows}: its tasks differ in rows; export them together")
    words = base.get_input_embeddings()
    config = PromptTuningConfig(num_virtual_tokens=given.tokens, token_dim=words.embedding_dim, task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    model.peft_config["default"].base_model_name_or_path = str(given.base)  # PEFT puts the GGUF's folder in its place
    block = model.prompt_encoder["default"].embedding.weight
    block.data.copy_(first_embeddings(given, tokenizer, words))
    rows = {task: manifest["sha256"] for task, manifest in manifests.items()}
    record = {**last, "task": list(manifests), "rows": rows, "sha256": sha256(json.dumps(rows).encode()).hexdigest()}
    train(given, record, model, base, block, parts)


def stage2(given: argparse.Namespace) -> None:
    """Train LoRA behind the soft prompt."""
    manifest = read_manifest(given.rows, "next")
    base, tokenizer = load_base(given.base, given.dtype)
    block, soft = torch.zeros(0, base.get_input_embeddings().embedding_dim, device=base.device), None
    if given.soft is not None:
        block, soft = read_soft(given, manifest, base)
    parts = [read_part(given.rows, "next", 1.0, tokenizer)]
    model = with_lora(base, given, str(given.base))
    rows = sha256(json.dumps([manifest["sha256"], soft]).encode()).hexdigest()  # another soft prompt is another run
    train(given, {**manifest, "soft_prompt": soft, "sha256": rows}, model, base, block, parts)


def read_soft(given: argparse.Namespace, manifest: dict[str, Any], base: Any) -> tuple[Any, dict[str, Any]]:
    """Read the soft prompt, and refuse one of another model or wording; say what it is."""
    path, record = given.soft / WEIGHTS, given.soft / "rella.json"
    for file in (path, record):
        if not file.is_file():
            raise SystemExit(f"{file}: no such file; stage1 writes it")
    made = json.loads(record.read_text(encoding="utf-8"))
    same = made["base"].get("fingerprint") == (fingerprint(given.base) if given.base.is_file() else None)
    if not same or any(made[key] != manifest[key] for key in ("domain", "chat_format")):
        raise SystemExit(f"{given.soft}: was trained with another model, wording or chat format")
    block = load_file(path)["prompt_embeddings"].to(base.device)
    numbers = block.float().cpu().numpy().astype("<f4").tobytes()
    return block, {"tokens": len(block), "fingerprint": sha256(numbers).hexdigest()}


def main() -> None:
    """Run a stage."""
    given = options()
    try_folder(given.out)
    torch.manual_seed(given.seed)
    {"stage1": stage1, "stage2": stage2}[given.stage](given)


if __name__ == "__main__":
    run(main)
