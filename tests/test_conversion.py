import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft_folder import peft_tensors, write_peft
from tiny_model import Shape, finish, permute, random_weights, spm_vocab, write_model

from rella_cpp import EngineSettings
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.lora import Adapter
from rella_cpp.engine.segments import Prompt
from rella_gguf import (
    GGUFError,
    InputError,
    check_adapter,
    check_model,
    convert_adapter,
    inspect,
    read_header,
    read_peft,
    tuning_record,
)
from rella_gguf.lora.bases import ARCHITECTURES

SHAPE = Shape()
N_VOCAB = len(spm_vocab().tokens)
F32 = EngineSettings(kv_type="f32", flash_attn="off")
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
EVERY = (*LINEAR, "lm_head", "embed_tokens")
NAMES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
    "lm_head": "output",
    "embed_tokens": "token_embd",
}


def name_of(module: str) -> str:
    """The name in GGUF of a Llama's module, by a table of the test's own."""
    parts = module.split(".")
    return f"{f'blk.{parts[2]}.' if 'layers' in parts else ''}{NAMES[parts[-1]]}.weight"


def deltas(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """What PEFT adds to each weight, by GGUF names, rows in Hugging Face's order: scale · B·A, in float64."""
    found: dict[str, npt.NDArray[Any]] = {}
    for module, pair in read_peft(folder).pairs.items():
        a, b = pair.a.astype(np.float64), pair.b.astype(np.float64)
        found[name_of(module)] = (a.T @ b.T if pair.embedding else b @ a) * (pair.alpha / pair.rank)
    return found


def written(path: Path) -> tuple[float, dict[str, Any]]:
    reader = gguf.GGUFReader(path)
    return reader.fields["adapter.lora.alpha"].contents(), {t.name: t.data for t in reader.tensors}


def logits(base: Path, adapter: Path | None = None) -> Any:
    tokens = np.asarray([1, *range(270, 300), 5, 9], np.int32)
    with Engine.from_gguf(base, F32) as engine:
        used = [] if adapter is None else [Adapter(adapter)]
        engine.load_adapters(used)
        (rows,) = engine.logits([Prompt((tokens,), outputs=len(tokens))], used)
        return rows


@pytest.mark.parametrize(
    ("targets", "config"),
    [
        (LINEAR, {}),
        (EVERY, {}),
        (EVERY, {"use_rslora": True}),
        (EVERY, {"ranks": {"q_proj": 3, "lm_head": 1}, "alpha_pattern": {"k_proj": 1.5, "embed_tokens": 9}}),
        (LINEAR, {"dtype": "BF16"}),
        (LINEAR, {"dtype": "F16"}),
    ],
)
def test_an_adapter_does_what_adding_it_to_the_weights_does(
    tmp_path: Path, targets: tuple[str, ...], config: dict[str, Any]
) -> None:
    # Weights with scale · B·A added in Hugging Face's order, then written as a model: no code of the conversion is in
    # that. The adapter moves logits by more than 1, so that a wrong scale or order of rows cannot hide in 1e-4.
    folder = write_peft(tmp_path / "peft", targets=targets, rank=4, alpha=6, **config)
    weights = random_weights(N_VOCAB, SHAPE, seed=0)
    base = write_model(tmp_path / "m.gguf", weights=weights)
    merged = {**weights, **{name: (weights[name] + delta).astype(np.float32) for name, delta in deltas(folder).items()}}
    expected = logits(write_model(tmp_path / "merged.gguf", weights=merged))
    convert_adapter(folder, tmp_path / "a.gguf", base=base)
    assert np.abs(logits(base) - expected).max() > 1
    assert np.abs(logits(base, tmp_path / "a.gguf") - expected).max() < 1e-4


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    alpha=st.floats(0.1, 200),
    rank=st.integers(1, 9),
    ranks=st.dictionaries(st.sampled_from(LINEAR), st.integers(1, 9)),
    alphas=st.dictionaries(st.sampled_from(LINEAR), st.floats(0.1, 200)),
    rslora=st.booleans(),
    heads=st.sampled_from([(4, 4), (4, 2), (2, 1)]),
)
def test_each_pair_has_pefts_scale_whatever_the_others_have(
    tmp_path: Path,
    alpha: float,
    rank: int,
    ranks: dict[str, int],
    alphas: dict[str, float],
    rslora: bool,
    heads: tuple[int, int],
) -> None:
    # llama.cpp adds alpha / rank · b·a with one alpha for the file; 1e-5 is float32's rounding, some ten times over.
    shape = Shape(heads=heads[0], heads_kv=heads[1], layers=1)
    config: dict[str, Any] = {"ranks": ranks, "alpha_pattern": alphas, "use_rslora": rslora}
    folder = write_peft(tmp_path / "peft", shape=shape, rank=rank, alpha=alpha, targets=LINEAR, **config)
    base = write_model(tmp_path / "m.gguf", shape=shape)
    convert_adapter(folder, tmp_path / "a.gguf", base=base, force=True)
    common, tensors = written(tmp_path / "a.gguf")
    for name, delta in deltas(folder).items():
        a, b = tensors[f"{name}.lora_a"].astype(np.float64), tensors[f"{name}.lora_b"].astype(np.float64)
        order = shape.heads if "attn_q" in name else shape.heads_kv if "attn_k" in name else 0
        expected = permute(delta, order) if order else delta
        assert np.allclose(common / len(a) * (b @ a), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_matrices_of_one_alpha_keep_their_bits(tmp_path: Path, spm_model: Path) -> None:
    folder = write_peft(tmp_path / "peft", targets=("v_proj",), use_rslora=True)
    done = convert_adapter(folder, tmp_path / "a.gguf", base=spm_model)
    alpha, tensors = written(tmp_path / "a.gguf")
    assert done.rescaled == 0 and done.alpha == pytest.approx(alpha) == pytest.approx(4 * 2**0.5)
    b = peft_tensors(targets=("v_proj",))["base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"]
    assert np.array_equal(tensors["blk.1.attn_v.weight.lora_b"], b)


def test_the_result_says_what_was_done_and_the_file_says_it_too(tmp_path: Path, spm_model: Path) -> None:
    config: dict[str, Any] = {"ranks": {"q_proj": 3}, "alpha_pattern": {"v_proj": 1}}
    folder = write_peft(tmp_path / "mine", targets=("q_proj", "k_proj", "v_proj"), **config)
    out = tmp_path / "a.gguf"
    done = convert_adapter(str(folder), str(out), base=str(spm_model))
    assert (done.pairs, done.ranks, done.alpha, done.rescaled) == (6, (2, 3), 4.0, 2)
    assert (done.targets, done.architecture) == (("k_proj", "q_proj", "v_proj"), "llama")
    assert (done.out, done.base, done.record, done.notes) == (str(out), str(spm_model), None, ())
    found = inspect(out)
    assert found.lora is not None and found.name == "mine"
    assert (found.lora.pairs, found.lora.ranks, found.lora.targets) == (6, (2, 3), ("attn_k", "attn_q", "attn_v"))
    assert (found.lora.base, found.lora.record) == ("tiny/base", None)
    assert check_adapter(out, check_model(spm_model)).kind == "adapter"
    assert inspect(spm_model).lora is None


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path, spm_model: Path) -> None:
    folder = write_peft(tmp_path / "peft")
    for name in ("a", "b"):
        convert_adapter(folder, tmp_path / name, base=spm_model)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("/home/someone/models/Llama-7B", "Llama-7B"),
        ("../someone/Llama-7B/", "Llama-7B"),
        ("C:\\someone\\Llama-7B", "Llama-7B"),
        ("meta/Llama-7B", "meta/Llama-7B"),
        ("", ""),
        ("a\ud800\0b", "a?\0b"),
        ("long" * 3000, "long" * 3000),
    ],
)
def test_the_base_is_named_and_not_where_it_lay(tmp_path: Path, spm_model: Path, base: str, told: str) -> None:
    folder = write_peft(tmp_path / "peft", base_model_name_or_path=base)
    convert_adapter(folder, tmp_path / "a.gguf", base=spm_model)
    assert b"someone" not in (tmp_path / "a.gguf").read_bytes()
    found = inspect(tmp_path / "a.gguf").lora
    assert found is not None and found.base == told
    with pytest.raises(InputError, match="--base"):
        convert_adapter(folder, tmp_path / "b.gguf")


