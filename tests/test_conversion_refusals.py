import os
import re
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from peft_folder import Tensors, modules, peft_tensors, sizes, write_peft
from tiny_model import Shape, finish, random_weights, spm_vocab, write_adapter, write_model

from rella_cpp import EngineSettings
from rella_gguf import (
    GGUFError,
    InputError,
    convert_adapter,
    inspect,
    read_header,
)

SHAPE = Shape()
N_VOCAB = len(spm_vocab().tokens)
F32 = EngineSettings(kv_type="f32", flash_attn="off")
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
EVERY = (*LINEAR, "lm_head", "embed_tokens")
QUERY = "layers.0.self_attn.q_proj"


def with_module(module: str, targets: tuple[str, ...] = ("q_proj",)) -> Tensors:
    """Tensors of a query matrix, under another module's name."""
    tensors = peft_tensors(shape=Shape(layers=1), targets=targets)
    return {name.replace(modules(Shape(layers=1), targets)[0], module): value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (with_module("model.layers.0.self_attn.rotary"), "rotary: is a module that is not known; known are q_proj, k"),
        (with_module("model.layers.0.block_sparse_moe.experts.0.w1"), "w1: is a module that is not known"),
        (with_module("model.layers.0.vision.q_proj"), "vision.q_proj: is not in tiny-spm.gguf, which has 2 layers"),
        (with_module("model.layers.2.self_attn.q_proj"), "layers.2.self_attn.q_proj: is not in tiny-spm.gguf"),
        (with_module("model.embed_tokens"), "embed_tokens: is adapted as what it is not"),
        (with_module("lm_head", ("embed_tokens",)), "lm_head: is adapted as what it is not"),
        (
            peft_tensors(shape=Shape(embd=32)),
            "is adapted at the size 32 × 32, the base's blk.0.attn_q.weight is 16 × 16 .tiny-spm",
        ),
        (peft_tensors(shape=Shape(ff=64), targets=("up_proj",)), "at the size 16 × 64, the base's blk.0.ffn_up"),
    ],
)
def test_an_adapter_for_another_base_is_refused(tmp_path: Path, spm_model: Path, tensors: Tensors, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        convert_adapter(write_peft(tmp_path / "p", tensors=tensors), tmp_path / "a.gguf", base=spm_model)
    assert "adapter_model.safetensors" in str(caught.value) and not (tmp_path / "a.gguf").exists()


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("vision_tower.vision_model.encoder.layers.0.self_attn.q_proj", "vision tower"),
        ("model.vision_tower.encoder.layers.0.self_attn.q_proj", "vision tower"),
        ("visual.blocks.0.attn.qkv", "vision tower"),
        ("model.visual.blocks.0.mlp.up_proj", "vision tower"),
        ("model.vision_model.encoder.layers.0.self_attn.q_proj", "vision tower"),
        ("audio_tower.layers.0.self_attn.q_proj", "audio tower"),
        ("multi_modal_projector.linear_1", "projector"),
        ("model.multi_modal_projector.linear_1", "projector"),
        ("model.embed_vision.embedding_projection", "projector"),
        ("model.connector.modality_projection.proj", "projector"),
    ],
)
def test_what_is_not_the_language_model_is_refused_as_what_it_is(
    tmp_path: Path, spm_model: Path, module: str, part: str
) -> None:
    both = with_module("model.language_model.layers.0.self_attn.q_proj") | with_module(module)
    with pytest.raises(InputError, match=f"{module}: is in the {part} of a multimodal model, .* language") as caught:
        convert_adapter(write_peft(tmp_path / "p", tensors=both), tmp_path / "a.gguf", base=spm_model)
    (excluded,) = re.findall('exclude_modules=r"(.*)"', str(caught.value))
    assert re.fullmatch(excluded, module) and not re.fullmatch(excluded, "model.language_model.layers.0.mlp.up_proj")


def test_one_matrix_under_two_names_is_refused(tmp_path: Path, spm_model: Path) -> None:
    twice = with_module(f"model.{QUERY}") | with_module(f"model.language_model.{QUERY}")
    with pytest.raises(InputError, match=r"is adapted twice, under two names of blk\.0\.attn_q\.weight"):
        convert_adapter(write_peft(tmp_path / "p", tensors=twice), tmp_path / "a.gguf", base=spm_model)


def test_inputs_are_not_written_over_even_with_force(tmp_path: Path) -> None:
    base = write_model(tmp_path / "m.gguf.part")
    folder = write_peft(tmp_path / "peft")
    (folder / "README.md").write_text("mine")
    (tmp_path / "link.gguf").symlink_to(base)
    os.link(folder / "adapter_model.safetensors", tmp_path / "hard.gguf")
    before = {path: path.read_bytes() for path in (base, *folder.iterdir())}
    outs = ["m.gguf.part", "m.gguf", "link.gguf", "hard.gguf", "peft/README.md", "peft/adapter_config.json"]
    for out in outs:
        with pytest.raises(InputError, match="is one of the inputs"):
            convert_adapter(folder, tmp_path / out, base=base, force=True)
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(InputError, match="is there already"):
        (folder / "a.gguf").write_text("old")
        convert_adapter(folder, folder / "a.gguf", base=base)
    convert_adapter(folder, folder / "a.gguf", base=base, force=True)
    assert read_header(folder / "a.gguf").kind == "adapter"


def test_a_base_that_is_none_is_refused(tmp_path: Path, adapter: Path) -> None:
    folder = write_peft(tmp_path / "peft")
    with pytest.raises(GGUFError, match="of the kind adapter, not a model; give the base model in its place"):
        convert_adapter(folder, tmp_path / "a.gguf", base=adapter)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gpt2")
    writer.add_tensor("token_embd.weight", np.ones((2, 32), np.float32))
    finish(writer)
    with pytest.raises(InputError, match=r"m\.gguf: is of the architecture gpt2"):
        convert_adapter(folder, tmp_path / "a.gguf", base=tmp_path / "m.gguf")


def test_a_base_in_parts_is_checked_in_all_of_them(tmp_path: Path) -> None:
    weights = random_weights(N_VOCAB, SHAPE, 0)
    base = write_model(tmp_path / "m.gguf", weights=weights, tensors_a_file=3)
    folder = write_peft(tmp_path / "peft", targets=EVERY)
    assert convert_adapter(folder, tmp_path / "a.gguf", base=base).pairs == 16
    assert sorted(sizes(SHAPE, N_VOCAB)) == sorted(EVERY)
    wide = write_peft(tmp_path / "wide", shape=replace(SHAPE, ff=64), targets=("down_proj",))
    with pytest.raises(InputError, match="at the size 64 × 16"):
        convert_adapter(wide, tmp_path / "b.gguf", base=base)


def test_adapters_by_others_are_inspected_too(adapter: Path, tmp_path: Path) -> None:
    found = inspect(write_adapter(tmp_path / "a.gguf", rank=5)).lora
    assert found is not None
    assert (found.pairs, found.ranks, found.base, found.record) == (4, (5,), "", None)
