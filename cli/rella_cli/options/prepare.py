"""Preparing a data set: what is left out, texts from elsewhere, and how a table of one's own is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.domain import domain_option
from rella_cli.options.groups import group
from rella_cli.options.history import Series, items_option
from rella_cli.options.samples import seed_option, split_option, valid_option
from rella_cli.options.selection import by_option

if TYPE_CHECKING:
    from rella_cpp import EventColumns, PrepareOptions, Recipe, RecordColumns, SampleRules

_TABLE = "For table: your own files"
_TEXTS = "Long texts of the items"


def _option(name: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=_TABLE)


def _texts_option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=_TEXTS)


@group
class RowOptions:
    """Which rows are taken, and what is drawn."""

    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave broken rows out, even more than 0.1 % of a file.")
    ] = False
    seed: Annotated[int, seed_option("Of what is drawn: targets, splits of users.")] = 0
    explicit_only: Annotated[
        bool,
        typer.Option(
            "--explicit-only",
            help="bookcrossing: leave its implicit zeros out (read, not rated). The paper keeps them: as dislikes.",
        ),
    ] = False
    averages: Annotated[
        bool,
        typer.Option(
            "--averages",
            help="Also keep each item's mean rating as it was known at the time, for streams: of training ratings "
            "alone, never of its own or a later one.",
        ),
    ] = False
    valid: Annotated[float, valid_option("bookcrossing: take this share of train as the split valid.", "SHARE")] = 0.0

    def settings(self, recipe: "Recipe | None", texts: "TextOptions") -> "PrepareOptions":
        """Make the settings, which checks the options."""
        from rella_cpp import PrepareOptions

        return PrepareOptions(
            self.skip_bad_rows,
            self.explicit_only,
            self.valid,
            self.seed,
            recipe,
            averages=self.averages,
            **asdict(texts),
        )


@group
class TextOptions:
    """A table of texts that the items lack, and how tables of text are read."""

    texts: Annotated[Path | None, _texts_option("--texts", "FILE", "A table of one row an item, or a zip of one.")] = (
        None
    )
    texts_id: Annotated[
        str | None, _texts_option("--texts-id", "NAME", "Its column of ids; else the one called so: id, movieId, ….")
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option("--delimiter", metavar="CHAR|tab", help="Between fields (table, --texts); else the header tells."),
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", metavar="NAME", help="Of the same files, such as latin-1; else UTF-8, or UTF-16."),
    ] = None


@group
class FileOptions:
    """What a table's items are, and the files of items and users beside it."""

    domain: Annotated[str | None, domain_option("What the items are; else movies.", _TABLE)] = None
    items: Annotated[
        Path | None,
        items_option("The items; an export's are found in it by title and year. Else in SOURCE's rows.", panel=_TABLE),
    ] = None
    items_id: Annotated[str | None, _option("--items-id", "Their id; else as in SOURCE, or id.", "NAME")] = None
    users: Annotated[Path | None, _option("--users", "The users.", "FILE")] = None
    users_id: Annotated[str | None, _option("--users-id", "Their id; else as in SOURCE, or id.", "NAME")] = None
    series: Series = False

    def check(self) -> None:
        """Refuse the id of a file that is not given."""
        from rella_cpp import InputError

        for name, file, key in (("items", self.items, self.items_id), ("users", self.users, self.users_id)):
            if key is not None and file is None:
                raise InputError(f"--{name}-id is given without --{name}", remedy="name the file, or leave it out")


@group
class ColumnOptions:
    """What a table's columns are called."""

    user_column: Annotated[str | None, _option("--user-column", "User id; else user.", "NAME")] = None
    item_column: Annotated[str | None, _option("--item-column", "Item id; else item.", "NAME")] = None
    rating_column: Annotated[str | None, _option("--rating-column", "Rating.", "NAME")] = None
    label_column: Annotated[str | None, _option("--label-column", "1 liked, 0 not.", "NAME")] = None
    time_column: Annotated[
        str | None, _option("--time-column", "Unix seconds (also ms, µs, ns) or ISO 8601.", "NAME")
    ] = None
    title_column: Annotated[str | None, _option("--title-column", "The items' title; else title.", "NAME")] = None

    def events(self) -> "EventColumns":
        """Return the columns of interactions."""
        from rella_cpp import EventColumns

        named = {
            "user": self.user_column,
            "item": self.item_column,
            "rating": self.rating_column,
            "label": self.label_column,
            "timestamp": self.time_column,
        }
        return EventColumns(**{role: column for role, column in named.items() if column is not None})