def test_a_folder_whose_name_is_no_text_is_read(tmp_path: Path, spm_model: Path) -> None:
    folder = write_peft(tmp_path / os.fsdecode(b"caf\xe9"))
    convert_adapter(folder, tmp_path / "a.gguf", base=spm_model)
    assert inspect(tmp_path / "a.gguf").name == "caf?"


def test_the_record_of_the_tuning_goes_along_with_its_hash(tmp_path: Path, spm_model: Path) -> None:
    folder = write_peft(tmp_path / "peft")
    (folder / "rella.json").write_text(json.dumps({"k": 30, "data": "Amélie", "at": {"b": 1.5, "a": None}}))
    done = convert_adapter(folder, tmp_path / "a.gguf", base=spm_model)
    header = read_header(tmp_path / "a.gguf")
    text = header.text("rella.record")
    assert text == '{"at": {"a": null, "b": 1.5}, "data": "Am\\u00e9lie", "k": 30}'
    assert header.text("rella.record.sha256") == sha256(text.encode()).hexdigest()
    assert tuning_record(header) == done.record == {"k": 30, "data": "Amélie", "at": {"b": 1.5, "a": None}}


@pytest.mark.parametrize(("text", "digest"), [("{}", "0" * 64), ("[1]", None), ("{", None)])
def test_a_record_that_was_changed_is_refused(tmp_path: Path, text: str, digest: str | None) -> None:
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_type("adapter")
    writer.add_string("rella.record", text)
    writer.add_string("rella.record.sha256", digest or sha256(text.encode()).hexdigest())
    finish(writer)
    with pytest.raises(GGUFError, match=r"rella\.record is damaged, or was changed"):
        inspect(tmp_path / "a.gguf")


