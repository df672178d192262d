"""Which model judged: its file by name and fingerprint, and what was applied to it."""

from dataclasses import asdict, dataclass


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
    """Which model judged: the GGUF's own name, the SHA-256 of its file(s), and what took part.

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
