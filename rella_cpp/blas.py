"""OpenBLAS under a limited address space (`ulimit -v`): it waits for ever for memory that it does not get.

Each copy of it (numpy's and scipy's) asks when it is loaded or first used for the buffer that it keeps. So that
happens where there is room, before other things take that.
"""

import sys

from rella_cpp.engine.machine import address_space_left

_NUMPY, _SCIPY = 120 << 20, 120 << 20
"""Bytes of addresses that each takes, with its OpenBLAS and the buffer of that, and some more."""


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


def check_room(need: int) -> None:
    """Refuse to go on where a limited address space has less left.

    Raises
    ------
    MemoryError
        It has.

    """
    left = address_space_left()
    if left is not None and left < need:
        raise MemoryError(f"{need >> 20} MiB more are needed")
