"""A GGUF may align its tensors otherwise than to 32 bytes: such a model loads, and is quantised and merged."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny_model import Shape, write_adapter, write_model

from rella_cpp import Engine
from rella_cpp.engine.segments import Prompt
from rella_gguf import check_model, inspect, mappable, merge_adapters, quantize, read_header

SHAPE = Shape(embd=32)


def aligned(path: Path, alignment: int, name: str = "Tiny") -> Path:
    """Write a model of which the data section begins as the alignment wants, and no further bits."""
    return write_model(path, shape=SHAPE, name=name, change=lambda writer: writer.add_custom_alignment(alignment))


def logits(path: Path) -> "np.typing.NDArray[np.float32]":
    with Engine.from_gguf(path) as engine:
        prompt = Prompt((np.array([1, 300, 310, 320], np.int32),))
        return next(iter(engine.logits([prompt])))


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Give a model that is aligned to 16 and, at 32, to nothing: llama.cpp stops the process when it maps it."""
    for length in range(32):
        path = aligned(tmp_path / "odd.gguf", 16, name="T" * (length + 1))
        if read_header(path).data_start % 32:
            return path
    raise AssertionError("no such file could be written")


def test_a_file_aligned_to_16_bytes_gives_the_same_bits(tmp_path: Path, odd: Path) -> None:
    usual = write_model(tmp_path / "usual.gguf", shape=SHAPE)
    assert mappable(check_model(usual)) and not mappable(check_model(odd))
    assert np.array_equal(logits(odd), logits(usual))


def test_it_is_inspected_quantised_and_merged(tmp_path: Path, odd: Path) -> None:
    assert len(inspect(odd).tensors) == len(gguf.GGUFReader(odd).tensors)
    quantised = Path(quantize(odd, tmp_path / "q.gguf", "Q8_0").out)
    assert read_header(quantised).alignment == 32 and logits(quantised).shape == logits(odd).shape
    merge_adapters(odd, [(write_adapter(tmp_path / "a.gguf", shape=SHAPE), 1.0)], tmp_path / "merged.gguf")
    assert read_header(tmp_path / "merged.gguf").alignment == 16
    assert not np.array_equal(logits(tmp_path / "merged.gguf"), logits(odd))


@pytest.mark.parametrize("alignment", [8, 128, 4096])
def test_other_powers_of_two_load_and_are_quantised(tmp_path: Path, alignment: int) -> None:
    path = aligned(tmp_path / "m.gguf", alignment)
    quantised = Path(quantize(path, tmp_path / "q.gguf", "Q8_0").out)
    # Read back by gguf's own reader too, which finds the data where the promised alignment puts it.
    assert {t.tensor_type for t in gguf.GGUFReader(quantised).tensors} > {gguf.GGMLQuantizationType.Q8_0}
    assert np.allclose(logits(quantised), logits(path), atol=0.3)
