"""How a model is loaded and run."""

from dataclasses import dataclass
from typing import Literal, get_args

from rella_cpp.errors import InputError

FlashAttention = Literal["auto", "on", "off"]
KVType = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]

DEFAULT_CONTEXT = 4096
MAX_THREADS = 512
"""GGML_MAX_N_THREADS; llama.cpp crashes on more."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of an engine.

    Attributes
    ----------
    ctx
        Context in tokens; None: the smaller of the model's training context and 4096.
    threads
        Threads to compute with; None: the physical cores that this process may use.
    gpu_layers
        Layers to put on a GPU, where the build has one; -1: all.
    flash_attn
        Flash attention: `auto` lets llama.cpp decide.
    kv_type
        Type of the key-value cache. A quantized one needs flash attention.
    exact
        A prompt gives the same bits alone or in a batch: nothing is shared but whole segments, nothing is packed.
    extra_bufts
        llama.cpp's `use_extra_bufts`: weights laid out anew for this processor (repacking, AMX) where that is faster.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    ctx: int | None = None
    threads: int | None = None
    gpu_layers: int = -1
    flash_attn: FlashAttention = "auto"
    kv_type: KVType = "f16"
    exact: bool = False
    extra_bufts: bool = True

    def __post_init__(self) -> None:
        """Check every value."""
        if self.ctx is not None and self.ctx < 1:
            raise InputError(f"ctx is {self.ctx}", remedy="give at least 1 token")
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise InputError(f"threads is {self.threads}", remedy=f"give 1 to {MAX_THREADS}")
        if self.gpu_layers < -1:
            raise InputError(f"gpu-layers is {self.gpu_layers}", remedy="give 0 or more, or -1 for all")
        for name, value, known in (
            ("flash-attn", self.flash_attn, get_args(FlashAttention)),
            ("kv-type", self.kv_type, get_args(KVType)),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}", remedy=f"one of {', '.join(known)}")
        if self.kv_type.startswith("q") and self.flash_attn == "off":
            raise InputError(
                f"kv-type {self.kv_type} needs flash attention",
                remedy="leave out --flash-attn off, or take f16",
            )
