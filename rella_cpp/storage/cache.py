"""What is remembered between runs: item vectors, gaps without history, summaries, fingerprints of files, adapters.

One SQLite file, and converted adapters, in a folder that only its user may read; SQLite keeps two processes apart.
"""

import hashlib
import logging
import math
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import InputError
from rella_cpp.storage.folders import own_folder
from rella_cpp.storage.progress import Progress, no_progress
from rella_gguf import shard_paths
from rella_gguf.reader import combined
from rella_gguf.regular import refuse_special

logger = logging.getLogger("rella_cpp")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vectors (
    model TEXT NOT NULL, text BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (model, text)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (
    model TEXT NOT NULL, prompt BLOB NOT NULL, gap REAL NOT NULL, PRIMARY KEY (model, prompt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (
    model TEXT NOT NULL, prompt BLOB NOT NULL, text TEXT NOT NULL, PRIMARY KEY (model, prompt)
) WITHOUT ROWID;
"""
_BLOCK = 1 << 24
_TROUBLE = (OSError, sqlite3.Error)
_T = TypeVar("_T")
_ADAPTERS = "adapters/[0-9a-f]*/*.gguf"  # PEFT folders, converted


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """Where the cache lies and what is in it; `bytes` is its size on disk."""

    folder: str
    vectors: int
    models: int
    files: int
    adapters: int
    summaries: int
    bytes: int


def default_folder() -> Path:
    """Return `$RELLA_CACHE`, else the platform's folder for caches."""

    def usual() -> Path:
        from platformdirs import user_cache_path

        return user_cache_path("rella", appauthor=False)

    return own_folder("RELLA_CACHE", usual)


class Cache:
    """The cache in a folder, opened at first use; with `None` one that lives and dies with this object.

    One that went away meanwhile is made anew. Where the folder or the file in it cannot be used, one warning says so,
    and from then on this object remembers what it learns, and nothing else.

    Attributes
    ----------
    folder
        See above.
    origins
        What converted files in it were made from.

    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.origins: dict[Path, Path] = {}
        self._given_up = folder is None
        self._lock = threading.Lock()
        self._opened: tuple[int, int] | None = None
        self._database: sqlite3.Connection | None = None
        self._files: TemporaryDirectory[str] | None = None

    @classmethod
    def default(cls) -> Self:
        """Open the cache in its default folder."""
        return cls(default_folder())

    def vectors(self, model: str, texts: Sequence[str], width: int) -> dict[str, npt.NDArray[np.float32]]:
        """Return the vectors that are known, by text; each float32 of shape (width,).

        What is damaged (another width, no finite numbers) counts as not known.
        """
        known = {}
        for text, row in self._rows("SELECT vector FROM vectors WHERE model = ? AND text = ?", model, texts):
            if isinstance(row, bytes) and len(row) == 4 * width:
                vector = np.frombuffer(row, dtype="<f4").astype(np.float32)
                if np.isfinite(vector).all() and vector.any():
                    known[text] = vector
        return known

    def add_vectors(self, model: str, vectors: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Remember vectors by text. The texts themselves are not kept, only their SHA-256."""
        rows = [(model, _digest(text), vector.astype("<f4").tobytes()) for text, vector in vectors.items()]
        self._add("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def gap(self, model: str, prompt: str) -> float | None:
        """Return the logit gap of a prompt that shows no history; None where it is not known."""
        for _, gap in self._rows("SELECT gap FROM gaps WHERE model = ? AND prompt = ?", model, [prompt]):
            return gap if isinstance(gap, float) and math.isfinite(gap) else None
        return None

    def add_gap(self, model: str, prompt: str, gap: float) -> None:
        """Remember the gap of a prompt. The prompt itself is not kept, only its SHA-256."""
        self._add("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?)", [(model, _digest(prompt), gap)])

    def texts(self, model: str, prompts: Sequence[str]) -> dict[str, str]:
        """Return the generated texts that are known, by prompt."""
        rows = self._rows("SELECT text FROM texts WHERE model = ? AND prompt = ?", model, prompts)
        return {prompt: text for prompt, text in rows if isinstance(text, str)}

    def add_texts(self, model: str, texts: Mapping[str, str]) -> None:
        """Remember generated texts by prompt, all or none. The prompts themselves are not kept, only their SHA-256."""
        rows = [(model, _digest(prompt), text) for prompt, text in texts.items()]
        self._add("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", rows)

    def fingerprint(self, path: str | Path, progress: Progress = no_progress, *, split: bool = True) -> str:
        """Return the SHA-256 of a file in hexadecimal (of a split model, unless not `split`: of its parts' SHA-256s).

        Remembered by path, size, time and inode, so that a large file is read only once.
        """
        digests = [
            self._file_digest(part.resolve(), progress) for part in (shard_paths(path) if split else [Path(path)])
        ]
        return combined(digests)

    def known_fingerprint(self, path: str | Path) -> str | None:
        """Return a model's fingerprint if it is remembered, and the file is as it was; else None."""
        try:
            digests = [self._known_digest(part.resolve()) for part in shard_paths(path)]
        except OSError:
            return None
        return None if None in digests else combined([known for known in digests if known is not None])

    def folder_for(self, kind: str) -> Path:
        """Return a folder for files of one kind; of a cache that dies with this object, one that dies with it."""
        if self.folder is not None and not self._given_up:
            folder = self.folder / kind
            try:
                folder.mkdir(parents=True, mode=0o700, exist_ok=True)
                return folder
            except OSError as error:
                self.give_up(error)
        if self._files is None:
            self._files = TemporaryDirectory(prefix="rella-")
        (Path(self._files.name) / kind).mkdir(mode=0o700, exist_ok=True)
        return Path(self._files.name) / kind

    def give_up(self, reason: Exception) -> None:
        """Say that the folder cannot be used, and remember without it from now on."""
        if not self._given_up:
            logger.warning(
                "the cache in %s cannot be used (%s), so nothing is kept for the next run: clear it (rella cache "
                "clear), or name another folder in RELLA_CACHE",
                *(self.folder, reason),
            )
        self._given_up = True

    def info(self) -> CacheInfo:
        """Count what is there.

        Raises
        ------
        InputError
            The folder or the file in it cannot be used.

        """
        try:
            vectors, models, files, summaries = self._do(_count, keep=True)
            kept = [*self.folder.glob("rella.sqlite*"), *self.folder.glob(_ADAPTERS)] if self.folder else []
            adapters = sum(file.suffix == ".gguf" for file in kept)
            size = sum(file.stat().st_size for file in kept)
        except _TROUBLE as error:
            raise self._unusable(error) from None
        return CacheInfo(str(self.folder or "memory"), vectors, models, files, adapters, summaries, size)

    def clear(self) -> None:
        """Forget everything; a damaged file is deleted.

        Raises
        ------
        InputError
            The folder or the file in it cannot be used.

        """
        try:
            try:
                self._do(_forget, keep=True)
            except sqlite3.DatabaseError as error:
                if self.folder is None or isinstance(error, sqlite3.OperationalError):
                    raise
                for file in self.folder.glob("rella.sqlite*"):
                    file.unlink()
                self._do(_forget, keep=True)
        except _TROUBLE as error:
            raise self._unusable(error) from None
        if self.folder is not None:
            shutil.rmtree(self.folder / "adapters", ignore_errors=True)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._disconnect()
            if self._files is not None:
                self._files.cleanup()
                self._files = None

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    def _known_digest(self, path: Path) -> str | None:
        query, facts = "SELECT sha256 FROM files WHERE path = ? AND state = ?", (_name(path), _state(path))
        row = self._do(lambda database: database.execute(query, facts).fetchone())
        return str(row[0]) if row is not None and re.fullmatch(r"[0-9a-f]{64}", str(row[0])) else None

    def _file_digest(self, path: Path, progress: Progress) -> str:
        state, size = _state(path), path.stat().st_size
        if (known := self._known_digest(path)) is not None:
            return known
        digest, done = hashlib.sha256(), 0
        refuse_special(path)
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                done += len(block)
                progress("reading the file once for its fingerprint, MiB", done >> 20, size >> 20)
        self._add("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", [(_name(path), state, digest.hexdigest())])
        return digest.hexdigest()

    def _rows(self, query: str, model: str, texts: Sequence[str]) -> list[tuple[str, Any]]:
        """Look texts up; return those that are known, each with its value."""

        def look_up(database: sqlite3.Connection) -> list[tuple[str, Any]]:
            rows = ((text, database.execute(query, (model, _digest(text))).fetchone()) for text in texts)
            return [(text, row[0]) for text, row in rows if row is not None]

        return self._do(look_up)

    def _add(self, query: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._do(lambda database: database.executemany(query, rows))

    def _do(self, work: Callable[[sqlite3.Connection], _T], *, keep: bool = False) -> _T:
        """Work on the database, all or nothing; once more where it went away, without it where it cannot be used.

        With `keep` it is not given up: the error is raised.
        """
        with self._lock:
            try:
                try:
                    return self._try(work)
                except _TROUBLE as error:
                    self._disconnect()
                    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                        raise  # it was waited for already
                    return self._try(work)
            except _TROUBLE as error:
                self._disconnect()
                if keep or self._given_up:
                    raise
                self.give_up(error)
                return self._try(work)

    def _try(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._opened is not None and self._opened != _inode(self._file):
            self._disconnect()  # cleared by hand: what is written to it would be lost
        if self._database is None:
            self._database = sqlite3.connect(":memory:", check_same_thread=False) if self._given_up else self._connect()
            self._database.executescript(_SCHEMA)
        with self._database:
            return work(self._database)

    @property
    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / "rella.sqlite"

    def _connect(self) -> sqlite3.Connection:
        file = self._file
        file.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        if not file.exists():  # one that may only be read is read
            file.touch(mode=0o600)
        database = sqlite3.connect(file, timeout=60, check_same_thread=False)
        self._opened = _inode(file)
        return database

    def _disconnect(self) -> None:
        self._opened = None
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _unusable(self, error: Exception) -> InputError:
        return InputError(
            f"the cache cannot be used ({error})",
            source=self.folder,
            remedy="name another folder in RELLA_CACHE, or delete this one",
        )


def _name(path: Path) -> str:
    """Return a path as text that SQLite takes, whatever bytes it has."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def _state(path: Path) -> str:
    """Describe a file so that a change shows: size, times and inode."""
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns} {facts.st_ino}"


def _inode(path: Path) -> tuple[int, int] | None:
    """Tell which file has this name now."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _count(database: sqlite3.Connection) -> tuple[int, int, int, int]:
    """Count vectors, their models, fingerprints of files, and summaries."""
    vectors, models = database.execute("SELECT count(*), count(DISTINCT model) FROM vectors").fetchone()
    (files,) = database.execute("SELECT count(*) FROM files").fetchone()
    (summaries,) = database.execute("SELECT count(*) FROM texts").fetchone()
    return vectors, models, files, summaries


def _forget(database: sqlite3.Connection) -> None:
    for table in ("vectors", "gaps", "texts", "files"):
        database.execute(f"DELETE FROM {table}")
    database.commit()
    database.execute("VACUUM")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", errors="replace")).digest()
