from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny_model import Shape, finish, random_weights, spm_vocab, write_adapter, write_model

from rella_cpp import Engine
from rella_cpp.engine.segments import Prompt
from rella_gguf import ArrayInfo, GGUFError, InputError, check_model, read_header
from rella_gguf.layers import cut

SHAPE = Shape(layers=4)


def logits(path: Path) -> object:
    with Engine.from_gguf(path) as engine:
        return next(engine.logits([Prompt((np.arange(20, 40, dtype=np.int32),))])).tolist()


@pytest.mark.parametrize("tensors_a_file", [0, 10])
def test_a_cut_model_is_the_model_that_has_no_further_layers(tmp_path: Path, tensors_a_file: int) -> None:
    weights = random_weights(len(spm_vocab().tokens), SHAPE, 0)
    first = {name: value for name, value in weights.items() if not name.startswith(("blk.2.", "blk.3."))}
    source = write_model(tmp_path / "m.gguf", shape=SHAPE, weights=weights, tensors_a_file=tensors_a_file)
    expected = write_model(tmp_path / "two.gguf", shape=Shape(layers=2), weights=first)
    out = cut(source, tmp_path / "out.gguf", 2)
    assert logits(out) == logits(expected)  # to the bit: the same weights, and all metadata that counts
    made, wanted = read_header(out), read_header(expected)
    assert made.metadata == wanted.metadata and made.size == wanted.size
    assert {t.name: t.shape for t in made.tensors} == {t.name: t.shape for t in wanted.tensors}


def test_more_layers_than_there_are_is_all_of_them(tmp_path: Path) -> None:
    source = write_model(tmp_path / "m.gguf", tokenizer="bpe")
    out = cut(source, tmp_path / "out.gguf", 99)
    assert out.read_bytes() == source.read_bytes()  # this writer orders and pads as the `gguf` package does


def test_what_has_one_value_a_layer_is_cut_and_other_lists_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def per_layer(writer: gguf.GGUFWriter, count: int) -> None:
        writer.add_array("llama.attention.head_count_kv", [count] * SHAPE.layers)
        writer.add_array("llama.rope.scales", [0.5, 0.25])
        writer.add_array("other.four", [1, 2, 3, 4])

    monkeypatch.setattr(gguf.GGUFWriter, "add_head_count_kv", per_layer)
    source = write_model(tmp_path / "m.gguf", shape=SHAPE)
    out = cut(source, tmp_path / "out.gguf", 3)
    metadata = check_model(out).metadata
    lengths = [metadata[f"{name}"] for name in ("llama.attention.head_count_kv", "llama.rope.scales", "other.four")]
    assert [info.length for info in lengths if isinstance(info, ArrayInfo)] == [3, 2, 4]
    assert gguf.GGUFReader(out).fields["llama.attention.head_count_kv"].contents() == [SHAPE.heads_kv] * 3
    logits(out)  # llama.cpp refuses a list of another length than its layers


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    source = write_model(tmp_path / "m.gguf")
    other = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(other, "mamba")
    writer.add_tensor("blk.0.x.weight", np.ones((4, 4), np.float32))
    finish(writer)
    for path, out, layers, said in (
        (source, "out.gguf", 0, "layers is 0"),
        (source, "m.gguf", 1, "is there already"),
        (other, "out.gguf", 1, "a mamba model cannot be cut"),
        (write_adapter(tmp_path / "a.gguf"), "out.gguf", 1, "of the kind adapter"),
        (source, "none/out.gguf", 1, "make its folder first"),
    ):
        with pytest.raises(InputError, match=said):
            cut(path, tmp_path / out, layers)
    source.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(GGUFError, match="truncated"):
        cut(source, tmp_path / "out.gguf", 1)
    assert not list(tmp_path.glob("out*"))
