"""Refused by the header, in a line, is what llama.cpp would end the process on, and what cannot judge."""

from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tiny_model import Shape, metadata, random_weights, spm_vocab, write_model

from rella_gguf import GGUFError, check_judge, check_model, inspect, quantize

TOKENS, TYPES, SCORES = ("tokenizer__ggml__tokens", "tokenizer__ggml__token_type", "tokenizer__ggml__scores")
VOCAB = spm_vocab()


def judge(path: Path, values: dict[str, Any], **options: Any) -> None:
    check_judge(check_model(write_model(path, change=partial(_change, values=values), **options)))


def _change(writer: gguf.GGUFWriter, values: dict[str, Any]) -> None:
    metadata(writer, **values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tokenizer__ggml__model": "none"}, "has no vocabulary"),
        ({"tokenizer__ggml__model": "no_vocab"}, "has no vocabulary"),
        ({"tokenizer__ggml__model": None}, "does not name its tokenizer"),
        ({TOKENS: None}, "has no vocabulary"),
        ({TOKENS: [1, 2]}, "tokenizer.ggml.tokens holds no texts"),
        ({TOKENS: [*VOCAB.tokens[:-1], "<s>"]}, f"token '<s>' comes twice, as 1 and {len(VOCAB.tokens) - 1};"),
        # llama.cpp reads a token up to a NUL, and gives an empty one a name.
        ({TOKENS: [*VOCAB.tokens[:-2], "zz\0b", "zz\0c"]}, "token 'zz' comes twice"),
        ({TOKENS: [*VOCAB.tokens[:-2], "", f"[EMPTY_{len(VOCAB.tokens) - 2}]"]}, "comes twice"),
        ({TOKENS: [t.replace("0x41", "0y41") for t in VOCAB.tokens if t != "A"] + ["x A"]}, "no token <0x41>"),
        ({"tokenizer__ggml__model": "rwkv"}, r"the tokenizer rwkv, and has no token \\x01 for that byte"),
        ({TYPES: VOCAB.types[:-1]}, r"token_type has \d+ values for \d+ tokens"),
        ({TYPES: "normal"}, "token_type is no array of numbers"),
        ({SCORES: VOCAB.scores[:-1]}, r"scores has \d+ values"),
        ({SCORES: ["a"] * len(VOCAB.tokens)}, "scores is no array of numbers"),
        ({SCORES: None}, "the tokenizer llama, which needs tokenizer.ggml.scores"),
        ({"tokenizer__ggml__model": "gpt2"}, "the tokenizer gpt2, which needs tokenizer.ggml.merges"),
        ({"llama__expert_count": 1025}, "the expert_count 1025, where 1024 are the most"),
        ({"llama__expert_count": 4}, "the expert_used_count 0, and 4 experts"),
        ({"llama__expert_count": 4, "llama__expert_used_count": 5}, "the expert_used_count 5, and 4 experts"),
        ({"llama__expert_used_count": 2}, "the expert_used_count 2, and no experts"),
        ({"llama__expert_group_count": 1}, "the expert_group_count 1, and 0 experts"),
        (
            {"llama__expert_count": 4, "llama__expert_used_count": 2, "llama__expert_group_count": 3},
            "takes 0 of 3 groups of 4 experts",
        ),
        ({"llama__nextn_predict_layers": 2}, "the nextn_predict_layers 2 of 2 layers"),
        ({"llama__attention__layer_norm_rms_epsilon": -1e-5}, "the attention.layer_norm_rms_epsilon -1e-05"),
        ({"llama__attention__layer_norm_rms_epsilon": float("nan")}, "the attention.layer_norm_rms_epsilon nan"),
        ({"llama__attention__layer_norm_epsilon": float("inf")}, "the attention.layer_norm_epsilon inf"),
        ({"llama__rope__scaling__type": "twisted"}, "the rope.scaling.type 'twisted'; one of none, linear"),
        ({"llama__attention__head_count_kv": 3}, "the attention.head_count 4, which is no multiple"),
        ({"llama__attention__head_count_kv": [2, 3]}, "the attention.head_count 4, which is no multiple"),
        ({"llama__rope__dimension_count": 6}, "the rope.dimension_count 6, and heads of 4"),
        ({"llama__rope__dimension_count": 0}, "the rope.dimension_count 0, and heads of 4"),
        ({"llama__rope__dimension_count": 3}, "the rope.dimension_count 3, and heads of 4"),
    ],
)
def test_what_llama_cpp_dies_of_is_told_from_the_header(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(GGUFError, match=said) as caught:
        judge(tmp_path / "m.gguf", values)
    assert caught.value.remedy and caught.value.source == str(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"llama__expert_count": 4, "llama__expert_used_count": [2, 1]},
        {"llama__nextn_predict_layers": 1},
        {"llama__attention__layer_norm_rms_epsilon": 0.0},
        {"llama__pooling_type": 2**32 - 1},
        {TYPES: [*VOCAB.types, 1], SCORES: [*VOCAB.scores, 0.0]},  # llama.cpp reads as many as there are tokens
        {TOKENS: [*(t.replace("<0xC1>", "no byte").replace("<0xFF>", "nor this") for t in VOCAB.tokens)]},
        {"llama__attention__head_count_kv": [0, 2]},  # a hybrid's layer without attention
        {"llama__rope__scaling__type": "yarn"},
        {"llama__pooling_type": 0, "llama__attention__causal": True},
        {"tokenizer__ggml__pre": "kimi-k2", "tokenizer__ggml__model": "gpt2"},
        {TOKENS: [*VOCAB.tokens[:-2], "", "bb"]},
    ],
)
def test_what_can_be_passes(tmp_path: Path, values: dict[str, Any]) -> None:
    judge(tmp_path / "m.gguf", values)


