"""Preference summaries (LLM-TRSR): whether prompts show them, and how they are made."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.groups import group
from rella_cli.options.selection import ReadingOptions

if TYPE_CHECKING:
    from rella_cpp import SummarySettings

_PANEL = "Preference summaries (LLM-TRSR)"


def _option(*names: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=_PANEL)


def recent_option(*short: str) -> Any:
    """Declare --recent; it is -n, too, where that is not the number of results."""
    return _option("--recent", *short, text="Latest behaviors that the prompt shows beside the summary; else 5.")


@group
class SummaryOptions:
    """Whether prompts show a summary of the behaviors, and how it is made: by the names of `SummarySettings`."""

    context_kind: Annotated[
        str,
        _option(
            "--context",
            metavar="history|summary",
            text="What prompts show: behaviors (-k), or a summary of them and the latest ones.",
        ),
    ] = "history"
    method: Annotated[
        str | None,
        _option(
            "--method",
            metavar="recurrent|hierarchical",
            text="Renew one summary block by block (the default), or summarise blocks, then their summaries.",
        ),
    ] = None
    recent: Annotated[int | None, recent_option("-n")] = None
    block_size: Annotated[int | None, _option("--block-size", text="Behaviors in a block; else 5.")] = None
    overlap: Annotated[bool | None, _option("--overlap", text="Let blocks hold the latest behaviors, too.")] = None
    max_blocks: Annotated[
        int | None, _option("--max-blocks", text="Hierarchical: of the latest blocks alone; else 5.")
    ] = None
    item_tokens: Annotated[
        int | None, _option("--item-tokens", text="Longer item texts are cut at a word's end; else 96.")
    ] = None
    summary_tokens: Annotated[
        int | None, _option("--summary-tokens", text="Tokens that a summary may have; else 96.")
    ] = None

    def wanted(self, reading: ReadingOptions, sweep: str | None = None) -> "SummarySettings | None":
        """Make settings if prompts are to show a summary; refuse options that mean nothing with what they show."""
        from rella_cpp import InputError

        if self.context_kind not in ("history", "summary"):
            raise InputError(f"context is {self.context_kind!r}", remedy="one of history, summary")
        if self.context_kind == "summary":
            _refuse_choice(reading, sweep)
            return self.settings()
        if given := self._given():
            raise InputError(
                f"--{next(iter(given)).replace('_', '-')} is for preference summaries", remedy="add --context summary"
            )
        return None

    def settings(self) -> "SummarySettings":
        """Make settings of the options given, which checks them."""
        from rella_cpp import InputError, SummarySettings

        settings = SummarySettings(**self._given())
        if self.max_blocks is not None and settings.method == "recurrent":
            raise InputError(
                "--max-blocks is for --method hierarchical", remedy="leave it out: recurrent reads all blocks"
            )
        return settings

    def _given(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "context_kind"}
        return {name: value for name, value in values.items() if value is not None}


def _refuse_choice(reading: ReadingOptions, sweep: str | None) -> None:
    """Refuse options that choose behaviors: a summary replaces them."""
    from rella_cpp import InputError

    usual = ReadingOptions()
    for option, value, default in (
        ("-k", reading.k, usual.k),
        ("--sweep", sweep, None),
        ("--retrieval", reading.retrieval, usual.retrieval),
        ("--order", reading.order, usual.order),
    ):
        if value != default:
            raise InputError(
                f"{option} chooses behaviors, and --context summary shows the latest", remedy="leave one of them out"
            )
