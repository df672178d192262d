import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft_folder import Tensors, modules, peft_tensors, write_peft, write_safetensors
from tiny_model import Shape

from rella_gguf import InputError, read_peft
from rella_gguf.lora.peft_config import UNSUPPORTED, read_config

EVERY = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head", "embed_tokens")
Q = "model.layers.0.self_attn.q_proj"
Q_NAME = f"base_model.model.{Q}.lora_"


def test_all_pairs_are_read_with_their_numbers(tmp_path: Path) -> None:
    tensors = peft_tensors(targets=EVERY)
    adapter = read_peft(write_peft(tmp_path, targets=EVERY))
    assert sorted(adapter.pairs) == sorted(modules(Shape(), EVERY)) and adapter.targets == tuple(sorted(EVERY))
    for module, pair in adapter.pairs.items():
        ends = ("lora_embedding_A", "lora_embedding_B") if pair.embedding else ("lora_A.weight", "lora_B.weight")
        assert pair.embedding is module.endswith("embed_tokens") and (pair.rank, pair.alpha) == (2, 4)
        for end, side in zip(ends, (pair.a, pair.b), strict=True):
            assert np.array_equal(side, tensors[f"base_model.model.{module}.{end}"])
    assert adapter.notes == () and adapter.record is None


@pytest.mark.parametrize(("dtype", "error"), [("F32", 0), ("F16", 2**-11), ("BF16", 2**-7)])
def test_each_precision_is_read_as_float32(tmp_path: Path, dtype: str, error: float) -> None:
    # The stated error is that of the format's mantissa, so a wrong shift or byte order cannot pass.
    pair = read_peft(write_peft(tmp_path, dtype=dtype)).pairs[Q]
    exact = peft_tensors()[f"{Q_NAME}A.weight"]
    assert pair.a.dtype == np.float32 and np.allclose(pair.a, exact, rtol=error, atol=1e-7 if error else 0)


def test_names_with_the_adapters_name_in_them_are_the_same(tmp_path: Path) -> None:
    tensors = peft_tensors(targets=EVERY)
    named = {
        name.replace("_A.weight", "_A.default.weight").replace("_B.weight", "_B.default.weight")
        if "embedding" not in name
        else f"{name}.default": value
        for name, value in tensors.items()
    }
    assert all("default" in name for name in named)
    found = read_peft(write_peft(tmp_path / "a", targets=EVERY, tensors=named))
    plain = read_peft(write_peft(tmp_path / "b", targets=EVERY))
    assert found.pairs.keys() == plain.pairs.keys()


