"""What this process may use of its machine: cores and memory, within the limits of its control group."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from rella_cpp.engine.machine.address_space import address_space_left

_ROOT = Path("/")
_WORK = 128 << 20
"""Part of a limited address space that is left to llama.cpp's graphs: without it ggml stops the process."""


def usable_cores(root: Path = _ROOT) -> int:
    """Count the physical cores that this process may use.

    On Linux from the process's affinity, the kernel's topology and the control group's limit; elsewhere as joblib
    (which scikit-learn brings, and which takes long to import) counts them.

    Parameters
    ----------
    root
        Where `proc` and `sys` are mounted.

    """
    if not hasattr(os, "sched_getaffinity"):
        from joblib import cpu_count

        return max(1, int(cpu_count(only_physical_cores=True)))
    cores = len({_core(cpu, root) for cpu in os.sched_getaffinity(0)})
    return max(1, min([cores, *(math.ceil(limit) for limit in _cpu_limits(root))]))


def usable_memory(root: Path = _ROOT) -> int | None:
    """Count the bytes that this process may fill; None where that cannot be told.

    On Linux what the kernel thinks is available, swap included, within the limits of the control group and of the
    process's address space (`ulimit -v`); elsewhere the machine's memory.
    """
    available = _kilobytes(root / "proc/meminfo", "MemAvailable")
    if available is not None:
        swap = _kilobytes(root / "proc/meminfo", "SwapFree") or 0
        left = address_space_left(root)
        return min([available + swap, *_memory_limits(root), *([] if left is None else [max(0, left - _WORK)])])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _core(cpu: int, root: Path) -> tuple[str, str]:
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    package, core = _read(topology / "physical_package_id"), _read(topology / "core_id")
    return (package, core) if core else ("", str(cpu))  # no sysfs, as in some containers: a processor counts as a core


def _cpu_limits(root: Path) -> Iterator[float]:
    for folder in _groups("cpu", root):
        quota, period = (*_read(folder / "cpu.max").split(), "", "")[:2]
        quota, period = quota or _read(folder / "cpu.cfs_quota_us"), period or _read(folder / "cpu.cfs_period_us")
        granted, every = _number(quota), _number(period)
        if granted is not None and every and granted > 0:  # "max" and -1: no limit
            yield granted / every


def _memory_limits(root: Path) -> Iterator[int]:
    for folder in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(_read(folder / name))
            if limit is not None:
                yield limit


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those around it, of both versions.

    In a container the group's own path may lead nowhere, while the mounted root holds its limits.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" or controller in names.split(","):
            mounted = root / "sys/fs/cgroup" / (controller if names else "")
            group = mounted / path.strip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mounted))


def _kilobytes(path: Path, name: str) -> int | None:
    """Find `name: 123 kB` in a file; return it in bytes."""
    for line in _read(path).splitlines():
        key, _, value = line.partition(":")
        if key == name and (number := _number(value.removesuffix("kB"))) is not None:
            return number << 10
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
