"""Which model gave a result: its file by name and fingerprint, what was applied to it, how it was run."""

from dataclasses import asdict, dataclass

from rella_cpp.engine.engine import Engine
from rella_cpp.engine.native import build_info
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress


@dataclass(frozen=True, slots=True)
class AppliedAdapter:
    """A LoRA adapter that took part in a score: file name, SHA-256 of the file, scale."""

    name: str
    fingerprint: str
    scale: float


@dataclass(frozen=True, slots=True)
class AppliedSoftPrompt:
    """A soft prompt that took part in a score: file name, SHA-256 of its float32 numbers, and how many positions."""

    name: str
    fingerprint: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model gave a result: the GGUF's own name, the SHA-256 of its file(s), and what took part.

    That is the adapters applied, the soft prompt and the head's SHA-256.
    """

    name: str
    fingerprint: str
    adapters: tuple[AppliedAdapter, ...] = ()
    head: str | None = None
    soft: AppliedSoftPrompt | None = None

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object; `adapters`, `soft` and `head` only where there are some."""
        identity: dict[str, object] = {"name": self.name, "fingerprint": self.fingerprint}
        if self.adapters:
            identity["adapters"] = [asdict(adapter) for adapter in self.adapters]
        if self.soft is not None:
            identity["soft"] = asdict(self.soft)
        if self.head is not None:
            identity["head"] = self.head
        return identity


class EngineIdentity:
    """What tells a loaded model's results from those of others.

    Parameters
    ----------
    engine
        The model.
    cache
        Where the file's fingerprint is kept: the first call reads the whole file.

    Attributes
    ----------
    progress
        Called while the file is read.

    """

    def __init__(self, engine: Engine, cache: Cache) -> None:
        self._engine, self._cache = engine, cache
        self.progress: Progress = no_progress

    @property
    def base(self) -> ModelIdentity:
        """The model itself, adapters set aside."""
        header = self._engine.header
        name = header.text("general.name") or header.architecture
        return ModelIdentity(name, self._cache.fingerprint(header.path, self.progress))

    @property
    def words(self) -> str:
        """What bits depend on besides the model's file and the text: versions and settings, in words."""
        s = self._engine.settings
        words = f"llama-cpp-python {build_info().version} gpu={s.gpu_layers} flash={s.flash_attn} kv={s.kv_type}"
        return words if s.extra_bufts else f"{words} extra_bufts=off"

    @property
    def key(self) -> str:
        """The same, and whether the engine is exact."""
        return self.words + (" exact" if self._engine.settings.exact else "")
