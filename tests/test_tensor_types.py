import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from rella_gguf.tensor_types import NUMBERS, tensor_type


@pytest.mark.parametrize("kind", GGMLQuantizationType)
def test_types_are_those_of_the_gguf_package(kind: GGMLQuantizationType) -> None:
    assert tensor_type(int(kind)) == (kind.name, *GGML_QUANT_SIZES[kind])
    assert NUMBERS.get(kind.name, kind) == kind


def test_a_type_that_nobody_knows_is_none() -> None:
    assert tensor_type(4) is None  # Q4_2, which llama.cpp gave up
    assert tensor_type(9999) is None
