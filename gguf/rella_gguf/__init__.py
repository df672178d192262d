"""The GGUF file format: read, check, inspect, quantise a file; convert adapters and merge them. Loads no model."""

from rella_gguf.checks import check_adapter, check_complete, check_model, shard_paths
from rella_gguf.errors import GGUFError, InputError, RellaError
from rella_gguf.header import ArrayInfo, Header, MetadataValue, TensorInfo, read_header
from rella_gguf.inspection import Inspection, Lora, TensorGroup, Tokenizer, inspect, tuning_record
from rella_gguf.lora.adapters import gguf_adapters
from rella_gguf.lora.conversion import Conversion, convert_adapter
from rella_gguf.lora.merging import Merge, MergedTensor, merge_adapters
from rella_gguf.lora.peft import PeftAdapter, PeftPair, read_peft
from rella_gguf.lora.peft_config import PeftConfig
from rella_gguf.lora.planning import MERGE_TYPES, Change, MergePlan, plan_merge
from rella_gguf.quantizing import Quantization, quantize

__all__ = [
    "MERGE_TYPES",
    "ArrayInfo",
    "Change",
    "Conversion",
    "GGUFError",
    "Header",
    "InputError",
    "Inspection",
    "Lora",
    "Merge",
    "MergePlan",
    "MergedTensor",
    "MetadataValue",
    "PeftAdapter",
    "PeftConfig",
    "PeftPair",
    "Quantization",
    "RellaError",
    "TensorGroup",
    "TensorInfo",
    "Tokenizer",
    "check_adapter",
    "check_complete",
    "check_model",
    "convert_adapter",
    "gguf_adapters",
    "inspect",
    "merge_adapters",
    "plan_merge",
    "quantize",
    "read_header",
    "read_peft",
    "shard_paths",
    "tuning_record",
]
