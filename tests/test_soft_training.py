"""The example that trains a soft prompt, on a tiny model: what it feeds, what it saves, and going on after a kill."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judges import MOVIES
from ranking_files import write_rankings
from safetensors.numpy import load_file

from rella_cpp import DELREC_TASKS, Cache, DataSet, DelrecExamples, DelrecSettings, Rella, export_row_sets
from rella_gguf import convert_adapter

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore")]  # the warnings of torch and transformers

ROOT = Path(__file__).parent.parent
TOKENS = 5


@pytest.fixture(scope="module")
def example() -> Any:
    pytest.importorskip("peft")
    pytest.importorskip("torch").set_num_threads(1)  # a tiny model's threads wait for each other
    return importlib.import_module("rella_train.soft_prompt")


@pytest.fixture(scope="module")
def rows(sparse_data: DataSet, roomy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    places = [(user, position) for user in range(150) for position in range(14)]
    lists = write_rankings(folder / "ranking", sparse_data, places, depth=40)
    settings = DelrecSettings(rows=12, k=2, candidates=3)
    sources: dict[str, DelrecExamples] = {
        task: DelrecExamples(sparse_data, MOVIES, task, settings, lists) for task in DELREC_TASKS
    }
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as judge:
        export_row_sets(sources, folder / "rows", form="text", valid=4, judge=judge)
    return folder / "rows"


def run(example: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["rella_train.soft_prompt", *map(str, arguments)])
    example.main()


def losses_said(text: str, task: str) -> list[float]:
    """The validation losses of a task, in the order printed."""
    return [float(line.split(f"{task} ")[1].split(",")[0]) for line in text.splitlines() if f"{task} " in line]


def loaded(example: Any, model: Path, rows: Path) -> tuple[Any, Any, Any]:
    torch = pytest.importorskip("torch")
    base, tokenizer = example.load_base(model, "float32")
    part = example.read_part(rows, "next", 1.0, tokenizer)
    return base, part, torch.randn(TOKENS, base.get_input_embeddings().embedding_dim, generator=torch.Generator())


def test_a_padded_batch_gives_what_its_rows_give_alone_and_what_peft_gives(
    example: Any, roomy_model: Path, rows: Path
) -> None:
    """Alone, a row needs no mask and no positions: PEFT's own forward pass is compared with it."""
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    base, part, block = loaded(example, roomy_model, rows)
    batch = [*part.train[:3], (part.train[3][0][200:], part.train[3][1] - 200)]
    lengths = [len(tokens) for tokens, _ in batch]
    assert len(set(lengths)) > 2 and max(lengths) - min(lengths) > 128  # more padding than rounding up brings
    with torch.no_grad():
        together, _ = example.answer_losses(base, block, batch)
        alone = torch.cat([example.answer_losses(base, block, [row])[0] for row in batch])
        plain, _ = example.answer_losses(base, block[:0], batch)
        config = peft.PromptTuningConfig(num_virtual_tokens=TOKENS, token_dim=block.shape[1], task_type="CAUSAL_LM")
        model = peft.get_peft_model(base, config).eval()
        model.prompt_encoder["default"].embedding.weight.data.copy_(block)
        expected: list[Any] = []
        without: list[Any] = []
        for tokens, start in batch:
            ids = torch.tensor([tokens])
            for found, logits in ((expected, model(input_ids=ids).logits), (without, base(input_ids=ids).logits)):
                before = logits[0, -1 - len(tokens) + start : -1]
                found.append(torch.nn.functional.cross_entropy(before, ids[0, start:], reduction="sum"))
    assert (together - alone).abs().max() < 1e-4
    assert (together - torch.stack(expected)).abs().max() < 1e-4
    assert (plain - torch.stack(without)).abs().max() < 1e-4
    assert (together - plain).abs().min() > 1e-2  # so that the block is seen to matter


def test_an_answer_is_the_tokens_behind_the_prompt(example: Any, roomy_model: Path, rows: Path) -> None:
    _, tokenizer = example.load_base(roomy_model, "float32")
    for line in (rows / "next.jsonl").read_text().splitlines():
        row = json.loads(line)
        tokens, start = example.split_tokens(tokenizer, row["prompt"], row["completion"])
        assert tokenizer.decode(tokens[start:]).strip() == row["completion"].strip()
        assert 0 < len(tokens) - start < 60 and tokens[0] == tokenizer.bos_token_id != tokens[1]


