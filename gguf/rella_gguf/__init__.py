"""The GGUF file format: read, check, inspect, quantise a file; convert adapters and merge them. Loads no model."""

import typing

if typing.TYPE_CHECKING:  # for readers and type checkers; the same again below
    from rella_gguf.checks import check_adapter, check_complete, check_model, mappable, shard_paths
    from rella_gguf.errors import GGUFError, InputError, RellaError
    from rella_gguf.header import ArrayInfo, Header, MetadataValue, TensorInfo, read_header
    from rella_gguf.inspection import Inspection, Lora, Soft, TensorGroup, Tokenizer, inspect, tuning_record
    from rella_gguf.judges import check_judge
    from rella_gguf.lora.adapters import gguf_adapters
    from rella_gguf.lora.conversion import Conversion, convert_adapter
    from rella_gguf.lora.merging import Merge, MergedTensor, merge_adapters
    from rella_gguf.lora.peft import PeftAdapter, PeftPair, read_peft
    from rella_gguf.lora.peft_config import PeftConfig
    from rella_gguf.lora.planning import MERGE_TYPES, Change, MergePlan, plan_merge
    from rella_gguf.quantizing import Quantization, quantize
    from rella_gguf.soft.conversion import SoftConversion, convert_soft_prompt
    from rella_gguf.soft.prompts import SoftPrompt, check_soft_prompt, read_soft_prompt
else:
    import rella_gguf.surface

    __getattr__, __dir__ = rella_gguf.surface.public(
        __name__,
        {
            "rella_gguf.checks": "check_adapter check_complete check_model mappable shard_paths",
            "rella_gguf.errors": "GGUFError InputError RellaError",
            "rella_gguf.header": "ArrayInfo Header MetadataValue TensorInfo read_header",
            "rella_gguf.inspection": "Inspection Lora Soft TensorGroup Tokenizer inspect tuning_record",
            "rella_gguf.judges": "check_judge",
            "rella_gguf.lora.adapters": "gguf_adapters",
            "rella_gguf.lora.conversion": "Conversion convert_adapter",
            "rella_gguf.lora.merging": "Merge MergedTensor merge_adapters",
            "rella_gguf.lora.peft": "PeftAdapter PeftPair read_peft",
            "rella_gguf.lora.peft_config": "PeftConfig",
            "rella_gguf.lora.planning": "MERGE_TYPES Change MergePlan plan_merge",
            "rella_gguf.quantizing": "Quantization quantize",
            "rella_gguf.soft.conversion": "SoftConversion convert_soft_prompt",
            "rella_gguf.soft.prompts": "SoftPrompt check_soft_prompt read_soft_prompt",
        },
    )

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
    "Soft",
    "SoftConversion",
    "SoftPrompt",
    "TensorGroup",
    "TensorInfo",
    "Tokenizer",
    "check_adapter",
    "check_complete",
    "check_judge",
    "check_model",
    "check_soft_prompt",
    "convert_adapter",
    "convert_soft_prompt",
    "gguf_adapters",
    "inspect",
    "mappable",
    "merge_adapters",
    "plan_merge",
    "quantize",
    "read_header",
    "read_peft",
    "read_soft_prompt",
    "shard_paths",
    "tuning_record",
]