def test_a_single_expert_that_llama_cpp_takes_for_none_passes(tmp_path: Path) -> None:
    judge(tmp_path / "m.gguf", {"hunyuan-dense__expert_count": 1}, arch="hunyuan-dense")


@pytest.mark.parametrize("tokenizer", ["spm", "bpe"])
def test_a_model_without_an_output_matrix_has_tied_embeddings_and_judges(tmp_path: Path, tokenizer: str) -> None:
    vocabulary = len(spm_vocab().tokens)
    weights = random_weights(vocabulary, Shape(), 0)
    del weights["output.weight"]
    judge(tmp_path / "m.gguf", {}, weights=weights)
    judge(tmp_path / "n.gguf", {}, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("arch", "values", "said"),
    [
        ("bert", {}, r"is an embedding model \(bert\), no language model that answers; give a chat model"),
        ("gemma-embedding", {}, r"is an embedding model \(gemma-embedding\)"),
        ("t5encoder", {}, r"is an embedding model \(t5encoder\)"),
        ("qwen3", {"qwen3__pooling_type": 3}, r"is an embedding model \(qwen3\)"),
        ("qwen3", {"qwen3__pooling_type": 4}, r"is a classifier \(qwen3\)"),
        ("llama", {"llama__attention__causal": False}, r"is an embedding model \(llama\)"),
        ("llama", {"llama__classifier__output_labels": ["yes", "no"]}, r"is a classifier \(llama\)"),
        ("llada", {}, r"is a diffusion model \(llada\)"),
        ("eagle3", {}, r"is a drafter, which guesses for another model \(eagle3\)"),
    ],
)
def test_what_cannot_judge_is_named(tmp_path: Path, arch: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(GGUFError, match=said):
        judge(tmp_path / "m.gguf", values, arch=arch)


@pytest.mark.parametrize("name", ["cls.weight", "cls.output.weight", "cls.norm.weight"])
def test_a_head_that_classifies_is_seen_in_any_part(tmp_path: Path, name: str) -> None:
    weights = random_weights(len(VOCAB.tokens), Shape(), 0)
    weights[name] = np.ones((2, 16), np.float32)
    for parts in (0, 10):
        with pytest.raises(GGUFError, match="is a classifier"):
            judge(tmp_path / f"m{parts}.gguf", {}, weights=weights, tensors_a_file=parts)


def test_a_table_of_experts_by_token_is_no_weight_matrix(tmp_path: Path) -> None:
    weights: dict[str, Any] = random_weights(len(VOCAB.tokens), Shape(), 0)
    weights["blk.0.ffn_gate_tid2eid.weight"] = np.zeros((len(VOCAB.tokens), 2), np.int32)
    judge(tmp_path / "m.gguf", {}, weights=weights)
    weights["blk.0.ffn_gate.weight"] = weights["blk.0.ffn_gate.weight"].astype(np.int32)
    with pytest.raises(GGUFError, match=r"ffn_gate.weight has the type I32"):
        judge(tmp_path / "n.gguf", {}, weights=weights)


def test_what_cannot_judge_can_still_be_inspected_and_quantised(tmp_path: Path) -> None:
    path = write_model(
        tmp_path / "m.gguf", shape=Shape(embd=32), change=partial(_change, values={"llama__pooling_type": 1})
    )
    assert inspect(path).architecture == "llama"
    assert quantize(path, tmp_path / "q.gguf", "Q8_0").changed > 0