@pytest.mark.parametrize(
    ("config", "module", "rank", "alpha"),
    [
        ({}, Q, 8, 16.0),
        ({"rank_pattern": {"q_proj": 4}}, Q, 4, 16.0),
        ({"rank_pattern": {"proj": 4}}, Q, 8, 16.0),  # a pattern begins at a dot
        ({"rank_pattern": {r"layers\.0\..*": 3, "q_proj": 4}}, Q, 3, 16.0),  # the first that matches counts
        ({"rank_pattern": {"model.layers.0.self_attn.q_proj": 5}}, Q, 5, 16.0),
        ({"rank_pattern": {"^model.layers.0.self_attn.q_proj": 5}}, Q, 5, 16.0),
        ({"rank_pattern": {"layers.0": 5}}, Q, 8, 16.0),  # and ends at the name's end
        ({"alpha_pattern": {"q_proj|k_proj": 6}}, Q, 8, 6.0),
        ({"use_rslora": True}, Q, 8, 16 * 8**0.5),
        ({"use_rslora": True, "rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 6}}, Q, 4, 12.0),
    ],
)
def test_patterns_and_rslora_mean_what_they_mean_in_peft(
    tmp_path: Path, config: dict[str, Any], module: str, rank: int, alpha: float
) -> None:
    # alpha / rank is the scale: rsLoRA's is lora_alpha / √rank. tests/test_peft_reference.py compares with PEFT itself.
    write_peft(tmp_path, rank=8, alpha=16, **config)
    found = read_config(tmp_path / "adapter_config.json")
    assert found.rank_of(module) == rank and found.alpha_of(module) == pytest.approx(alpha)


def test_a_record_of_the_tuning_is_read(tmp_path: Path) -> None:
    write_peft(tmp_path)
    (tmp_path / "rella.json").write_text('{"data": "ml-1m", "k": 30, "titles": ["Amélie"]}')
    assert read_peft(tmp_path).record == {"data": "ml-1m", "k": 30, "titles": ["Amélie"]}


def test_what_config_and_file_disagree_on_is_told(tmp_path: Path) -> None:
    tensors = peft_tensors(targets=("q_proj", "embed_tokens"))
    copy = {"base_model.model.model.embed_tokens.base_layer.weight": np.ones((4, 16), np.float32)}
    write_peft(tmp_path, tensors={**tensors, **copy}, target_modules=["v_proj", "embed_tokens"], new_trick=0.5, idle=[])
    notes = read_peft(tmp_path).notes
    assert [next(word for word in ("new_trick", "v_proj", Q, "copy") if word in note) for note in notes] == [
        "new_trick",
        "v_proj",
        Q,
        "copy",
    ]
    for targets in (r".*\.(q|v)_proj", "all-linear"):
        assert read_peft(write_peft(tmp_path / "x", target_modules=targets)).notes == ()


@pytest.mark.parametrize("key", [refusal.key for refusal in UNSUPPORTED])
def test_every_kind_beyond_plain_lora_is_refused_with_a_way_round(tmp_path: Path, key: str) -> None:
    on: dict[str, Any] = {key: "all" if key == "bias" else ["x"]}
    write_peft(tmp_path, **on)
    with pytest.raises(InputError, match=f"adapter_config.json, {key}: ") as caught:
        read_peft(tmp_path)
    assert "peft" in (caught.value.remedy or "")
    values: tuple[object, ...] = (False, [], {}, "none")
    for value in values:
        off: dict[str, Any] = {key: value}
        read_peft(write_peft(tmp_path, **off))


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga"])
def test_what_changes_the_base_is_refused(tmp_path: Path, start: str) -> None:
    with pytest.raises(InputError, match=f"{start} changes the base.*path_initial_model_for_weight_conversion"):
        read_peft(write_peft(tmp_path, init_lora_weights=start))
    for harmless in (True, False, "gaussian", "eva", "orthogonal", "mica"):
        read_peft(write_peft(tmp_path, init_lora_weights=harmless))


@pytest.mark.parametrize("key", ["peft_type", "r", "lora_alpha", "target_modules"])
def test_required_keys_are_required_and_the_others_are_not(tmp_path: Path, key: str) -> None:
    write_peft(tmp_path)
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    required = {name: values[name] for name in ("peft_type", "r", "lora_alpha", "target_modules")}
    (tmp_path / "adapter_config.json").write_text(json.dumps(required))
    assert read_peft(tmp_path).config.base == ""
    (tmp_path / "adapter_config.json").write_text(json.dumps({**values, key: None}))
    with pytest.raises(InputError, match=f"has no {key}"):
        read_peft(tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "IA3"}, "of the type IA3"),
        ({"r": 0}, "r: is 0; it is a whole number above 0"),
        ({"r": -8}, "r: is -8"),
        ({"r": 2.0}, "r: is 2.0"),
        ({"r": True}, "r: is true"),
        ({"lora_alpha": 0}, "lora_alpha: is 0; it is a number above 0"),
        ({"lora_alpha": "16"}, 'lora_alpha: is "16"'),
        ({"lora_alpha": 1e300}, "lora_alpha: is 1e"),
        ({"target_modules": []}, r"target_modules: is \[\]"),
        ({"target_modules": {"q_proj": 1}}, "target_modules: is"),
        ({"rank_pattern": {"q_proj": 0}}, "rank_pattern of q_proj: is 0"),
        ({"rank_pattern": ["q_proj"]}, "rank_pattern: is no object"),
        ({"alpha_pattern": {"(": 1}}, "alpha_pattern: '\\(' is no regular expression"),
        ({"rank_pattern": {"q_proj": 8}}, "lora_A is 2 × 16 and lora_B 16 × 2: the rank 2, where .* says 8"),
    ],
)
def test_values_that_cannot_be_are_refused(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_peft(write_peft(tmp_path, **config))


def edited(**changes: object) -> Tensors:
    """The tensors of one query matrix, some replaced, or taken out with None; `more` has others."""
    tensors: dict[str, object] = dict(peft_tensors(shape=Shape(layers=1), targets=("q_proj",)))
    for side, value in changes.items():
        name = side if side.startswith("base_model") else f"{Q_NAME}{side}.weight"
        tensors[name] = value
    return {name: np.asarray(value, np.float32) for name, value in tensors.items() if value is not None}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (edited(B=None), f"{Q}: has a lora_A and no lora_B"),
        (edited(A=None), f"{Q}: has a lora_B and no lora_A"),
        (edited(A=None, B=None), "adapts nothing"),
        (edited(B=np.ones((16, 3))), "lora_A is 2 × 16 and lora_B 16 × 3, which are no pair"),
        (edited(A=np.ones((0, 16)), B=np.ones((16, 0))), "no pair of one rank"),
        (edited(A=np.ones(16)), "lora_A is 16 and lora_B"),
        (edited(A=np.full((2, 16), np.nan)), "holds numbers that are not finite"),
        (edited(A=np.full((2, 16), -np.inf)), "holds numbers that are not finite"),
        (edited(**{f"{Q_NAME}magnitude_vector": np.ones(16)}), "is a magnitude of DoRA"),
        (edited(**{f"{Q_NAME}B.bias": np.ones(16)}), "is a trained bias"),
        (edited(**{"base_model.model.lm_head.weight": np.ones((4, 16))}), "is a whole module's weights"),
        (edited(**{"base_model.model.lm_head.base_layer.weight": np.ones((4, 16))}), "with no adapter beside it"),
        (edited(**{f"base_model.model.{Q}.lora_E": np.ones((2, 1))}), "is neither lora_A nor lora_B"),
        (edited(**{f"{Q_NAME}A.other.weight": np.ones((2, 16))}), r"several adapters \(\(no name\), other\)"),
    ],
)
def test_tensors_that_are_no_pairs_are_refused(tmp_path: Path, tensors: Tensors, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_peft(write_peft(tmp_path, tensors=tensors))
    assert "adapter_model.safetensors" in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"adapter_config.json": None}, "adapter_config.json: no such file"),
        ({"adapter_config.json": "{"}, "adapter_config.json, line 1, column 2: is not JSON"),
        ({"adapter_config.json": "[]"}, "adapter_config.json: is no JSON object"),
        ({"adapter_config.json": '{"r": 1e999}'}, "is not JSON: it holds 1e999"),
        ({"adapter_config.json": "[" * 100_000}, "is not JSON"),
        ({"adapter_config.json": b"\xff\xfe\x00"}, "is not JSON"),
        ({"adapter_model.safetensors": None}, "adapter_model.safetensors: no such file"),
        ({"adapter_model.safetensors": None, "model.safetensors": ""}, "no such file \\(there is model.safetensors"),
        ({"adapter_model.safetensors": None, "adapter_model.bin": ""}, "adapter_model.bin: is a pickle, .*safe_serial"),
        ({"adapter_model.safetensors": ""}, "damaged or truncated"),
        ({"rella.json": "{]"}, "rella.json, line 1, column 2: is not JSON"),
        ({"rella.json": "3"}, "rella.json: is no JSON object"),
        ({"rella.json": '{"auc": NaN}'}, "rella.json: is not JSON: it holds NaN"),
    ],
)
def test_files_that_are_missing_or_damaged_are_named(
    tmp_path: Path, files: dict[str, str | bytes | None], said: str
) -> None:
    write_peft(tmp_path)
    for name, text in files.items():
        if text is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=said) as caught:
        read_peft(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_other_places_and_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_peft(tmp_path / "none")
    folder = write_peft(tmp_path / "a")
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: is no folder; give the folder"):
        read_peft(folder / "adapter_model.safetensors")
    write_safetensors(folder / "adapter_model.safetensors", peft_tensors(), "F64")
    with pytest.raises(InputError, match="has the type F64; save the adapter in float32, float16 or bfloat16"):
        read_peft(folder)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 3000))
def test_weights_cut_anywhere_are_refused(tmp_path: Path, length: int) -> None:
    # The file has 1,000 bytes of header and 1,500 of numbers; every cut loses some.
    path = write_peft(tmp_path) / "adapter_model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: min(length, len(data) - 1)])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_peft(tmp_path)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 1500), value=st.binary(min_size=1, max_size=8))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path: Path, place: int, value: bytes) -> None:
    path = write_peft(tmp_path) / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[place : place + len(value)] = value
    path.write_bytes(data)
    try:
        read_peft(tmp_path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and str(error).isprintable()


def test_the_tests_own_writer_writes_what_safetensors_reads(tmp_path: Path) -> None:
    path = write_peft(tmp_path) / "adapter_model.safetensors"
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert len(json.loads(path.read_bytes()[8 : 8 + length])) == 1 + 8
