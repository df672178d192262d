"""What a limit of this process's addresses (`ulimit -v`) leaves, and OpenBLAS under such a limit.

OpenBLAS waits for ever for memory that it does not get. Each copy of it (numpy's and scipy's) asks when it is loaded
or first used for the buffer that it keeps. So that happens where there is room, before other things take that.
"""

import re
import sys
from pathlib import Path

_ROOT = Path("/")
_NUMPY, _SCIPY = 100 << 20, 120 << 20
"""Bytes of addresses that each takes, with its OpenBLAS and the buffer of that, and some more."""
_MORE = 80 << 20  # two more buffers, and what they are for
_LIMIT = re.compile(r"^Max address space +(\d+)", re.MULTILINE)
_USED = re.compile(r"^VmSize:\s+(\d+) kB", re.MULTILINE)


def address_space_left(root: Path = _ROOT) -> int | None:
    """Count the bytes of addresses that are left to this process; None where there is no limit, or not on Linux.

    Parameters
    ----------
    root
        Where `proc` is mounted.

    """
    try:
        limits, status = ((root / "proc/self" / name).read_text("ascii", "replace") for name in ("limits", "status"))
    except OSError:
        return None
    limit, used = _LIMIT.search(limits), _USED.search(status)
    return max(0, int(limit[1]) - (int(used[1]) << 10)) if limit and used else None


def warm_numpy() -> None:
    """Load numpy and let its OpenBLAS get its buffer, where the address space is limited.

    Raises
    ------
    MemoryError
        There is no room for it.

    """
    if address_space_left() is not None:
        check_room(_NUMPY)
        import numpy as np

        np.ones((64, 64)) @ np.ones((64, 64))


def warm_scipy() -> None:
    """Let scipy's OpenBLAS get its buffer, where the address space is limited; before scikit-learn, which loads it.

    Raises
    ------
    MemoryError
        There is no room for it.

    """
    if address_space_left() is not None and "scipy.linalg" not in sys.modules:
        check_room(_SCIPY)
        import numpy as np
        from scipy.linalg import blas

        blas.dgemm(1.0, np.ones((64, 64)), np.ones((64, 64)))


def check_room(need: int = _MORE) -> None:
    """Refuse to go on where a limited address space has less left; unless told, what a fit by OpenBLAS may take.

    Raises
    ------
    MemoryError
        It has.

    """
    left = address_space_left()
    if left is not None and left < need:
        raise MemoryError(f"{need >> 20} MiB more are needed")
