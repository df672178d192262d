"""The same tiny model in llama.cpp and in transformers: the numbers must be the same. Needs the extra `train`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import Shape, Weights, random_weights, spm_vocab, write_model

from rella_cpp import Cache, EngineSettings, Item, Rella
from rella_cpp.engine.segments import Span
from rella_cpp.prompts.item import item_text

pytestmark = pytest.mark.reference

SHAPE = Shape(embd=64, heads=8, heads_kv=4, ff=96, layers=3, ctx=4096)
F32 = EngineSettings(kv_type="f32", flash_attn="off")
HISTORY = [{"title": f"movie {word}", "rating": 1 + i % 5} for i, word in enumerate("one two three four five".split())]
TARGETS: list[dict[str, object]] = [
    {"title": title} for title in ("Heat", "the movie", "Yes No Yes", "Amélie", "x", "movie movie movie")
]


def transformers_model(weights: Weights, n_vocab: int) -> Any:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=n_vocab,
        hidden_size=SHAPE.embd,
        intermediate_size=SHAPE.ff,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.heads_kv,
        max_position_embeddings=SHAPE.ctx,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=False,
    )
    names = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "output": "lm_head",
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    state = {}
    for name, value in weights.items():
        parts = name.split(".")
        prefix = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
        state[f"{prefix}{names[parts[-2]]}.weight"] = torch.from_numpy(value)
    model = transformers.LlamaForCausalLM(config).eval().float()
    model.load_state_dict(state)
    return model


def test_probabilities_and_vectors_are_those_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    n_vocab = len(spm_vocab().tokens)
    weights = random_weights(n_vocab, SHAPE, seed=3)
    reference = transformers_model(weights, n_vocab)
    path = write_model(tmp_path / "m.gguf", shape=SHAPE, weights=weights)
    yes, no = (spm_vocab().tokens.index(answer) for answer in ("Yes", "No"))  # after ChatML's line break: bare words
    differences, cosines = [], []
    with Rella.from_gguf(path, settings=F32, cache=Cache(None)) as rella, torch.inference_mode():
        for target, score in zip(TARGETS, rella.rank(HISTORY, TARGETS), strict=True):
            tokens = [1, *rella.engine.vocabulary.tokenize(score.prompt, special=True)]
            assert len(tokens) == score.prompt_tokens
            logits = reference(torch.tensor([tokens])).logits[0, -1]
            expected = torch.softmax(logits[[yes, no]].double(), 0)[0]
            differences.append(abs(float(expected) - score.probability))

            (vector,) = rella.embed([target])
            tokens = list(rella.engine.encode([Span(item_text(rella.domain, Item(target)))]).tokens)
            hidden = reference(torch.tensor([tokens]), output_hidden_states=True).hidden_states[-1][0]
            mean = hidden.mean(0).numpy()
            cosines.append(float(vector @ mean / np.linalg.norm(vector) / np.linalg.norm(mean)))
    with capsys.disabled():
        print(f"\nlargest |ΔP| {max(differences):.2e}, smallest cosine {min(cosines):.8f}")
    assert max(differences) <= 1e-4
    assert min(cosines) >= 0.9999
