"""Refuse a model's numbers that llama.cpp has no error for: it stops the process on them."""

import math
from collections.abc import Iterator

from rella_gguf.arrays import numbers
from rella_gguf.errors import GGUFError
from rella_gguf.header import Header

_MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS
_LONE_EXPERT = ("hunyuan-dense", "hunyuan_vl")
"""Architectures of which llama.cpp takes a single expert for none."""
_SCALINGS = ("none", "linear", "yarn", "longrope")
_EPSILONS = (
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.group_norm_epsilon",
    "hyper_connection.epsilon",
)
_WHOLE_HEADS = frozenset(
    "apertus arcee baichuan dots1 ernie4_5 exaone exaone4 granite grok internlm2 llama4 mellum mistral3 olmo olmo2 "
    "olmoe orion qwen2 qwen2moe qwen3 qwen3moe seed_oss smallthinker smollm3 starcoder2 xverse".split()
)
"""Architectures of which llama.cpp asserts that all of a head is rotated, and that keys are as long as values."""


def check_hyperparameters(header: Header) -> None:
    """Check the numbers of a model that llama.cpp would stop the process on.

    Raises
    ------
    GGUFError
        One of them cannot be.

    """
    for findings in (_experts, _next_token_layers, _epsilons, _scaling, _heads, _rotated):
        for finding in findings(header):
            raise GGUFError(finding, source=header.path, remedy="the file is damaged, or was converted wrongly")


def _experts(header: Header) -> Iterator[str]:
    experts, used = _number(header, "expert_count"), max(_numbers(header, "expert_used_count"), default=0)
    groups, used_groups = _number(header, "expert_group_count"), _number(header, "expert_group_used_count")
    if experts <= 1 and header.architecture in _LONE_EXPERT:
        return
    if not 0 <= experts <= _MAX_EXPERTS:
        yield f"has the expert_count {experts:g}, where {_MAX_EXPERTS} are the most"
    if experts and not 1 <= used <= experts:
        yield f"has the expert_used_count {used:g}, and {experts:g} experts"
    if not experts and used:
        yield f"has the expert_used_count {used:g}, and no experts"
    if groups and groups >= experts:
        yield f"has the expert_group_count {groups:g}, and {experts:g} experts"
    if groups > 1 and (experts % groups or not 1 <= used_groups < groups):
        yield f"takes {used_groups:g} of {groups:g} groups of {experts:g} experts"


def _next_token_layers(header: Header) -> Iterator[str]:
    ahead, layers = _number(header, "nextn_predict_layers"), _number(header, "block_count")
    if ahead >= layers > 0:
        yield f"has the nextn_predict_layers {ahead:g} of {layers:g} layers: none is left to answer"


def _epsilons(header: Header) -> Iterator[str]:
    for key in _EPSILONS:
        for value in _numbers(header, key):
            if not (value >= 0 and math.isfinite(value)):
                yield f"has the {key} {value:g}; it is a small number, not below 0"


def _scaling(header: Header) -> Iterator[str]:
    key = f"{header.architecture}.rope.scaling.type"
    if key in header.metadata and header.text(key) not in _SCALINGS:
        yield f"has the rope.scaling.type {header.metadata[key]!r}; one of {', '.join(_SCALINGS)} can be"


def _heads(header: Header) -> Iterator[str]:
    """Find layers whose heads do not share their keys evenly; a layer without attention has 0 of either."""
    heads, groups = _numbers(header, "attention.head_count"), _numbers(header, "attention.head_count_kv")
    if len(heads) != len(groups):  # one number stands for all layers
        longer = max(len(heads), len(groups))
        heads, groups = (values * longer if len(values) == 1 else values for values in (heads, groups))
    for count, shared in zip(heads, groups, strict=False):
        if count > 0 and shared > 0 and count % shared:
            yield f"has the attention.head_count {count:g}, which is no multiple of the head_count_kv {shared:g}"


def _rotated(header: Header) -> Iterator[str]:
    """Find dimensions to rotate that a head does not have."""
    heads, width = _numbers(header, "attention.head_count"), _number(header, "embedding_length")
    rotated = _numbers(header, "rope.dimension_count")
    if not heads or heads[0] <= 0 or _number(header, "attention.kv_lora_rank"):
        return
    size = width // heads[0]
    key, value = (_number(header, f"attention.{side}_length", size) for side in ("key", "value"))
    turned = rotated[0] if rotated else key
    if header.architecture in _WHOLE_HEADS and not key == value == turned:
        yield f"has the rope.dimension_count {turned:g} for heads of {key:g} (keys) and {value:g} (values)"
    if rotated and (not 1 <= turned <= key or turned % 2):
        yield f"has the rope.dimension_count {turned:g}, and heads of {key:g}"


def _numbers(header: Header, key: str) -> tuple[float, ...]:
    return numbers(header, f"{header.architecture}.{key}")


def _number(header: Header, key: str, default: float = 0) -> float:
    return next(iter(_numbers(header, key)), default)
