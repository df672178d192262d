"""A soft prompt that PEFT trained, there and here: the same logits, with an adapter on top, too. Run by hand."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_peft_reference import LINEAR, adapted
from test_reference import F32, HISTORY, SHAPE, TARGETS, transformers_model
from test_soft_prompts_reference import prompted
from tiny_model import random_weights, spm_vocab, write_model

from rella_cpp import Cache, Item, Rella, User
from rella_cpp.domains.inputs import take_history
from rella_cpp.prompts.yes_no import write_prompt
from rella_gguf import convert_adapter, convert_soft_prompt

pytestmark = pytest.mark.reference

VIRTUAL = 7


def greatest(rella: Rella, expected: Callable[[list[int]], Any]) -> float:
    """Return the greatest difference of logits, over the whole vocabulary, at the answer position of some targets."""
    behaviors = [behavior for _, behavior in take_history(HISTORY, rella.domain)]
    found = 0.0
    for target, score in zip(TARGETS, rella.rank(HISTORY, TARGETS, retrieval="recent"), strict=True):
        question = rella.prompts.question(write_prompt(rella.domain, User(), behaviors, Item(target)))
        assert len(question) == score.prompt_tokens == VIRTUAL + len(question.tokens)
        (logits,) = rella.engine.logits([question.prompt], rella.adapters)
        wanted = expected(list(question.tokens))[0, -1].float().numpy()
        # What the command line shows is from the same decode plan as this.
        assert score.yes_logit == pytest.approx(float(logits[-1][question.answers.tokens[0]]), abs=1e-4)
        found = max(found, float(np.abs(logits[-1] - wanted).max()))
    return found


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "P_TUNING"])
def test_a_soft_prompt_gives_the_logits_that_peft_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    torch = pytest.importorskip("torch")
    n_vocab = len(spm_vocab().tokens)
    weights = random_weights(n_vocab, SHAPE, seed=3)
    base = write_model(tmp_path / "m.gguf", shape=dataclasses.replace(SHAPE, ctx=1024), weights=weights)
    model = prompted(transformers_model(weights, n_vocab), {"peft_type": kind}, tmp_path / "prompt")
    soft = convert_soft_prompt(tmp_path / "prompt", tmp_path / "s.gguf", base=base).out
    plain = transformers_model(weights, n_vocab)
    with Rella.from_gguf(base, settings=F32, soft=soft, cache=Cache(None)) as rella, torch.inference_mode():
        difference = greatest(rella, lambda tokens: model(torch.tensor([tokens])).logits)
        effect = greatest(rella, lambda tokens: plain(torch.tensor([tokens])).logits)
    with capsys.disabled():
        print(f"\n{kind}: largest |Δlogit| {difference:.2e}; without the prompt it would be {effect:.2f}")
    assert difference <= 1e-4 < effect


def test_an_adapter_on_top_gives_the_logits_that_peft_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    n_vocab = len(spm_vocab().tokens)
    weights = random_weights(n_vocab, SHAPE, seed=3)
    base = write_model(tmp_path / "m.gguf", shape=dataclasses.replace(SHAPE, ctx=1024), weights=weights)
    settings = {"peft_type": "PROMPT_TUNING"}
    block = prompted(transformers_model(weights, n_vocab), settings, tmp_path / "prompt").get_prompt(1)
    model = adapted(transformers_model(weights, n_vocab), {"target_modules": LINEAR}, tmp_path / "peft")
    soft = convert_soft_prompt(tmp_path / "prompt", tmp_path / "s.gguf", base=base).out
    adapter = convert_adapter(tmp_path / "peft", tmp_path / "a.gguf", base=base).out

    def both(tokens: list[int]) -> Any:
        rows = model.get_input_embeddings()(torch.tensor([tokens]))
        return model(inputs_embeds=torch.cat([block, rows], dim=1)).logits

    with (
        Rella.from_gguf(base, settings=F32, lora=adapter, soft=soft, cache=Cache(None)) as rella,
        torch.inference_mode(),
    ):
        difference = greatest(rella, both)
        effect = greatest(rella, lambda tokens: model(torch.tensor([tokens])).logits)
    with capsys.disabled():
        print(f"\nsoft prompt and LoRA: largest |Δlogit| {difference:.2e}; with LoRA alone it would be {effect:.2f}")
    assert difference <= 1e-4 < effect
