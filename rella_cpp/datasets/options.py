"""Options of `prepare`, checked before any file is read."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rella_cpp.datasets.tables.delimiters import check_reading, delimiter_of
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.domains.stream import AVERAGE
from rella_cpp.errors import InputError

if TYPE_CHECKING:
    from rella_cpp.datasets.recipe import Recipe

_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a data set is prepared.

    Attributes
    ----------
    skip_bad_rows
        Leave broken rows out, however many they are; else more than 0.1 % of a file's rows are refused.
    explicit_only
        BookCrossing: leave out its implicit zeros, which the paper keeps as ratings.
    valid
        BookCrossing: the share of the training samples that becomes the validation split.
    seed
        Of all that is drawn: BookCrossing's targets, splits by users.
    recipe
        Format `table`: its files, columns and rules.
    texts
        A table of one row an item, or a zip of one, that adds the fields of the domain which the items lack.
    texts_id
        Its column of the items' ids; None: the one that is called so.
    delimiter
        What stands between the fields of tables of text, those of `table` and that of texts; None: what the recipe
        says, else a comma (in TSV a tab), unless the header has a semicolon, a tab or a bar in its place.
    encoding
        Of the same tables; None: what the recipe says, else UTF-8, or what the file's mark says.
    averages
        Also compute, for each interaction, its item's mean rating as it was known; see `averages`.

    """

    skip_bad_rows: bool = False
    explicit_only: bool = False
    valid: float = 0.0
    seed: int = 0
    recipe: "Recipe | None" = None
    texts: Path | None = None
    texts_id: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    averages: bool = False

    def __post_init__(self) -> None:
        """Refuse what no data set could be prepared with."""
        if isinstance(self.valid, bool) or not isinstance(self.valid, int | float) or not 0 <= self.valid < 1:
            raise InputError(f"valid is {self.valid}", remedy="give a share of the training samples: 0 to below 1")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed <= _LARGEST_SEED:
            raise InputError(f"seed is {self.seed}", remedy="give a whole number from 0")
        if self.texts_id is not None and self.texts is None:
            raise InputError("--texts-id is given without --texts", remedy="name the file, or leave it out")
        check_reading(self.delimiter, self.encoding)

    def as_written(self, file: SourceFile) -> SourceFile:
        """Return a file with the delimiter and the encoding that are given here, where they are."""
        return replace(
            file,
            delimiter=file.delimiter if self.delimiter is None else delimiter_of(self.delimiter),
            encoding=self.encoding or file.encoding,
        )

    def check_for(self, format_name: str) -> None:
        """Refuse options that mean nothing to a format."""
        if format_name != "bookcrossing" and self.explicit_only:
            raise InputError("--explicit-only is for bookcrossing", remedy=f"leave it out for {format_name}")
        if format_name != "bookcrossing" and self.valid:
            raise InputError(
                "--valid is for bookcrossing, the papers give the others a validation split",
                remedy=f"leave it out for {format_name}",
            )
        given = self.delimiter is not None or self.encoding is not None
        if format_name != "table" and given and self.texts is None:
            raise InputError(
                "--delimiter and --encoding are for table and --texts", remedy=f"leave them out for {format_name}"
            )
        if self.averages:
            self._check_averages(format_name)
        if format_name == "table" and self.recipe is None:
            raise InputError("the format table needs a recipe", remedy="name the columns, or give --recipe FILE")
        if format_name != "table" and self.recipe is not None:
            raise InputError("a recipe and columns are for table", remedy=f"leave them out for {format_name}")

    def _check_averages(self, format_name: str) -> None:
        """Refuse averages of what has no ratings or no times, or calls something else so."""
        if format_name in ("bookcrossing", "amazon"):
            lacks = "times" if format_name == "bookcrossing" else "ratings and times"
            raise InputError(
                f"--averages need ratings and times, and {format_name} has no {lacks}", remedy="leave them out"
            )
        if self.recipe is None:
            return
        columns = {"rating": self.recipe.interactions.rating, "time": self.recipe.interactions.timestamp}
        if lacking := [f"--{name}-column" for name, column in columns.items() if not column]:
            raise InputError("--averages need ratings and times", remedy=f"name {' and '.join(lacking)}")
        domain = self.recipe.loaded_domain()
        if domain.rating is None:
            raise InputError(f"--averages need ratings, and the domain {domain.name} has none", remedy="leave them out")
        if any(field.name == AVERAGE for field in domain.item):
            raise InputError(
                f"--averages would be the items' average, and the domain {domain.name} has a field of that name",
                remedy="leave them out, or rename its field",
            )
