"""`rella --version`."""

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rella_cpp import BuildInfo
    from rella_cpp.engine.machine.processor import Processor

_FASTER = "docs/install.md has the faster build"


def show_version() -> None:
    """Print the versions, and what the installed llama.cpp can do."""
    from rella_cpp import build_info
    from rella_cpp.engine.machine.processor import processor
    from rella_gguf.shown import harmless

    build, here = build_info(), processor()
    typer.echo(f"rella-cpp {version('rella-cpp')}")
    typer.echo(f"python {platform.python_version()}")
    typer.echo(f"llama-cpp-python {build.version}")
    typer.echo(f"GPU offload: {'yes' if build.offload else 'no'}")
    for name, flags in build.backends.items():
        typer.echo(f"backend {name}: {' '.join(flags)}")
    typer.echo(f"processor: {harmless(here.name)}")
    if line := amx_line(here, build, _deadly()):
        typer.echo(line)


def amx_line(processor: "Processor", build: "BuildInfo", deadly: int) -> str:
    """Say whether the build uses the processor's AMX; nothing where it has none.

    `deadly` counts the trials that switched off the extra buffers, and so AMX.
    """
    if not processor.has_amx:
        return ""
    if "AMX_INT8" not in build.backends.get("CPU", ()):
        return f"AMX: unused, this build was compiled without it; {_FASTER}"
    if deadly:
        return f"AMX: unused, llama.cpp failed with it in {deadly} of the trials on this machine; {_FASTER}"
    return "AMX: used"


def _deadly() -> int:
    """Count the trials in which llama.cpp failed here until its extra buffers were switched off."""
    from rella_cpp.engine.trial.trial import EXTRA_BUFFERS, found_here

    return sum(EXTRA_BUFFERS in verdict.switched_off for _, verdict in found_here())
