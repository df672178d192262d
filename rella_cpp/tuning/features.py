"""What a head is fitted on: features of prompts, kept on disk while they are computed."""

import os
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import InputError
from rella_cpp.storage.artifacts import brief, first_difference, read_json, write_json
from rella_gguf.files import is_empty, locked, no_follow, refuse_link, writing

_SETTINGS, _FEATURES = "settings.json", "features.part"
_REMEDY = "start anew with --force"
_CHECK = 4  # bytes of a row's checksum, behind it


class FeatureFile:
    """Rows of float32 in a folder, that a killed process leaves to the next one with the same settings.

    Parameters
    ----------
    folder
        Where they lie meanwhile.
    settings
        What they depend on, as JSON.
    width
        Numbers in a row.
    most
        Rows that there can be.
    force
        Throw away what has other settings or is damaged.

    Raises
    ------
    InputError
        Features with other settings, damaged ones or something else lie there, or another process writes them.

    """

    def __init__(
        self, folder: Path, settings: Mapping[str, object], width: int, most: int, *, force: bool = False
    ) -> None:
        self._folder, self._width, self._most = folder, width, most
        refuse_link(folder)
        with writing(folder):
            if folder.exists() and not is_empty(folder) and not (folder / _SETTINGS).is_file():
                raise InputError("holds something else than features", source=folder, remedy="name another head")
            folder.mkdir(parents=True, exist_ok=True)
        self._stack = ExitStack()
        with ExitStack() as stack:
            stack.enter_context(locked(folder))
            try:
                self._open(settings, stack)
            except InputError:
                if not force:
                    raise
                for name in (_FEATURES, _SETTINGS):
                    (folder / name).unlink(missing_ok=True)
                self._open(settings, stack)
            self._stack = stack.pop_all()

    @property
    def done(self) -> int:
        """How many rows there are."""
        return self._file.seek(0, os.SEEK_END) // self._row

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """Append rows, float32 of shape (n, width); they are on disk when this returns."""
        with writing(self._folder / _FEATURES):
            for row in rows.astype("<f4"):
                data = row.tobytes()
                self._file.write(data + zlib.crc32(data).to_bytes(_CHECK, "little"))
            os.fsync(self._file.fileno())

    def rows(self) -> npt.NDArray[np.float32]:
        """Return all rows, float32 of shape (n, width).

        Raises
        ------
        InputError
            There are too many, or one was changed since it was written.

        """
        self._file.seek(0)
        data = np.frombuffer(self._file.read(), np.uint8).reshape(-1, self._row)
        path = self._folder / _FEATURES
        if len(data) > self._most:
            raise InputError(f"holds {len(data)} rows of {self._most}", source=path, remedy=_REMEDY)
        for number, row in enumerate(data, start=1):
            if zlib.crc32(row[:-_CHECK].tobytes()) != int.from_bytes(row[-_CHECK:].tobytes(), "little"):
                raise InputError("is damaged", source=path, place=f"row {number}", remedy=_REMEDY)
        return data[:, :-_CHECK].copy().view("<f4").astype(np.float32)

    def remove(self) -> None:
        """Delete the files: what was to be made of them is there."""
        for name in (_FEATURES, _SETTINGS):
            (self._folder / name).unlink(missing_ok=True)
        if is_empty(self._folder):
            self._folder.rmdir()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the file and let others in."""
        self._stack.close()

    @property
    def _row(self) -> int:
        return 4 * self._width + _CHECK

    def _open(self, settings: Mapping[str, object], stack: ExitStack) -> None:
        """Open what is there, or begin."""
        path = self._folder / _SETTINGS
        if not path.exists():
            write_json(path, settings)
        elif difference := first_difference(read_json(path, _REMEDY), settings):
            name, was, now = difference
            raise InputError(
                f"holds features begun with another {name}: {brief(was)}, not {brief(now)}",
                source=self._folder,
                remedy=f"name another head, or {_REMEDY}",
            )
        path = self._folder / _FEATURES
        refuse_link(path)
        with writing(path):
            self._file = stack.enter_context(open(path, "a+b", buffering=0, opener=no_follow))
            self._file.truncate(self.done * self._row)  # a kill in the middle of a row
        self.rows()
