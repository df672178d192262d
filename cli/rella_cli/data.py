"""`rella data`: data sets from the files as they are downloaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli import options, rankings

if TYPE_CHECKING:
    from rella_cpp import Recipe, Summary

_TABLE = "For table: your own files"
_FORMATS = "ml-1m, ml-25m, bookcrossing, amazon or table."
_TEXTS = "Long texts of the items"
_BAR = 40

app = typer.Typer(help="Prepare data sets for tuning and evaluation, and look into them.")
app.command("import-ranking")(rankings.import_ranking)


def _of_table(*names: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=_TABLE)


def _column(name: str, text: str) -> Any:
    return _of_table(name, text=text, metavar="NAME")


def _texts_option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=_TEXTS)


@app.command()
def prepare(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help=_FORMATS)],
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="The zip as downloaded, or its folder; of table, the file.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    force: options.Force = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave broken rows out, even more than 0.1 % of a file.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn: targets, splits of users.")] = 0,
    explicit_only: Annotated[
        bool,
        typer.Option(
            "--explicit-only",
            help="bookcrossing: leave its implicit zeros out (read, not rated). The paper keeps them: as dislikes.",
        ),
    ] = False,
    valid: Annotated[
        float,
        typer.Option("--valid", metavar="SHARE", help="bookcrossing: take this share of train as the split valid."),
    ] = 0.0,
    texts: Annotated[
        Path | None, _texts_option("--texts", "FILE", "A table of one row an item, or a zip of one.")
    ] = None,
    texts_id: Annotated[
        str | None, _texts_option("--texts-id", "NAME", "Its column of ids; else the one called so: id, movieId, ….")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option("--delimiter", metavar="CHAR|tab", help="Between fields (table, --texts); else the header tells."),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", metavar="NAME", help="Of the same files, such as latin-1; else UTF-8, or UTF-16."),
    ] = None,
    recipe: Annotated[
        Path | None, _of_table("--recipe", text="All of what follows, from a file.", metavar="TOML")
    ] = None,
    domain: Annotated[
        str | None, _of_table("--domain", "-d", text="What the items are; else movies.", metavar="NAME|TOML")
    ] = None,
    items: Annotated[
        Path | None, _of_table("--items", text="The items; else in SOURCE's rows.", metavar="FILE")
    ] = None,
    items_id: Annotated[str | None, _column("--items-id", "Their id; else as in SOURCE, or id.")] = None,
    users: Annotated[Path | None, _of_table("--users", text="The users.", metavar="FILE")] = None,
    users_id: Annotated[str | None, _column("--users-id", "Their id; else as in SOURCE, or id.")] = None,
    user_column: Annotated[str | None, _column("--user-column", "User id; else user.")] = None,
    item_column: Annotated[str | None, _column("--item-column", "Item id; else item.")] = None,
    rating_column: Annotated[str | None, _column("--rating-column", "Rating.")] = None,
    label_column: Annotated[str | None, _column("--label-column", "1 liked, 0 not.")] = None,
    time_column: Annotated[str | None, _column("--time-column", "Unix seconds (also ms, µs, ns) or ISO 8601.")] = None,
    title_column: Annotated[str | None, _column("--title-column", "The items' title; else title.")] = None,
    liked_above: Annotated[float | None, _of_table("--liked-above", text="Liked: a rating above this.")] = None,
    liked_from: Annotated[float | None, _of_table("--liked-from", text="Liked: a rating from this on.")] = None,
    min_history: Annotated[
        int | None, _of_table("--min-history", text="Earlier behaviors that a sample needs; else 5.")
    ] = None,
    split: Annotated[str | None, _of_table("--split", text="Shares of train, valid, test.", metavar="8,1,1")] = None,
    by: Annotated[
        str | None, _of_table("--by", text="What splits: global time, or users at random.", metavar="time|users")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Prepare a data set: tables of users, items, interactions and samples in one format, and a manifest.

    ml-1m, ml-25m (or another set in its layout), bookcrossing and amazon are taken as downloaded, with the papers'
    rules for labels, filters and splits. table takes CSV, TSV, JSON, JSONL and Parquet files, and folders that
    `datasets` saved. --texts adds what the items lack, such as the plots of movies, to any of them.
    """
    from rella_cli.loading import listen
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import PrepareOptions, summarize
    from rella_cpp import prepare as prepare_data

    listen(False)
    columns = {"user": user_column, "item": item_column, "rating": rating_column, "label": label_column}
    files = {"items": (items, items_id), "users": (users, users_id)}
    rules = {"liked_above": liked_above, "liked_from": liked_from, "min_history": min_history, "by": by}
    own = _recipe(
        format_name, recipe, domain, files, columns | {"timestamp": time_column}, title_column, rules | {"split": split}
    )
    chosen = PrepareOptions(skip_bad_rows, explicit_only, valid, seed, own, texts, texts_id, delimiter, encoding)
    with ProgressBar() as progress:
        data = prepare_data(format_name, source, out, options=chosen, force=force, progress=progress)
    _show(summarize(data), out, as_json=as_json, full=False)


