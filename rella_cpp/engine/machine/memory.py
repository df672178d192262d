"""What a context's keys and values take, and whether this process may have that much.

Linux lets a process ask for more memory than there is and kills it when it fills what it got; so it is asked before.
"""

from collections.abc import Callable

from rella_cpp.engine.machine.cores import usable_memory
from rella_cpp.errors import EngineError
from rella_gguf.header import Header
from rella_gguf.tensor_types import NUMBERS, tensor_type

_SMALLER = {"f32": "f16", "f16": "q8_0", "bf16": "q8_0", "q8_0": "q4_0"}
_PADDED = 256
"""llama.cpp rounds a context up to a multiple of this."""
_OTHERWISE = ("attention.kv_lora_rank", "attention.shared_kv_layers", "ssm.inner_size")
"""Models that have one of these keep less in some of their layers."""


def check_room(header: Header, n_ctx: int, kv_type: str, *, room: Callable[[], int | None] = usable_memory) -> None:
    """Refuse a context whose keys and values do not fit this process's memory (not a GPU's).

    Parameters
    ----------
    header
        The model's.
    n_ctx
        Tokens that are kept, of all sequences together.
    kv_type
        Their type.
    room
        Says how many bytes there are, if that can be told.

    Raises
    ------
    EngineError
        They do not; it says which setting to lower.

    """
    need, there = cache_bytes(header, n_ctx, kv_type), room()
    if need is None or there is None or need <= there:
        return
    fitting = there * n_ctx // need // _PADDED * _PADDED
    raise EngineError(
        f"the keys and values of {n_ctx:,} tokens take {_megabytes(need)} in {kv_type}, and this process has "
        f"{_megabytes(there)} left: lower --ctx{f' (below {fitting:,})' if fitting else ''}"
        + _or_a_smaller_type(header, n_ctx, kv_type, there)
        + ("" if fitting else ", free memory, or raise its limit (ulimit -v)")
    )


def no_context(header: Header, n_ctx: int, kv_type: str, reason: str) -> EngineError:
    """Make the error for a context that llama.cpp could not make; see `check_room`."""
    need = cache_bytes(header, n_ctx, kv_type)
    takes = "" if need is None else f"its keys and values take {_megabytes(need)} in {kv_type}: "
    advice = f"lower --ctx{_or_a_smaller_type(header, n_ctx, kv_type)}"
    return EngineError(f"no context of {n_ctx:,} tokens could be made ({reason}): {takes}{advice}")


def cache_bytes(header: Header, n_ctx: int, kv_type: str) -> int | None:
    """Count the bytes of the keys and values of `n_ctx` tokens; None for a model that does not keep all in all layers.

    Each of the layers keeps, for a token, a key and a value of each head.
    """
    arch = header.architecture
    layers, heads, width = (
        header.integer(f"{arch}.{key}") for key in ("block_count", "attention.head_count", "embedding_length")
    )
    groups = header.metadata.get(f"{arch}.attention.head_count_kv", heads)
    kind = tensor_type(NUMBERS[kv_type.upper()])
    if not layers or not heads or not width or not isinstance(groups, int) or kind is None:
        return None
    if any(f"{arch}.{key}" in header.metadata for key in _OTHERWISE):
        return None
    sizes = (header.integer(f"{arch}.attention.{side}_length") or width // heads for side in ("key", "value"))
    return layers * n_ctx * sum(groups * size * kind.size // kind.block for size in sizes)


def _or_a_smaller_type(header: Header, n_ctx: int, kv_type: str, room: int | None = None) -> str:
    """Name the next smaller type that fits."""
    while smaller := _SMALLER.get(kv_type):
        need = cache_bytes(header, n_ctx, smaller)
        if need is None or room is None or need <= room:
            return f", or take --kv-type {smaller}" + ("" if need is None else f" ({_megabytes(need)})")
        kv_type = smaller
    return ""


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e6:.2g} MB"
