"""Rows for a trainer: their files, and what they are made of."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.groups import group
from rella_cli.options.output import Force, Json, out_option
from rella_cli.options.samples import candidates_option, ranking_option, seed_option, shots_option, valid_option

if TYPE_CHECKING:
    from rella_cpp import DelrecSettings, SequenceSettings, TrsrSettings


def form_option(metavar: str, text: str) -> Any:
    """Declare --format: how a row is written."""
    return typer.Option("--format", metavar=metavar, help=text)


@group
class RowsOptions:
    """The files of rows, and how a row is written."""

    out: Annotated[Path, out_option("JSONL", "Training rows; validation rows stand beside them.")]
    form: Annotated[
        str,
        form_option(
            "messages|alpaca|text", "A chat; instruction, input and output; or the whole text as --model reads it."
        ),
    ] = "messages"
    force: Force = False
    as_json: Json = False


@group
class RowSetsOptions(RowsOptions):
    """The same for several sets of rows, which share a folder."""

    out: Annotated[Path, out_option("DIR", "Folder for TASK.jsonl, validation rows beside them.")]


@group
class StreamRowsOptions(RowsOptions):
    """The same for rows with many answers."""

    form: Annotated[
        str,
        form_option(
            "text|messages",
            "The text, and where in it the ratings stand; or a chat that answers each item with its rating.",
        ),
    ] = "text"


@group
class SequenceOptions:
    """Which sequences of a history become rows (streams)."""

    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            help="Stop at so many training tokens of --model; else each rating once.",
        ),
    ] = None
    drop: Annotated[
        float,
        typer.Option(
            "--drop",
            metavar="SHARE",
            help="Leave averages, the profile, and each field that an item may lack out of so many training rows.",
        ),
    ] = 0.0
    valid: Annotated[int, valid_option("Samples of the validation split, at most; 20 of a user in a row.")] = 2000
    seed: Annotated[int, seed_option("The order, what is dropped, and which samples validate.")] = 0

    def settings(self, k: int) -> "SequenceSettings":
        """Make the settings, which checks the options."""
        from rella_cpp import SequenceSettings

        return SequenceSettings(k, self.tokens, self.drop, self.seed)


@group
class TrsrOptions:
    """Which summarised samples become rows (LLM-TRSR)."""

    summaries: Annotated[
        Path, typer.Option("--summaries", metavar="DIR", help="Its summaries (rella summarize DATA -o DIR).")
    ]
    shots: Annotated[int | None, shots_option("Summarised training samples that were liked; else all.")] = None
    valid: Annotated[int | None, valid_option("Summarised samples of the validation split; else all.")] = None
    seed: Annotated[int, seed_option("Which samples and negatives are drawn.")] = 0

    def settings(self) -> "TrsrSettings":
        """Make the settings, which checks the options."""
        from rella_cpp import TrsrSettings

        return TrsrSettings(self.shots, self.seed)


@group
class DelrecOptions:
    """Which tasks rows are of, and how many (DELRec)."""

    ranking: Annotated[
        Path | None,
        ranking_option(
            "What a sequential recommender expects (rella data import-ranking); the task simulating needs it."
        ),
    ] = None
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="temporal|simulating|next", help="Write this one alone; may be repeated."),
    ] = None
    rows: Annotated[int, typer.Option("--rows", help="Training rows of each task.")] = 256
    valid: Annotated[int | None, valid_option("Validation rows of each task, at most; else as many as rows.")] = None
    candidates: Annotated[int, candidates_option("Items to choose among, the right one too.")] = 15
    seed: Annotated[int, seed_option("Which targets and candidates are drawn.")] = 0

    def settings(self, k: int) -> "DelrecSettings":
        """Make the settings, which checks the options."""
        from rella_cpp import DelrecSettings

        return DelrecSettings(self.rows, k, self.candidates, self.seed)
