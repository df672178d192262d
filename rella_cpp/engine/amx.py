"""The compiler flags that build llama.cpp with GCC's AMX mended; the header says what is wrong with it."""

import shlex
from pathlib import Path

HEADER = Path(__file__).with_name("amx_tile_config.h")


def amx_flags(header: Path = HEADER) -> str:
    """Return what CXXFLAGS must hold, quoted for a shell: CMake hands it to one as it stands."""
    return f"-include {shlex.quote(str(header))}"
