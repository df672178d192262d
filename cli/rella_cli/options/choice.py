"""Choices by likelihood: whether one is wanted, and which options it does not know."""

from typing import Any

import typer

from rella_cli.options.groups import was_given

_NAMES = {"context_kind": "--context", "page": "--html"}
"""What options are called that are not called like their parameters."""


def by_likelihood(context: typer.Context, by: str, *refused: str) -> bool:
    """Tell whether candidates are chosen by likelihood; refuse an unknown way, and options that it does not know.

    Parameters
    ----------
    context
        Says which options were given.
    by
        The value of `--by`.
    refused
        Options, by parameter name, that the command has and a choice does not know, whatever their value.

    Raises
    ------
    InputError
        The way is unknown, or an option was given that it does not know.

    """
    from rella_cpp import InputError

    if by not in ("yes-no", "likelihood"):
        raise InputError(f"by is {by!r}", remedy="one of yes-no, likelihood")
    if by == "yes-no":
        return False
    known: dict[str, Any] = {"retrieval": "recent", "order": "time", "context_kind": "history", "layout": "question"}
    for name in (*known, "window", *refused):
        value = context.params.get(name)
        if was_given(context, name) and (name not in known or value != known[name]):
            option = f"{_NAMES.get(name, f'--{name}')} {value if name in known else ''}".strip()
            raise InputError(
                f"{option} with --by likelihood: it shows the latest behaviors, oldest first, and reads items' names",
                remedy="leave one of them out",
            )
    return True