def test_both_stages_learn_and_what_they_save_converts(
    example: Any,
    roomy_model: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = (rows, "--base", roomy_model, "--dtype", "float32", "--epochs", 4, "--batch", 2)
    run(example, monkeypatch, "stage1", *common, "--tokens", TOKENS, "--lr", 0.3, "-o", tmp_path / "soft")
    said = capsys.readouterr().out
    for task in ("temporal", "simulating"):
        losses = losses_said(said, task)
        # Rows that are not trained on, and lower every time: one in 120 by chance, for either task.
        assert len(losses) == 5 and losses == sorted(losses, reverse=True)
    block = load_file(tmp_path / "soft/adapter_model.safetensors")["prompt_embeddings"]
    assert block.shape == (TOKENS, 16) and block.dtype == np.float32
    config = json.loads((tmp_path / "soft/adapter_config.json").read_text())
    assert (config["peft_type"], config["num_virtual_tokens"]) == ("PROMPT_TUNING", TOKENS)
    record = json.loads((tmp_path / "soft/rella.json").read_text())
    assert record["domain"]["fingerprint"] == MOVIES.fingerprint and record["task"] == ["temporal", "simulating"]
    assert record["base"]["name"] == "roomy.gguf" and record["chat_format"] == "the model's own"

    run(example, monkeypatch, "stage2", *common, "--soft", tmp_path / "soft", "-o", tmp_path / "adapter")
    losses = losses_said(capsys.readouterr().out, "next")
    assert len(losses) == 5 and losses == sorted(losses, reverse=True)
    record = json.loads((tmp_path / "adapter/rella.json").read_text())
    assert record["soft_prompt"]["tokens"] == TOKENS and len(record["soft_prompt"]["fingerprint"]) == 64
    done = convert_adapter(tmp_path / "adapter", tmp_path / "adapter.gguf", base=roomy_model)
    assert done.pairs == 14  # seven matrices in each of two layers, and nothing of the soft prompt
    # Trained anew into the same folder, it is another soft prompt: what was tuned behind the first one does not go on.
    run(example, monkeypatch, "stage1", *common, "--tokens", TOKENS, "--epochs", 1, "-o", tmp_path / "other")
    (tmp_path / "other/adapter_model.safetensors").replace(tmp_path / "soft/adapter_model.safetensors")
    with pytest.raises(SystemExit, match="other settings"):
        run(example, monkeypatch, "stage2", *common, "--soft", tmp_path / "soft", "-o", tmp_path / "adapter")
    run(example, monkeypatch, "stage2", *common, "-o", tmp_path / "plain", "--epochs", 1)
    assert json.loads((tmp_path / "plain/rella.json").read_text())["soft_prompt"] is None


def test_a_killed_training_goes_on_to_the_same_end(
    example: Any, roomy_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("--base", roomy_model, "--dtype", "float32", "--epochs", 3, "--batch", 4, "--tokens", TOKENS)
    out = tmp_path / "whole"
    run(example, monkeypatch, "stage1", rows, *common, "-o", out)
    whole = load_file(out / "adapter_model.safetensors")["prompt_embeddings"]
    (out / "training.pt").unlink()

    def killed(progress: Any) -> None:
        saved(progress)
        raise KeyboardInterrupt

    saved = example.Progress.save
    monkeypatch.setattr(example.Progress, "save", killed)
    for _ in range(2):  # after each of the first two epochs
        with pytest.raises(KeyboardInterrupt):
            run(example, monkeypatch, "stage1", rows, *common, "-o", out)
    monkeypatch.setattr(example.Progress, "save", saved)
    run(example, monkeypatch, "stage1", rows, *common, "-o", out)
    found = load_file(out / "adapter_model.safetensors")["prompt_embeddings"]
    assert np.array_equal(found, whole)
    with pytest.raises(SystemExit, match="other settings"):
        run(example, monkeypatch, "stage1", rows, *common, "-o", out, "--lr", 0.5)


@pytest.mark.parametrize(
    ("stage", "more", "said"),
    [
        ("stage1", ("--temporal-weight", 2), "give one between 0 and 1"),
        ("stage1", (), "temporal.manifest.json: no such file"),
        ("stage2", ("--soft", "nowhere"), "no such file"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    example: Any,
    roomy_model: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    more: tuple[object, ...],
    said: str,
) -> None:
    folder = tmp_path if stage == "stage1" else rows
    with pytest.raises(SystemExit, match=said):
        run(example, monkeypatch, stage, folder, "--base", roomy_model, "-o", tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


def test_options_have_defaults_in_their_help(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["rella_train.soft_prompt", "stage1", "rows", "--base", "m.gguf", "-o", "soft"])
    given: argparse.Namespace = example.options()
    assert (given.tokens, given.temporal_weight, given.init) == (20, 0.5, "text")