@app.command()
def info(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared data set.")], as_json: options.Json = False
) -> None:
    """Show what is in a prepared data set: counts, label rates, ratings, lengths of histories, rules."""
    from rella_cpp import DataSet, summarize

    _show(summarize(DataSet.open(folder)), folder, as_json=as_json, full=True)


def _recipe(
    format_name: str,
    path: Path | None,
    domain: str | None,
    files: Mapping[str, tuple[Path | None, str | None]],
    columns: Mapping[str, str | None],
    title: str | None,
    rules: Mapping[str, Any],
) -> "Recipe | None":
    """Make the recipe of a table from the file or from the options, which say the same."""
    from rella_cpp import EventColumns, InputError, Recipe, RecordColumns, SampleRules, read_recipe

    named = [value for pair in files.values() for value in pair]
    given = [value for value in (domain, title, *named, *columns.values(), *rules.values()) if value is not None]
    if path is not None:
        if given:
            raise InputError("--recipe is given and options that it stands for", remedy="write them into the recipe")
        return read_recipe(path)
    if format_name != "table":
        if given:
            raise InputError(f"columns, files and rules are for table, not for {format_name}", remedy="leave them out")
        return None
    for name, (file, key) in files.items():
        if key is not None and file is None:
            raise InputError(f"--{name}-id is given without --{name}", remedy="name the file, or leave it out")
    parts = {name: ("" if file is None else str(file.absolute()), key or "") for name, (file, key) in files.items()}
    return Recipe(
        domain or "movies",
        EventColumns(**{role: column for role, column in columns.items() if column is not None}),
        RecordColumns(parts["items"][1], parts["items"][0], {} if title is None else {"title": title}),
        RecordColumns(parts["users"][1], parts["users"][0]),
        SampleRules(**(dict(rules) | {"split": None if rules["split"] is None else _shares(rules["split"])})),
    )


def _shares(text: str) -> tuple[int, ...]:
    from rella_cpp import InputError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--split is {text!r}", remedy="give three whole numbers, such as 8,1,1") from None


def _show(summary: "Summary", folder: Path, *, as_json: bool, full: bool) -> None:
    from rella_cli.views.terminal import console, facts, print_json

    if as_json:
        print_json({"folder": str(folder), **summary.as_dict()})
        return
    lines = {"folder": str(folder), "format": f"{summary.format}, domain {summary.domain}"}
    for name in ("users", "items", "interactions"):
        lines[name] = f"{getattr(summary, name):,}"
    for split in summary.splits:
        rate = "" if split.label_rate is None else f", {split.label_rate:.1%} liked"
        lines[split.name] = f"{split.samples:,} samples of {split.users:,} users{rate}"
    for file, kinds in summary.left_out.items():
        lines[f"left out of {file}"] = "; ".join(f"{number:,} × {kind}" for kind, number in kinds.items())
    if repaired := [f"{number:,} {kind}" for kind, number in summary.repaired.items() if number]:
        lines["mended"] = "; ".join(repaired)
    if not full:
        facts(lines | ({"texts": _text(summary.rules["texts"])} if "texts" in summary.rules else {}))
        return
    facts(lines | {f"rule: {name}": _text(value) for name, value in summary.rules.items()})
    if summary.ratings:
        console().print(_bars("ratings", summary.ratings))
    if summary.lengths:
        named = {_span(part.low, part.high): part.samples for part in summary.lengths}
        words = ", ".join(f"{name} {value:,.1f}".removesuffix(".0") for name, value in summary.history.items())
        console().print(_bars(f"samples by length of history ({words})", named))


def _text(value: object) -> str:
    if isinstance(value, list):
        return ":".join(map(str, value))
    return ", ".join(f"{name} = {entry}" for name, entry in value.items()) if isinstance(value, dict) else str(value)


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _bars(title: str, counts: Mapping[str, int]) -> Any:
    """Return a table with a bar for every count."""
    from rich.bar import Bar
    from rich.table import Table

    from rella_cli.views.terminal import line, lines

    table = Table(box=None, pad_edge=False, show_header=False, title=lines(f"\n{title}"), title_justify="left")
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column(width=_BAR)
    for name, number in counts.items():
        table.add_row(line(name), f"{number:,}", Bar(max(counts.values()), 0, number, width=_BAR))
    return table
