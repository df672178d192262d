"""The compiler flags that build llama.cpp with GCC's AMX mended; the header says what is wrong with it."""

import shlex
from importlib.metadata import version
from pathlib import Path

HEADER = Path(__file__).with_name("amx_tile_config.h")


def build_command() -> str:
    """Return the shell command that builds the installed version of llama-cpp-python so."""
    wanted = f"llama-cpp-python=={version('llama-cpp-python')}"
    return f'CXXFLAGS="$(rella --amx-flags)" pip install --force-reinstall --no-cache-dir --no-deps {wanted}'


def amx_flags(header: Path = HEADER) -> str:
    """Return what CXXFLAGS must hold, quoted for a shell: CMake hands it to one as it stands."""
    return f"-include {shlex.quote(str(header))}"
