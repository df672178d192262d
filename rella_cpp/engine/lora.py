"""LoRA adapters beside a model: loaded once each, applied as each call wants."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rella_cpp.engine import native
from rella_cpp.errors import EngineError, GGUFError, InputError
from rella_gguf import Header, check_adapter


class Adapter(NamedTuple):
    """A LoRA adapter (GGUF) and its scale, a factor on top of the adapter's own alpha / rank.

    With the `fingerprint` of the file, another file that takes its place is another adapter.
    """

    path: Path
    scale: float = 1.0
    fingerprint: str = ""


class LoadedAdapters:
    """The adapters that a context has seen.

    Parameters
    ----------
    lib
        The llama_cpp module.
    model, context
        Its `llama_model` and `llama_context` pointers.
    header
        The model's metadata.

    """

    def __init__(self, lib: Any, model: Any, context: Any, header: Header) -> None:
        self._lib, self._model, self._context, self._header = lib, model, context, header
        self._handles: dict[tuple[Path, str], Any] = {}
        self._applied: tuple[Adapter, ...] = ()

    def load(self, adapters: Sequence[Adapter]) -> None:
        """Check adapters and load those that are not there yet; see `Engine.load_adapters`."""
        for number, (path, scale, _) in enumerate(adapters):
            if not math.isfinite(scale):
                raise InputError(f"the scale is {scale}", source=path, remedy="give a finite number, such as 1")
            if any(path == other for other, _, _ in adapters[:number]):
                raise InputError("is named twice as an adapter", source=path, remedy="name it once, with one scale")
        for path, _, fingerprint in adapters:
            if (path, fingerprint) not in self._handles:
                self._handles[path, fingerprint] = self._load(path)

    def apply(self, adapters: tuple[Adapter, ...]) -> bool:
        """Let these adapters take part in what is decoded next; tell whether others did before."""
        if adapters == self._applied:
            return False
        self.load(adapters)
        lib, count = self._lib, len(adapters)
        handles = (lib.llama_adapter_lora_p_ctypes * count)(
            *(self._handles[path, fingerprint] for path, _, fingerprint in adapters)
        )
        scales = (lib.ctypes.c_float * count)(*(scale for _, scale, _ in adapters))
        if lib.llama_set_adapters_lora(self._context, handles, count, scales) != 0:
            raise EngineError(f"llama.cpp cannot apply the adapters ({native.reason()})")
        self._applied = adapters
        return True

    def _load(self, path: Path) -> Any:
        check_adapter(path, self._header)
        native.recent_errors.clear()
        handle = self._lib.llama_adapter_lora_init(self._model, os.fsencode(path))
        if not handle:
            raise GGUFError(
                f"llama.cpp cannot load the adapter ({native.reason()})", source=path, remedy="convert it again"
            )
        return handle