WRAPPED = {
    "since 4.52": (("model.", "model.language_model."),),
    "before": (("model.", "language_model.model."), ("lm_head", "language_model.lm_head")),
    "no output": (("model.", "language_model."),),
    "SmolVLM": (("model.", "model.text_model."),),
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_an_adapter_of_a_multimodal_wrapper_is_that_of_its_language_model(
    tmp_path: Path, spm_model: Path, wrapped: tuple[tuple[str, str], ...]
) -> None:
    names = {name: name for name in peft_tensors(targets=EVERY)}
    for plain, long in wrapped:
        start = "base_model.model."
        names = {name: new.replace(start + plain, start + long) for name, new in names.items()}
    tensors = {names[name]: value for name, value in peft_tensors(targets=EVERY).items()}
    assert set(names.values()) != set(names)
    # PEFT matched the wrapped names: the pattern is for one of them, and gives that matrix twice the scale.
    q_proj = names["base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"].removeprefix("base_model.model.")
    folders = {
        "plain": write_peft(tmp_path / "plain/a", targets=EVERY, alpha_pattern={"layers.1.self_attn.q_proj": 8}),
        "wrapped": write_peft(
            tmp_path / "wrapped/a",
            targets=[*LINEAR, "lm_head", "embed_tokens"],
            tensors=tensors,
            alpha_pattern={q_proj.removesuffix(".lora_A.weight"): 8},
        ),
    }
    done = {way: convert_adapter(path, tmp_path / f"{way}.gguf", base=spm_model) for way, path in folders.items()}
    assert done["wrapped"].rescaled == 1 and done["wrapped"].notes == ()
    assert (tmp_path / "wrapped.gguf").read_bytes() == (tmp_path / "plain.gguf").read_bytes()


def tied_model(path: Path) -> Path:
    weights = random_weights(N_VOCAB, SHAPE, 0)
    del weights["output.weight"]
    return write_model(path, weights=weights)


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_one_use_of_a_shared_matrix_cannot_be_adapted(tmp_path: Path, spm_model: Path, target: str) -> None:
    tied = tied_model(tmp_path / "tied.gguf")
    folder = write_peft(tmp_path / "peft", targets=("q_proj", target))
    with pytest.raises(InputError, match=rf"{target}: is adapted, and tied\.gguf has one matrix.*output\.weight"):
        convert_adapter(folder, tmp_path / "a.gguf", base=tied)
    convert_adapter(folder, tmp_path / "a.gguf", base=spm_model)
    # llama.cpp stops the process at such a token_embd: it must not come that far.
    with pytest.raises(GGUFError, match=r"the model has one matrix for embeddings and output \(tied\)"):
        check_adapter(tmp_path / "a.gguf", check_model(tied))


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ((N_VOCAB, 2), (16, 3), "no pair"),
        ((N_VOCAB - 1, 2), (16, 2), "lora_a is made for a width of"),
        ((N_VOCAB, 2), (32, 2), "lora_b is made for a width of 32, the model's token_embd.weight has 16"),
    ],
)
def test_adapters_of_embeddings_are_checked_before_llama_cpp_sees_them(
    tmp_path: Path, spm_model: Path, a: tuple[int, int], b: tuple[int, int], said: str
) -> None:
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    for side, size in (("a", a), ("b", b)):
        writer.add_tensor(f"token_embd.weight.lora_{side}", np.ones(size, np.float32))
    finish(writer)
    with pytest.raises(GGUFError, match=said):
        check_adapter(tmp_path / "a.gguf", check_model(spm_model))