@group
class RuleOptions:
    """What a sample of a table is, what counts as liked, and how samples are split."""

    liked_above: Annotated[float | None, _option("--liked-above", "Liked: a rating above this.")] = None
    liked_from: Annotated[float | None, _option("--liked-from", "Liked: a rating from this on.")] = None
    min_history: Annotated[int | None, _option("--min-history", "Earlier behaviors that a sample needs; else 5.")] = (
        None
    )
    split: Annotated[str | None, split_option("8,1,1", "Shares of train, valid, test.", _TABLE)] = None
    by: Annotated[str | None, by_option("time|users", "What splits: global time, or users at random.", _TABLE)] = None

    def rules(self) -> "SampleRules":
        """Make the rules, which checks the options."""
        from rella_cpp import SampleRules

        split = None if self.split is None else _shares(self.split)
        return SampleRules(self.liked_above, self.liked_from, self.min_history, split, self.by)


RecipeFile = Annotated[Path | None, _option("--recipe", "All of what follows, from a file.", "TOML")]


def recipe_of(
    format_name: str, path: Path | None, files: FileOptions, columns: ColumnOptions, rules: RuleOptions
) -> "Recipe | None":
    """Make the recipe of a table from a file or from the options, which say the same; other formats have none."""
    from rella_cpp import InputError, Recipe, read_recipe

    given = _given(files) or _given(columns) or _given(rules)
    if path is not None:
        if given:
            raise InputError("--recipe is given and options that it stands for", remedy="write them into the recipe")
        return read_recipe(path)
    if format_name != "table":
        if given:
            raise InputError(f"columns, files and rules are for table, not for {format_name}", remedy="leave them out")
        return None
    files.check()
    title = {} if columns.title_column is None else {"title": columns.title_column}
    return Recipe(
        files.domain or "movies",
        columns.events(),
        _records(files.items, files.items_id, title),
        _records(files.users, files.users_id, {}),
        rules.rules(),
    )


@contextmanager
def export_of(
    format_name: str,
    source: Path,
    recipe: Path | None,
    files: FileOptions,
    columns: ColumnOptions,
    rules: RuleOptions,
    texts: TextOptions,
) -> "Iterator[tuple[Path, Recipe | None]]":
    """Give what is to be prepared: of another service's export, when no columns are named, a table of it; else SOURCE.

    Of its ratings, those that the domain likes are liked unless a rule says otherwise.
    """
    plain = recipe is None and not (_given(columns) or files.users or texts.delimiter or texts.encoding)
    if format_name != "table" or not plain:
        yield source, recipe_of(format_name, recipe, files, columns, rules)
        return
    from rella_cpp import Recipe, load_domain
    from rella_cpp.exports.tables import export_table

    files.check()
    domain, chosen = files.domain or "movies", rules.rules()
    words, items = load_domain(domain), _records(files.items, files.items_id, {})
    with export_table(source, words, items, series=files.series) as table:
        if table is None:
            yield source, recipe_of(format_name, recipe, files, columns, rules)
            return
        scale = words.rating if table.columns.rating else None
        if scale is not None and chosen.liked_above is None and chosen.liked_from is None:
            chosen = replace(chosen, liked_from=scale.liked)
        yield table.path, Recipe(domain, table.columns, items, rules=chosen)


def _given(group: "FileOptions | ColumnOptions | RuleOptions") -> bool:
    """Tell whether any option of a group is given."""
    return any(value is not None and value is not False for value in astuple(group))


def _records(file: Path | None, key: str | None, names: dict[str, str]) -> "RecordColumns":
    from rella_cpp import RecordColumns

    return RecordColumns(key or "", "" if file is None else str(file.absolute()), names)


def _shares(text: str) -> tuple[int, ...]:
    from rella_cpp import InputError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--split is {text!r}", remedy="give three whole numbers, such as 8,1,1") from None
