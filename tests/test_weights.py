import gguf
import numpy as np
import pytest
from lora_files import normal

from rella_gguf.native import quantise_rows, requires_imatrix
from rella_gguf.weights import NEEDS_IMATRIX, can_encode, ggml_type, row_bytes


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16", "F16", "MXFP4", "TQ2_0"])
def test_libggml_writes_what_gguf_writes(kind: str) -> None:
    # Two writers of one format, in C and in numpy; and these types, read and written again, are the same bytes.
    rows = normal(8, 512)
    stored = quantise_rows(rows, int(ggml_type(kind)), row_bytes(kind, 512))
    np.testing.assert_array_equal(stored, gguf.quants.quantize(rows, ggml_type(kind)).view(np.uint8))
    again = np.ascontiguousarray(gguf.quants.dequantize(stored, ggml_type(kind)))
    np.testing.assert_array_equal(quantise_rows(again, int(ggml_type(kind)), row_bytes(kind, 512)), stored)


def test_no_type_that_libggml_stops_on_is_ever_given_to_it() -> None:
    for kind in gguf.GGMLQuantizationType:
        if can_encode(kind.name):
            assert not requires_imatrix(int(kind)) and kind.name not in NEEDS_IMATRIX
            if kind.name not in ("F32", "F16", "BF16"):
                quantise_rows(np.zeros((1, 512), np.float32), int(kind), row_bytes(kind.name, 512))
    with pytest.raises(ValueError, match="do not fit"):
        quantise_rows(np.full((1, 32), 1e30, np.float32), int(ggml_type("Q8_0")), row_bytes("Q8_0", 32))
