"""`rella`: the commands, and how errors become one line and an exit code."""

import os
import sys
from typing import Annotated

import typer

from rella_cli import (
    bench,
    cache,
    calibrate,
    compare,
    data,
    domains,
    evaluate,
    export,
    gguf,
    index,
    judge,
    lora,
    pull,
    recommend,
    tune,
)

app = typer.Typer(
    name="rella",
    help="Score how likely a user is to like an item, with a GGUF language model on this machine.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
judge.register(app)
app.command("recommend")(recommend.recommend)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("compare")(compare.compare)
app.command("bench")(bench.bench)
app.command("pull")(pull.pull)
app.command("domains")(domains.domains)
app.add_typer(gguf.app, name="gguf")
app.add_typer(lora.app, name="lora")
app.add_typer(index.app, name="index")
app.add_typer(export.app, name="export")
app.add_typer(tune.app, name="tune")
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")


def _version(wanted: bool) -> None:
    if wanted:
        from rella_cli.version import show_version

        show_version()
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def rella(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the versions and what llama.cpp can do."
        ),
    ] = False,
) -> None:
    """Score how likely a user is to like an item, with a GGUF language model on this machine."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong input or usage, 130 interrupted."""
    # A title may hold half a surrogate pair; in JSON its backslash form is the right one.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        code = app(arguments, standalone_mode=False) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        code = _explain(error)
    if code == 130:
        _say("interrupted")
    sys.exit(code)


def _say(text: str) -> None:
    """Print one line on stderr, if there is one."""
    from rella_gguf.errors import one_line

    if sys.stderr is not None:
        sys.stderr.write(f"rella: {one_line(text)}\n")


def _explain(error: Exception) -> int:
    """Print an expected error as one line and return its exit code; raise what is a fault of ours."""
    from rella_cpp.errors import InputError, RellaError

    if isinstance(error, RellaError):
        text, code = str(error), 2 if isinstance(error, InputError) else 1
    elif hasattr(error, "format_message"):  # Typer's own, wherever this version of it keeps the class
        text, code = error.format_message(), 2
    elif isinstance(error, OSError | MemoryError):  # a full disk, a closed stream: the machine's, not ours
        text, code = str(error) or "out of memory", 1
    else:
        raise error
    _say(text)
    return code
