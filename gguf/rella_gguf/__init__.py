"""The GGUF file format: read a header, check a file, inspect it. Loads no model and imports nothing heavy."""

from rella_gguf.checks import check_adapter, check_complete, check_model, shard_paths
from rella_gguf.errors import GGUFError, InputError, RellaError
from rella_gguf.header import ArrayInfo, Header, MetadataValue, TensorInfo, read_header
from rella_gguf.inspection import Inspection, TensorGroup, Tokenizer, inspect

__all__ = [
    "ArrayInfo",
    "GGUFError",
    "Header",
    "InputError",
    "Inspection",
    "MetadataValue",
    "RellaError",
    "TensorGroup",
    "TensorInfo",
    "Tokenizer",
    "check_adapter",
    "check_complete",
    "check_model",
    "inspect",
    "read_header",
    "shard_paths",
]
