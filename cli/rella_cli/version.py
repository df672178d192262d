"""`rella --version`."""

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rella_cpp import BuildInfo
    from rella_cpp.engine.processor import Processor

_COMPILED = "this build is compiled for it"
_NOT_COMPILED = "this build does not use it: docs/install.md has the faster build"


def show_version() -> None:
    """Print the versions, and what the installed llama.cpp can do."""
    from rella_cpp import build_info
    from rella_cpp.engine.processor import processor

    build, here = build_info(), processor()
    typer.echo(f"rella-cpp {version('rella-cpp')}")
    typer.echo(f"python {platform.python_version()}")
    typer.echo(f"llama-cpp-python {build.version}")
    typer.echo(f"GPU offload: {'yes' if build.offload else 'no'}")
    for name, flags in build.backends.items():
        typer.echo(f"backend {name}: {' '.join(flags)}")
    typer.echo(f"processor: {here.name}")
    if line := amx_line(here, build):
        typer.echo(line)


def amx_line(processor: "Processor", build: "BuildInfo") -> str:
    """Say whether the build uses the processor's AMX; nothing where it has none."""
    if not processor.has_amx:
        return ""
    return f"AMX: the processor has it, {_COMPILED if 'AMX_INT8' in build.backends.get('CPU', ()) else _NOT_COMPILED}"
