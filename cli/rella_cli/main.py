"""`rella`: the commands, and how errors become one line and an exit code."""

import gc
import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from rella_cli.log import begin
from rella_cli.shortages import be_sparing, end, no_disk, no_memory
from rella_cli.signals import end_quietly
from rella_gguf.shown import harmless, one_line

_COMMANDS = {
    "score": "score",
    "rank": "score",
    "explain": "score",
    **{name: name for name in ("recommend", "serve", "summarize", "evaluate", "calibrate", "compare")},
    **{name: name for name in ("bench", "pull", "domains")},
}
"""Commands, by the module that has them: the function of the command's name, or `register`."""
_GROUPS = ("bundle", "gguf", "lora", "soft", "index", "export", "tune", "data", "cache")
"""Groups of commands: the module of that name has the `app`."""


def _version(wanted: bool) -> None:
    if wanted:
        from rella_cli.commands.version import show_version

        show_version()
        raise typer.Exit()


def _amx_flags(wanted: bool) -> None:
    if wanted:
        from rella_cpp.engine.machine.amx import amx_flags

        typer.echo(amx_flags())
        raise typer.Exit()


def rella(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the versions and what llama.cpp can do."
        ),
    ] = False,
    flags: Annotated[
        bool,
        typer.Option(
            "--amx-flags",
            callback=_amx_flags,
            is_eager=True,
            help="Print the CXXFLAGS that build llama.cpp for processors with AMX (docs/install.md).",
        ),
    ] = False,
) -> None:
    """Score how likely a user is to like an item, with a GGUF language model on this machine."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def make_app(wanted: str | None = None) -> typer.Typer:
    """Make the app; where the command or group wanted is known, with nothing else.

    To import all of them and read their signatures would take a tenth of the time that a score takes to start.
    """
    app = typer.Typer(
        name="rella",
        help="Score how likely a user is to like an item, with a GGUF language model on this machine.",
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(rella)
    known = (*_COMMANDS.values(), *_GROUPS)
    for name in dict.fromkeys([_COMMANDS.get(wanted, wanted)] if wanted in (*_COMMANDS, *_GROUPS) else known):
        module = import_module(f"rella_cli.commands.{name}")
        if name in _GROUPS:
            app.add_typer(module.app, name=name)
        elif hasattr(module, "register"):
            module.register(app, wanted if wanted in _COMMANDS else None)
        else:
            app.command(name)(getattr(module, name))
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong input or usage, 130 interrupted."""
    # What is imported stays; the collector would look through it a hundred times, a tenth of the time to start.
    gc.set_threshold(100_000)
    # A title may hold half a surrogate pair; in JSON its backslash form is the right one.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        begin()
        be_sparing()
        given = sys.argv[1:] if arguments is None else arguments
        if arguments is None and (given[:1] == ["serve"] or "--jsonl" in given):
            end_quietly()  # while all is imported, too
        code = make_app(*given[:1])(given, standalone_mode=False) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        try:
            code = _explain(error)
        except MemoryError:  # not even for that
            _say("out of memory")
            end(1)
    if code == 130:
        _say("interrupted")
    sys.exit(code)


def _say(text: str) -> None:
    """Print one line on stderr, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"rella: {one_line(text)}\n")


def _show_fault(_kind: type[BaseException], error: BaseException, _trace: object) -> None:
    """Print a traceback, whose message may quote what a terminal would obey."""
    import traceback

    sys.stderr.write(harmless("".join(traceback.format_exception(error)), lines=True))


def _explain(error: Exception) -> int:
    """Print an expected error, each fault as one line, and return its exit code; raise what is a fault of ours."""
    from rella_cpp.errors import InputError, RellaError, faults_of

    if told := no_memory(error):
        _say(told)
        end(1)
    if isinstance(error, InputError):
        for fault in faults_of(error):
            _say(str(fault))
        return 1 if no_disk(error) else 2
    if isinstance(error, RellaError):
        text, code = str(error), 1
    elif hasattr(error, "format_message"):  # Typer's own, wherever this version of it keeps the class
        text, code = error.format_message(), 2
    elif isinstance(error, OSError):  # a full disk, a closed stream: the machine's, not ours
        text, code = str(error), 1
    else:
        sys.excepthook = _show_fault
        raise error
    _say(text)
    return code
