"""From a data set as it is downloaded to the folder that `DataSet.open` opens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.formats.layouts import find_files
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.tables.sources import SourceFile
from rella_cpp.storage.artifacts import named, new_folder, refuse_taken
from rella_cpp.storage.progress import Progress, no_progress
from rella_gguf.near_names import unknown_name

if TYPE_CHECKING:
    from rella_cpp.datasets.content import Prepared

_MARK, _KIND = "rella_data", "prepared data set"


@dataclass(frozen=True, slots=True)
class DataFormat:
    """A format of source: its name, the function that prepares it, what it is.

    The function's module is imported when it is called: it needs pyarrow, which takes its time.
    """

    name: str
    function: str
    about: str

    def prepare(self, files: Sequence[SourceFile], options: PrepareOptions) -> "Prepared":
        """Read the files and apply the rules."""
        module, _, name = self.function.rpartition(".")
        function = getattr(import_module(f"rella_cpp.datasets.formats.{module}"), name)
        return cast("Callable[[Sequence[SourceFile], PrepareOptions], Prepared]", function)(files, options)


DATA_FORMATS = (
    DataFormat("ml-1m", "movielens.prepare_dat", "MovieLens-1M: ratings.dat, movies.dat, users.dat"),
    DataFormat("ml-25m", "movielens.prepare_csv", "MovieLens-25M and others of its layout: ratings.csv, movies.csv"),
    DataFormat("bookcrossing", "bookcrossing.prepare_books", "BookCrossing: BX-Users.csv, BX-Books.csv, …"),
    DataFormat("amazon", "amazon.prepare_products", "Amazon products: NAME.item.json, NAME.inter.json"),
    DataFormat("table", "table.prepare_table", "your own CSV, JSONL or Parquet files, or a saved `datasets` folder"),
)


def _told_as(progress: Progress, word: str) -> Progress:
    return lambda task, done, total: progress(task.replace("reading", word, 1), done, total)


def prepare(
    format: str,
    source: str | Path,
    out: str | Path,
    *,
    options: PrepareOptions | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> DataSet:
    """Prepare a data set and open it.

    Parameters
    ----------
    format
        `ml-1m`, `ml-25m`, `bookcrossing`, `amazon` or `table`.
    source
        The zip archive as downloaded, or the folder it unpacks to; of `table`, a file or a folder.
    out
        The folder to make. It appears when it is complete.
    options
        See `PrepareOptions`.
    force
        Overwrite a data set that is there already.
    progress
        Told how far it is.

    Raises
    ------
    InputError
        The source or the table of texts is damaged, of another data set, or has too many broken rows; or `out` is
        there already, or another process writes it.

    """
    source, out, options = Path(source), named(out), options or PrepareOptions()
    known = next((entry for entry in DATA_FORMATS if entry.name == format), None)
    if known is None:
        raise unknown_name("format", format, [entry.name for entry in DATA_FORMATS], most=1)
    options.check_for(format)

    from rella_cpp.datasets.content import with_averages
    from rella_cpp.datasets.joining import join_texts, open_texts
    from rella_cpp.datasets.writer import write

    refuse_taken(out, _MARK, _KIND, force=force)
    if options.recipe is None:
        files = find_files(source, format)
    else:
        files = tuple(map(options.as_written, options.recipe.files(source)))
    texts = None if options.texts is None else open_texts(options, [file.name for file in files])
    every = files if texts is None else (*files, texts.file)
    with new_folder(out, _MARK, _KIND, force=force) as folder:
        digests = {file.name: file.watched(_told_as(progress, "checking")).digest() for file in every}
        prepared = known.prepare(tuple(file.watched(progress) for file in files), options)
        if texts is not None:
            prepared = join_texts(prepared, texts.watched(progress), options)
        if options.averages:
            prepared = with_averages(prepared)
        write(prepared, folder, format_name=format, sources=digests, progress=progress)
        del prepared  # opening the data set reads it again
    return DataSet.open(out)
