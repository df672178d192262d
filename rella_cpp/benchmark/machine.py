"""What a benchmark ran on: without it, a rate says nothing."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rella_cpp.engine.engine import Engine
from rella_cpp.engine.machine.cores import usable_cores
from rella_cpp.engine.machine.processor import processor
from rella_cpp.engine.native import build_info
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.storage.versions import library_versions
from rella_gguf import inspect
from rella_gguf.quantization import main_type


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine: its processor by name, the physical cores that this process may use, memory in bytes, the system."""

    cpu: str
    cores: int
    memory: int | None
    system: str


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    memory = None
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(processor().name, usable_cores(), memory, platform.platform())


def surroundings(engine: Engine, path: str | Path, fingerprint: str) -> dict[str, dict[str, object]]:
    """Say what rates depend on besides the prompts, as JSON: machine, build, versions, model, settings.

    Parameters
    ----------
    engine
        The loaded model.
    path
        Its file; only the file's name is told.
    fingerprint
        The file's SHA-256.

    """
    build, found = build_info(), inspect(path)
    return {
        "machine": asdict(this_machine()),
        "build": {"offload": build.offload, "backends": {name: list(flags) for name, flags in build.backends.items()}},
        "versions": {"python": platform.python_version(), **library_versions()},
        "model": {
            "name": found.name or found.architecture,
            "file": Path(path).name,
            "quantisation": main_type(found.quantisation),
            "bytes": found.file_bytes,
            "parameters": found.parameters,
            "fingerprint": fingerprint,
        },
        "settings": resolved(engine.settings, engine.n_ctx),
    }


def describe(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Write what `surroundings` returns for a person: a line each."""
    machine, build, model = facts["machine"], facts["build"], facts["model"]
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    memory = f", {machine['memory'] / 2**30:,.0f} GiB" if machine["memory"] else ""
    size = f"{model['bytes'] / 1e6:,.0f} MB"
    return {
        "machine": f"{machine['cpu']}, {cores}{memory}, {machine['system']}",
        "build": "; ".join(f"{name} {' '.join(flags)}" for name, flags in build["backends"].items()),
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "model": f"{model['name']} {model['quantisation']} ({model['fingerprint'][:12]}), {size}",
        "settings": ", ".join(f"{name} {value}" for name, value in facts["settings"].items()),
    }


def resolved(settings: EngineSettings, n_ctx: int) -> dict[str, object]:
    """Return settings as JSON, with the numbers that stand for what was left open."""
    return {**asdict(settings), "ctx": n_ctx, "threads": settings.threads or usable_cores()}
