"""What a head is fitted on: features of prompts, kept on disk while they are computed."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import InputError
from rella_cpp.files import first_difference, locked, read_json, write_json
from rella_gguf.files import writing

_SETTINGS, _FEATURES = "settings.json.part", "features.part"
_REMEDY = "start anew with --force"


class FeatureFile:
    """Rows of float32 in a folder, that a killed process leaves to the next one with the same settings.

    Parameters
    ----------
    folder
        Where they lie meanwhile.
    settings
        What they depend on.
    width
        Numbers in a row.
    force
        Throw away what is there.

    Raises
    ------
    InputError
        Features with other settings lie there, or another process writes them.

    """

    def __init__(self, folder: Path, settings: Mapping[str, object], width: int, *, force: bool = False) -> None:
        self._folder, self._width = folder, width
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = locked(folder)
        self._lock.__enter__()
        try:
            self._begin(settings, force)
            self._file = (folder / _FEATURES).open("r+b" if (folder / _FEATURES).exists() else "w+b")
            self._file.seek(0, os.SEEK_END)
            self._file.truncate(self._file.tell() // self._row * self._row)  # a kill in the middle of a row
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise

    @property
    def done(self) -> int:
        """How many rows there are."""
        return self._file.seek(0, os.SEEK_END) // self._row

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """Append rows, float32 of shape (n, width); they are on disk when this returns."""
        with writing(self._folder / _FEATURES):
            self._file.seek(0, os.SEEK_END)
            self._file.write(rows.astype("<f4").tobytes())
            self._file.flush()
            os.fsync(self._file.fileno())

    def rows(self) -> npt.NDArray[np.float32]:
        """Return all rows, float32 of shape (n, width)."""
        self._file.seek(0)
        return np.frombuffer(self._file.read(), dtype="<f4").astype(np.float32).reshape(-1, self._width)

    def remove(self) -> None:
        """Delete the files: what was to be made of them is there."""
        for name in (_FEATURES, _SETTINGS):
            (self._folder / name).unlink(missing_ok=True)
        if not any(self._folder.iterdir()):
            self._folder.rmdir()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file and let others in."""
        self._file.close()
        self._lock.__exit__(kind, error, trace)

    @property
    def _row(self) -> int:
        return 4 * self._width

    def _begin(self, settings: Mapping[str, object], force: bool) -> None:
        path = self._folder / _SETTINGS
        if force:
            (self._folder / _FEATURES).unlink(missing_ok=True)
        elif path.exists():
            if difference := first_difference(read_json(path, _REMEDY), settings):
                name, was, now = difference
                raise InputError(
                    f"holds features begun with another {name}: {was}, not {now}",
                    source=self._folder,
                    remedy=f"name another folder, or {_REMEDY}",
                )
            return
        write_json(path, settings)
