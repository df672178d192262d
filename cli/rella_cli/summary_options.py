"""The options of preference summaries, which several commands share: one decorator adds them all.

Typer reads a command's options off its signature; eight more in each of five would hide what tells the commands apart.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rella_cpp import SummarySettings

_PANEL = "Preference summaries (LLM-TRSR)"
_READING = ("k", "retrieval", "order", "sweep")
"""Options that choose behaviors, which a summary replaces."""


def _option(*names: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=_PANEL)


def _options(recent: tuple[str, ...]) -> dict[str, Any]:
    """Return the options by the names of `SummarySettings`; None where one is not given."""
    return {
        "method": Annotated[
            str | None,
            _option(
                "--method",
                metavar="recurrent|hierarchical",
                text="Renew one summary block by block (the default), or summarise blocks, then their summaries.",
            ),
        ],
        "recent": Annotated[
            int | None, _option(*recent, text="Latest behaviors that the prompt shows beside the summary; else 5.")
        ],
        "block_size": Annotated[int | None, _option("--block-size", text="Behaviors in a block; else 5.")],
        "overlap": Annotated[bool | None, _option("--overlap", text="Let blocks hold the latest behaviors, too.")],
        "max_blocks": Annotated[
            int | None, _option("--max-blocks", text="Hierarchical: of the latest blocks alone; else 5.")
        ],
        "item_tokens": Annotated[
            int | None, _option("--item-tokens", text="Longer item texts are cut at a word's end; else 96.")
        ],
        "summary_tokens": Annotated[
            int | None, _option("--summary-tokens", text="Tokens that a summary may have; else 96.")
        ],
    }


def with_summary(
    *, always: bool = False, recent: tuple[str, ...] = ("--recent", "-n")
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options to a command, which gets them as one argument, `summary`: settings, or None.

    Parameters
    ----------
    always
        The command summarises; else it has `--context`, and the options need `--context summary`.
    recent
        The names of the option for the latest behaviors.

    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        added = _options(recent)
        if not always:
            context = _option(
                "--context",
                metavar="history|summary",
                text="What prompts show: behaviors (-k), or a summary of them and the latest ones.",
            )
            added = {"context_kind": Annotated[str, context], **added}

        @wraps(command)
        def wrapper(**given: Any) -> None:
            own = {name: given.pop(name) for name in added}
            kind = "summary" if always else own.pop("context_kind")
            command(summary=_settings(kind, own, given, usual), **given)

        signature = inspect.signature(command)
        usual = {name: p.default for name, p in signature.parameters.items() if name in _READING}
        kept = [parameter for name, parameter in signature.parameters.items() if name != "summary"]
        extra = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default="history" if name == "context_kind" else None,
                annotation=annotation,
            )
            for name, annotation in added.items()
        ]
        wrapper.__signature__ = signature.replace(parameters=[*kept, *extra])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in [*kept, *extra]} | {"return": None}
        del wrapper.__wrapped__  # else Typer reads the undecorated one's
        return wrapper

    return decorate


def _settings(kind: str, own: dict[str, Any], given: dict[str, Any], usual: dict[str, Any]) -> "SummarySettings | None":
    """Make settings of the options given; refuse those that mean nothing together."""
    from rella_cpp import InputError, SummarySettings

    chosen = {name: value for name, value in own.items() if value is not None}
    if kind not in ("history", "summary"):
        raise InputError(f"context is {kind!r}", remedy="one of history, summary")
    if kind == "history":
        if chosen:
            raise InputError(
                f"--{next(iter(chosen)).replace('_', '-')} is for preference summaries", remedy="add --context summary"
            )
        return None
    for name, value in usual.items():
        if given[name] != value:
            option = "-k" if name == "k" else f"--{name}"
            raise InputError(
                f"{option} chooses behaviors, and --context summary shows the latest", remedy="leave one of them out"
            )
    settings = SummarySettings(**chosen)
    if "max_blocks" in chosen and settings.method == "recurrent":
        raise InputError("--max-blocks is for --method hierarchical", remedy="leave it out: recurrent reads all blocks")
    return settings
