"""Which model gave a result: its file by name and fingerprint, what was applied to it, how it was run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rella_cpp.engine.engine import Engine
from rella_cpp.engine.native import build_info
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress
from rella_gguf.lineage import Origin, origins


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
class OpenedBundle:
    """The bundle that a model came from.

    Attributes
    ----------
    name
        What it is called.
    measured
        What it was measured at, in one line; "": not at all.
    wording
        The fingerprint of the words that it was made for; "": any.

    """

    name: str
    measured: str = ""
    wording: str = ""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model gave a result: the GGUF's own name, the SHA-256 of its file(s), and what took part.

    That is the adapters applied, the soft prompt and the head's SHA-256. `origins` are the models that the file says it
    was made from, `bundle` is what brought it all; they are no part of the identity.
    """

    name: str
    fingerprint: str
    adapters: tuple[AppliedAdapter, ...] = ()
    head: str | None = None
    soft: AppliedSoftPrompt | None = None
    origins: tuple[Origin, ...] = field(default=(), compare=False)
    bundle: OpenedBundle | None = field(default=None, compare=False)

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object; `adapters`, `soft`, `head` and the `bundle`'s name only where there are some."""
        identity: dict[str, object] = {"name": self.name, "fingerprint": self.fingerprint}
        if self.adapters:
            identity["adapters"] = [asdict(adapter) for adapter in self.adapters]
        if self.soft is not None:
            identity["soft"] = asdict(self.soft)
        if self.head is not None:
            identity["head"] = self.head
        if self.bundle is not None:
            identity["bundle"] = self.bundle.name
        return identity


def descends(model: Mapping[str, Any], ancestor: Mapping[str, Any], origins: Sequence[Origin]) -> bool:
    """Tell whether one model is another, or was made from it, and scores as that does but for rounding.

    So does one that was quantized from it; and one that adapters were merged into, where the other has them applied.
    Names of files do not count.

    Parameters
    ----------
    model, ancestor
        Identities, as `ModelIdentity.as_dict` gives them.
    origins
        What the first was made from.

    """
    if _beside(model) != _beside(ancestor):
        return False
    try:
        wanted, own = (ancestor["fingerprint"], _adapters(ancestor)), _adapters(model)
    except (KeyError, TypeError):  # one is out of a file
        return False
    same = (Origin(model["fingerprint"]), *origins)
    return any((each.fingerprint, sorted([*each.adapters, *own])) == wanted for each in same)


def _adapters(model: Mapping[str, Any]) -> list[tuple[str, float]]:
    return sorted((each["fingerprint"], each["scale"]) for each in model.get("adapters", ()))


def _beside(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what takes part besides the file and the adapters."""
    soft = model.get("soft")
    unnamed = {name: value for name, value in soft.items() if name != "name"} if isinstance(soft, Mapping) else soft
    return {"soft": unnamed, "head": model.get("head")}


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
        return ModelIdentity(name, self._cache.fingerprint(header.path, self.progress), origins=origins(header))

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
