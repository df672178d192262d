"""The processor that this process runs on: its name and its features."""

import hashlib
import platform
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

_ROOT = Path("/")
_FEATURES = ("flags", "features", "isa")
"""What /proc/cpuinfo calls them: x86; ARM, s390x and LoongArch; RISC-V."""


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor: its name, and its features in the kernel's words, sorted; none where the system tells of none."""

    name: str
    features: tuple[str, ...]

    @property
    def has_amx(self) -> bool:
        """Whether it multiplies tiles of bytes (Intel AMX), which is what llama.cpp uses for quantized weights."""
        return {"amx_tile", "amx_int8"} <= set(self.features)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of name and features, in hex."""
        return hashlib.sha256("\n".join((self.name, *self.features)).encode()).hexdigest()


def processor(root: Path = _ROOT) -> Processor:
    """Describe the processor: on Linux from the first entry of /proc/cpuinfo, elsewhere its name alone.

    Parameters
    ----------
    root
        Where `proc` is mounted.

    """
    facts = _first_entry(root / "proc/cpuinfo")
    features = next((facts[key] for key in _FEATURES if key in facts), "")
    return Processor(_name(facts), tuple(sorted(set(features.split()))))


def _first_entry(path: Path) -> dict[str, str]:
    """Read the facts of the first processor of several; a machine with hundreds takes long to write them all."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            pairs = [line.partition(":") for line in takewhile(str.strip, lines)]
    except OSError:
        return {}
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _name(facts: dict[str, str]) -> str:
    """Name the processor as well as the system can: many ARM kernels know only the numbers of its maker."""
    numbers = [facts[key] for key in ("cpu implementer", "cpu part") if key in facts]
    known = facts.get("model name") or " ".join([platform.machine(), *numbers] if numbers else [])
    return known or _brand() or platform.processor() or platform.machine() or "unknown"


def _brand() -> str:
    """Ask macOS, where Python knows only "arm" or "i386"."""
    if platform.system() != "Darwin":
        return ""
    import subprocess  # not needed elsewhere

    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
