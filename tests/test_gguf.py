import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_model import Shape, finish, random_weights, spm_vocab, write_adapter, write_model, write_vocabulary_only

from rella_gguf import GGUFError, check_adapter, check_model, inspect, read_header, shard_paths
from rella_gguf.rewrite import Rewrite, entry_start

SHAPE = Shape()
Q = "blk.0.attn_q.weight"


def test_the_header_agrees_with_ggufs_own_reader(any_model: Path) -> None:
    header, reader = read_header(any_model), gguf.GGUFReader(any_model)
    assert [(t.name, t.shape, t.type, t.nbytes, header.data_start + t.offset) for t in header.tensors] == [
        (t.name, tuple(int(n) for n in t.shape), int(t.tensor_type), int(t.n_bytes), int(t.data_offset))
        for t in reader.tensors
    ]
    for key, value in header.metadata.items():
        found = reader.fields[key].contents()
        assert (value == pytest.approx(found)) if not hasattr(value, "length") else value.length == len(found)
    assert header.size == any_model.stat().st_size and header.kind == "model"


def test_a_whole_model_passes_and_is_read_part_by_part(any_model: Path) -> None:
    assert check_model(any_model).architecture == "llama"


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 60_000))
def test_a_file_cut_anywhere_is_refused(spm_model: Path, tmp_path: Path, length: int) -> None:
    data = spm_model.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(data[: min(length, len(data) - 64)])
    with pytest.raises(GGUFError, match=r"cut\.gguf"):
        check_model(path)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(4, 12_000), value=st.binary(min_size=1, max_size=8))
def test_a_damaged_header_is_read_or_refused_and_nothing_else(
    spm_model: Path, tmp_path: Path, place: int, value: bytes
) -> None:
    data = bytearray(spm_model.read_bytes())
    data[place : place + len(value)] = value
    path = tmp_path / "odd.gguf"
    path.write_bytes(data)
    try:
        check_model(path)
    except GGUFError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no GGUF file"),
        (b"PK\x03\x04", "is no GGUF file"),
        (b"GGUF" + struct.pack("<I", 1), "GGUF version 1"),
        (b"GGUF" + struct.pack(">I", 3), "GGUF version 50331648"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 77),
            "unknown type 77",
        ),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "in the middle of an entry"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"t" + struct.pack("<I", 9), "9 dimensions"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(GGUFError, match=said) as caught:
        read_header(path)
    assert str(caught.value).startswith(str(path)) and caught.value.remedy


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GGUFError, match="no such file"):
        read_header(tmp_path / "none.gguf")
    with pytest.raises(GGUFError, match="is a folder"):
        read_header(tmp_path)


def test_what_is_no_model_is_named(tmp_path: Path, adapter: Path) -> None:
    with pytest.raises(GGUFError, match=r"of the kind adapter, not a model; .*--lora"):
        check_model(adapter)
    with pytest.raises(GGUFError, match="of the kind vocabulary"):
        check_model(write_vocabulary_only(tmp_path / "v.gguf"))


def test_a_split_model_is_all_its_parts(tmp_path: Path) -> None:
    weights = random_weights(len(spm_vocab().tokens), SHAPE, 0)
    first = write_model(tmp_path / "m.gguf", weights=weights, tensors_a_file=10)
    parts = shard_paths(first)
    assert len(parts) == 3 and all(part.exists() for part in parts)
    found = inspect(first)
    assert (found.files, len(found.tensors)) == (3, len(weights))
    check_model(first)
    with pytest.raises(GGUFError, match="part 2 of a split model; give its first part, m-00001-of-00003"):
        shard_paths(parts[1])
    parts[1].write_bytes(parts[1].read_bytes()[:-100])
    with pytest.raises(GGUFError, match=r"00002-of-00003\.gguf.*truncated"):
        check_model(first)
    parts[1].unlink()
    with pytest.raises(GGUFError, match=r"00002-of-00003\.gguf.*no such file"):
        check_model(first)


def test_a_part_whose_number_is_of_another_type_is_refused(tmp_path: Path) -> None:
    # llama.cpp reads split.no of the later parts as uint16 without a look, and stops the process.
    first = write_model(tmp_path / "m.gguf", tensors_a_file=10)
    second = shard_paths(first)[1]
    header = read_header(second)
    entry = entry_start("split.no", 4) + struct.pack("<I", 1)
    start = Rewrite(header, header.tensors, frozenset()).header({}, {"split.no": entry})
    second.write_bytes(start + second.read_bytes()[header.data_start :])
    with pytest.raises(GGUFError, match=r"00002-of-\d+\.gguf: has the split.no in another type"):
        check_model(first)