def config_json(folder: Path, **values: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    usual = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    (folder / "config.json").write_text(json.dumps({**usual, **values}))
    return folder


def test_without_a_base_the_config_of_the_model_that_it_names_will_do(tmp_path: Path, spm_model: Path) -> None:
    hub = config_json(tmp_path / "hub", tie_word_embeddings=True)
    folder = write_peft(tmp_path / "peft", targets=EVERY, base_model_name_or_path=str(hub))
    with pytest.raises(InputError, match=r"config\.json has one matrix"):
        convert_adapter(folder, tmp_path / "a.gguf")
    config_json(tmp_path / "hub")
    done = convert_adapter(folder, tmp_path / "a.gguf")
    assert done.base == str(hub / "config.json") and "no base GGUF was given" in done.notes[0]
    convert_adapter(folder, tmp_path / "b.gguf", base=spm_model)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_what_the_hub_left_on_this_machine_is_found_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "models--some--base" / "snapshots" / "c0ffee"
    config_json(place, model_type="mistral")
    (tmp_path / "models--some--base" / "refs").mkdir()
    (tmp_path / "models--some--base" / "refs" / "main").write_text("c0ffee")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = write_peft(tmp_path / "peft", base_model_name_or_path="some/base")
    assert convert_adapter(folder, tmp_path / "a.gguf").base == str(place / "config.json")
    with pytest.raises(InputError, match=r"adapts other/base, and no config\.json .* give the base's GGUF with --base"):
        convert_adapter(write_peft(folder, base_model_name_or_path="other/base"), tmp_path / "b.gguf")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_type": "gpt2"}, "is of the architecture gpt2.*llama, mistral.*convert_lora_to_gguf"),
        ({"model_type": None}, "is of the architecture None"),
        ({"num_hidden_layers": None}, "does not say how many layers and heads"),
        ({"num_attention_heads": 0}, "has 2 layers, 0 and 2 heads"),
        ({"num_hidden_layers": 10**9}, "has 1000000000 layers"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5}, "has 16 outputs, which are no 5 heads"),
        ({"num_hidden_layers": 1}, "layers.1.self_attn.q_proj: is not in config.json, which has 1 layer"),
    ],
)
def test_a_config_that_cannot_be_is_refused(tmp_path: Path, values: dict[str, object], said: str) -> None:
    hub = config_json(tmp_path / "hub", **values)
    with pytest.raises(InputError, match=said):
        convert_adapter(write_peft(tmp_path / "p", base_model_name_or_path=str(hub)), tmp_path / "a.gguf")


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda known: str(known.name))
def test_every_architecture_has_names_for_all_its_modules(architecture: Any) -> None:
    # The table is ours, the names are gguf's: a module that the table lists must have a name there. An output may lack
    # one where it is always tied (Gemma); then it is refused as tied.
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture.name], 1)
    outer = {"lm_head": "lm_head", "embed_tokens": "model.embed_tokens"}
    for module in architecture.modules:
        full = outer.get(module) or next(
            f"model.layers.0.{place}.{module}"
            for place in ("self_attn", "mlp")
            if names.get_name(f"model.layers.0.{place}.{module}")
        )
        assert names.get_name(full) or (full == "lm_head" and architecture.tied)


def test_rows_stay_where_they_are_for_architectures_that_keep_them(tmp_path: Path) -> None:
    hub = config_json(tmp_path / "hub", model_type="qwen2")
    folder = write_peft(tmp_path / "peft", base_model_name_or_path=str(hub))
    assert convert_adapter(folder, tmp_path / "a.gguf").architecture == "qwen2"
    _, tensors = written(tmp_path / "a.gguf")
    b = peft_tensors()["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"]
    assert np.array_equal(tensors["blk.0.attn_q.weight.lora_b"], b)
