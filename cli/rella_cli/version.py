"""`rella --version`."""

import platform
from importlib.metadata import version

import typer


def show_version() -> None:
    """Print the versions, and what the installed llama.cpp can do."""
    from rella_cpp import build_info

    build = build_info()
    typer.echo(f"rella-cpp {version('rella-cpp')}")
    typer.echo(f"python {platform.python_version()}")
    typer.echo(f"llama-cpp-python {build.version}")
    typer.echo(f"GPU offload: {'yes' if build.offload else 'no'}")
    for name, flags in build.backends.items():
        typer.echo(f"backend {name}: {' '.join(flags)}")