def test_an_adapter_must_fit_its_base(tmp_path: Path, spm_model: Path, adapter: Path) -> None:
    base = check_model(spm_model)
    assert check_adapter(adapter, base).text("adapter.type") == "lora"
    for path, said in (
        (write_adapter(tmp_path / "wide.gguf", shape=Shape(embd=32)), "width of 32, the model's .* has 16"),
        (write_adapter(tmp_path / "deep.gguf", shape=Shape(layers=3)), "adapts blk.2.attn_q.weight, which is no"),
        (write_adapter(tmp_path / "arch.gguf", arch="gemma"), "architecture gemma, the model is llama"),
        (spm_model, "is a full model, not a LoRA adapter"),
    ):
        with pytest.raises(GGUFError, match=said):
            check_adapter(path, base)


Edit = Callable[[dict[str, npt.NDArray[np.generic]]], object]


@pytest.mark.parametrize(
    ("alpha", "edit", "said"),
    [
        ("4", lambda t: None, "has the alpha '4'"),
        (float("nan"), lambda t: None, "has the alpha nan"),
        (4.0, lambda t: t.clear(), "adapts nothing"),
        (4.0, lambda t: t.update({f"{Q}.lora_b": np.ones((16, 3), np.float32)}), "no pair"),
        (4.0, lambda t: t.update({f"{Q}.lora_a": np.ones((2, 2, 16), np.float32)}), "no pair"),
        (4.0, lambda t: t.pop(f"{Q}.lora_b"), "no pair"),
        (4.0, lambda t: t.update({f"{Q}.lora_a": np.ones((2, 16), np.int32)}), "type I32, which is none for weights"),
        (4.0, lambda t: t.update({"blk.0.attn_norm.weight.lora_a": t[f"{Q}.lora_a"]}), "no weight matrix"),
    ],
)
def test_a_damaged_adapter_is_refused(tmp_path: Path, spm_model: Path, alpha: object, edit: Edit, said: str) -> None:
    tensors: dict[str, npt.NDArray[np.generic]] = {
        f"{Q}.lora_a": np.ones((2, 16), np.float32),
        f"{Q}.lora_b": np.ones((16, 2), np.float32),
    }
    edit(tensors)
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    (writer.add_string if isinstance(alpha, str) else writer.add_float32)("adapter.lora.alpha", alpha)
    for name, value in tensors.items():
        writer.add_tensor(name, value)
    finish(writer)
    with pytest.raises(GGUFError, match=said):
        check_adapter(tmp_path / "a.gguf", check_model(spm_model))


@pytest.mark.parametrize("shape", [Shape(ctx=0), Shape(ctx=2**31), Shape(layers=0)])
def test_sizes_that_cannot_be_are_refused(tmp_path: Path, shape: Shape) -> None:
    with pytest.raises(GGUFError, match="has the (context_length|block_count)"):
        check_model(write_model(tmp_path / "m.gguf", shape=shape))


def test_weights_of_a_type_for_no_weights_are_refused(tmp_path: Path) -> None:
    weights = random_weights(len(spm_vocab().tokens), SHAPE, 0)
    weights["blk.0.ffn_up.weight"] = weights["blk.0.ffn_up.weight"].astype(np.int32)
    with pytest.raises(GGUFError, match="blk.0.ffn_up.weight has the type I32"):
        check_model(write_model(tmp_path / "m.gguf", weights=weights))


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("blk.0.ffn_up.weight", "Q8_1", "ffn_up.weight has the type Q8_1"),
        ("blk.0.ffn_up.weight", "Q8_K", "ffn_up.weight has the type Q8_K"),
        ("blk.0.ffn_norm.weight", "Q8_0", "ffn_norm.weight has the type Q8_0"),
        ("output_norm.bias", "I32", "output_norm.bias has the type I32"),
        ("output_norm.bias", "Q4_0", "output_norm.bias has the type Q4_0"),
    ],
)
def test_a_type_that_llama_cpp_cannot_compute_with_there_is_refused(
    tmp_path: Path, name: str, kind: str, said: str
) -> None:
    weights = random_weights(len(spm_vocab().tokens), SHAPE, 0) | {"output_norm.bias": np.ones(16, np.float32)}
    header = check_model(write_model(tmp_path / "m.gguf", weights=weights))
    number = gguf.GGMLQuantizationType[kind]
    tensors = tuple(replace(t, type=number) if t.name == name else t for t in header.tensors)
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(Rewrite(header, tensors, frozenset()).header({}) + bytes(1 << 20))
    with pytest.raises(GGUFError, match=said):
        check_model(damaged)


def test_inspection_counts_what_is_there(spm_model: Path) -> None:
    found = inspect(spm_model)
    weights = random_weights(len(spm_vocab().tokens), SHAPE, 0)
    assert found.parameters == sum(value.size for value in weights.values())
    (group,) = found.quantisation
    assert (group.type, group.tensors, group.bytes) == ("F32", len(weights), 4 * found.parameters)
    assert found.tokenizer is not None
    assert (found.tokenizer.model, found.tokenizer.bos, found.tokenizer.add_bos) == ("llama", 1, True)
    assert found.tokenizer.vocabulary == len(spm_vocab().tokens)
    assert (found.context_length, found.heads, found.heads_kv) == (SHAPE.ctx, SHAPE.heads, SHAPE.heads_kv)
