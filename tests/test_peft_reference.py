"""The same tiny model and adapter in llama.cpp and in transformers with PEFT. Needs the extra `train`; run by hand."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peft_folder import modules, write_peft
from test_reference import F32, SHAPE, transformers_model
from tiny_model import random_weights, spm_vocab, write_model

from rella_cpp.engine.engine import Engine
from rella_cpp.engine.lora import Adapter
from rella_cpp.engine.segments import Prompt
from rella_gguf import convert_adapter
from rella_gguf.lora.peft_config import read_config

pytestmark = pytest.mark.reference

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
OUTER = ["lm_head", "embed_tokens"]
PATTERNS = {
    "rank_pattern": {"q_proj": 2, "layers.1.self_attn.v_proj": 6, ".*down_proj": 3, "lm_head": 5},
    "alpha_pattern": {"k_proj": 3, r"layers\.[02]\.mlp\.up_proj": 20, "embed_tokens": 7},
}
TEXTS = ["the movie", "Yes No Yes", "movie movie movie the", "Amélie", "erth"]
CASES: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": LINEAR},
    "embeddings and output": {"target_modules": LINEAR + OUTER},
    "patterns": {"target_modules": LINEAR + OUTER, **PATTERNS},
    "rslora": {"target_modules": LINEAR + OUTER, "use_rslora": True},
    "rslora and patterns": {"target_modules": LINEAR + OUTER, "use_rslora": True, **PATTERNS},
    "bfloat16": {"target_modules": LINEAR, "dtype": "bfloat16"},
    "float16": {"target_modules": LINEAR, "dtype": "float16"},
}


def adapted(reference: Any, settings: dict[str, Any], folder: Path) -> Any:
    """Put a random adapter on the model, save it, and return the adapted model with what was saved."""
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    settings = dict(settings)
    dtype = getattr(torch, settings.pop("dtype", "float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT speaks of embeddings that it saves too
        model = peft.get_peft_model(reference, peft.LoraConfig(r=4, lora_alpha=10, task_type="CAUSAL_LM", **settings))
        torch.manual_seed(5)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    # As precise as it is saved, so that both sides see the same numbers.
                    parameter.copy_((torch.randn_like(parameter) * 0.15).to(dtype).float())
        model.save_pretrained(folder, state_dict={k: v.to(dtype) for k, v in model.state_dict().items()})
    return model.eval()


@pytest.mark.parametrize("case", CASES)
def test_an_adapter_gives_the_logits_that_peft_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    torch = pytest.importorskip("torch")
    n_vocab = len(spm_vocab().tokens)
    weights = random_weights(n_vocab, SHAPE, seed=3)
    base = write_model(tmp_path / "m.gguf", shape=dataclasses.replace(SHAPE, ctx=512), weights=weights)
    reference = transformers_model(weights, n_vocab)
    model = adapted(reference, CASES[case], tmp_path / "peft")
    done = convert_adapter(tmp_path / "peft", tmp_path / "a.gguf", base=base)
    difference = effect = 0.0
    adapter = Adapter(tmp_path / "a.gguf")
    with Engine.from_gguf(base, F32) as engine, torch.inference_mode():
        engine.load_adapters([adapter])
        for text in TEXTS:
            tokens = np.asarray([1, *engine.vocabulary.tokenize(text)], dtype=np.int32)
            prompt = Prompt((tokens,), outputs=len(tokens))
            expected = model(torch.from_numpy(tokens[None].astype(np.int64))).logits[0].numpy()
            (plain,) = engine.logits([prompt])
            (found,) = engine.logits([prompt], [adapter])
            difference = max(difference, float(np.abs(found - expected).max()))
            effect = max(effect, float(np.abs(found - plain).max()))
    with capsys.disabled():
        what = f"{case}: {done.pairs} pairs, {done.rescaled} rescaled"
        print(f"\n{what}: largest |Δlogit| {difference:.2e} where the adapter changes up to {effect:.2f}")
    assert effect > 1
    assert difference <= 1e-4


@pytest.mark.parametrize(
    "pattern", ["q_proj", "proj", "q_proj|k_proj", r"layers\.0\..*", "^model.layers.1.*", "layers.1"]
)
def test_patterns_are_matched_as_peft_does(tmp_path: Path, pattern: str) -> None:
    other = pytest.importorskip("peft.utils.other")
    write_peft(tmp_path, rank_pattern={pattern: 7, "self_attn.*": 9})
    config = read_config(tmp_path / "adapter_config.json")
    for module in modules(SHAPE, LINEAR + OUTER):
        key = other.get_pattern_key([pattern, "self_attn.*"], module)
        assert config.rank_of(module) == {pattern: 7, "self_attn.*": 9}.get(key, 2)
