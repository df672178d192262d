"""Several sets of rows in one folder, which change together or not at all."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rella_cpp.recommender.rella import Rella
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.tuning.rows import RowFiles, RowForm, TuningRows, TuningSource, export_rows, read_files
from rella_gguf.files import check_output, locked, refuse_link, writing


def export_row_sets(
    sources: Mapping[str, TuningSource],
    out: str | Path,
    *,
    form: RowForm = "messages",
    valid: int = 256,
    judge: Rella | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> dict[str, TuningRows]:
    """Write sets of rows into a folder, each as `export_rows` does: `NAME.jsonl` and what stands beside it.

    Other files in the folder stay as they are.

    Parameters
    ----------
    sources
        Where the rows of each set come from, by its name.
    out
        The folder; it is made where there is none.
    form, valid, judge, force, progress
        See `export_rows`.

    Raises
    ------
    InputError
        See `export_rows`; or the folder cannot be written, or another process writes it.
    ContextError
        A text is longer than the judge's context.

    """
    out = Path(out)
    for name, source in sources.items():
        for path in _files(out, name):
            check_output(path, read_files(source, judge), force=force)
    part = out.absolute() / ".rella-part"
    written: dict[str, TuningRows] = {}
    made = not out.exists()
    with writing(out), locked(out):
        refuse_link(part)
        shutil.rmtree(part, ignore_errors=True)  # what a killed run left
        part.mkdir(parents=True)
        try:
            for name, source in sources.items():
                train = _files(part, name).train
                written[name] = export_rows(source, train, form=form, valid=valid, judge=judge, progress=progress)
            for name, rows in written.items():
                written[name] = _moved(rows, _files(out, name))
        finally:
            shutil.rmtree(part, ignore_errors=True)
            if made and not any(out.iterdir()):
                out.rmdir()
    return written


def _files(folder: Path, name: str) -> RowFiles:
    return RowFiles.of(folder / f"{name}.jsonl")


def _moved(rows: TuningRows, files: RowFiles) -> TuningRows:
    """Bring a set's files to their place; the manifest goes first and comes last, so that it never lies."""
    files.manifest.unlink(missing_ok=True)
    rows.train.replace(files.train)
    if rows.valid is None:
        files.valid.unlink(missing_ok=True)
    else:
        rows.valid.replace(files.valid)
    rows.manifest.replace(files.manifest)
    return replace(rows, train=files.train, valid=None if rows.valid is None else files.valid, manifest=files.manifest)
