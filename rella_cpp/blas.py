"""OpenBLAS under a limited address space (`ulimit -v`): it waits for ever for memory that it does not get.

Each copy of it (numpy's and scipy's) asks once, at its first use, for the buffer that it keeps. So it is used once
where there is room, before other things take that.
"""

from rella_cpp.engine.machine import address_space_left

_BUFFER = 40 << 20
"""Bytes of that buffer for one thread, and some more."""


def warm_numpy() -> None:
    """Let numpy's OpenBLAS get its buffer, where the address space is limited.

    Raises
    ------
    MemoryError
        There is no room for it.

    """
    if address_space_left() is not None:
        import numpy as np

        check_room()
        np.ones((64, 64)) @ np.ones((64, 64))


def warm_scipy() -> None:
    """Let scipy's OpenBLAS, which scikit-learn uses, get its buffer, where the address space is limited.

    Raises
    ------
    MemoryError
        There is no room for it.

    """
    if address_space_left() is not None:
        import numpy as np
        from scipy.linalg import blas

        check_room()
        blas.dgemm(1.0, np.ones((64, 64)), np.ones((64, 64)))


def check_room(need: int = _BUFFER) -> None:
    """Refuse to go on where a limited address space has less left.

    Raises
    ------
    MemoryError
        It has.

    """
    left = address_space_left()
    if left is not None and left < need:
        raise MemoryError(f"{need >> 20} MiB more are needed")
