"""What is remembered between runs: item vectors, gaps without history, summaries, fingerprints of files, adapters.

One SQLite file, and converted adapters, in a folder that only its user may read; SQLite keeps two processes apart.
"""

import hashlib
import math
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import InputError
from rella_gguf import shard_paths
from rella_gguf.reading import combined
from rella_gguf.regular import refuse_special

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
_ADAPTERS = "adapters/[0-9a-f]*/*.gguf"  # PEFT folders, converted

Progress = Callable[..., None]
"""Called with a task's name, what is done and the total, as work goes on; now and then with a note as the fourth."""


def no_progress(_task: str, _done: int, _total: int, _note: str = "") -> None:
    """Show nothing."""


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
    if chosen := os.environ.get("RELLA_CACHE"):
        return Path(os.path.expanduser(chosen))  # Path's own raises where there is no such user
    from platformdirs import user_cache_path

    return user_cache_path("rella", appauthor=False)


class Cache:
    """The cache in a folder, opened at first use; with `None` one that lives and dies with this object.

    Raises
    ------
    InputError
        The folder or the file in it cannot be used.

    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
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
        with self._access() as database:
            for text in texts:
                row = database.execute(
                    "SELECT vector FROM vectors WHERE model = ? AND text = ?", (model, _digest(text))
                ).fetchone()
                if row is not None and isinstance(row[0], bytes) and len(row[0]) == 4 * width:
                    vector = np.frombuffer(row[0], dtype="<f4").astype(np.float32)
                    if np.isfinite(vector).all() and vector.any():
                        known[text] = vector
        return known

    def add_vectors(self, model: str, vectors: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Remember vectors by text. The texts themselves are not kept, only their SHA-256."""
        rows = [(model, _digest(text), vector.astype("<f4").tobytes()) for text, vector in vectors.items()]
        with self._access() as database, database:
            database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def gap(self, model: str, prompt: str) -> float | None:
        """Return the logit gap of a prompt that shows no history; None where it is not known."""
        with self._access() as database:
            row = database.execute(
                "SELECT gap FROM gaps WHERE model = ? AND prompt = ?", (model, _digest(prompt))
            ).fetchone()
        return float(row[0]) if row is not None and isinstance(row[0], float) and math.isfinite(row[0]) else None

    def add_gap(self, model: str, prompt: str, gap: float) -> None:
        """Remember the gap of a prompt. The prompt itself is not kept, only its SHA-256."""
        with self._access() as database, database:
            database.execute("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?)", (model, _digest(prompt), gap))

    def texts(self, model: str, prompts: Sequence[str]) -> dict[str, str]:
        """Return the generated texts that are known, by prompt."""
        known = {}
        with self._access() as database:
            for prompt in prompts:
                row = database.execute(
                    "SELECT text FROM texts WHERE model = ? AND prompt = ?", (model, _digest(prompt))
                ).fetchone()
                if row is not None and isinstance(row[0], str):
                    known[prompt] = row[0]
        return known

    def add_texts(self, model: str, texts: Mapping[str, str]) -> None:
        """Remember generated texts by prompt, all or none. The prompts themselves are not kept, only their SHA-256."""
        rows = [(model, _digest(prompt), text) for prompt, text in texts.items()]
        with self._access() as database, database:
            database.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", rows)

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
        """Return a folder for files of one kind; of a cache that dies with this object, one that dies with it.

        Raises
        ------
        InputError
            It cannot be made.

        """
        if self.folder is None:
            if self._files is None:
                self._files = TemporaryDirectory(prefix="rella-")
            root = Path(self._files.name)
        else:
            root = self.folder
        try:
            (root / kind).mkdir(parents=True, mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None
        return root / kind

    def info(self) -> CacheInfo:
        """Count what is there."""
        with self._access() as database:
            vectors, models = database.execute("SELECT count(*), count(DISTINCT model) FROM vectors").fetchone()
            (files,) = database.execute("SELECT count(*) FROM files").fetchone()
            (summaries,) = database.execute("SELECT count(*) FROM texts").fetchone()
        kept = [*self.folder.glob("rella.sqlite*"), *self.folder.glob(_ADAPTERS)] if self.folder else []
        adapters = sum(file.suffix == ".gguf" for file in kept)
        size = sum(file.stat().st_size for file in kept)
        return CacheInfo(str(self.folder or "memory"), vectors, models, files, adapters, summaries, size)

    def clear(self) -> None:
        """Forget everything."""
        with self._access() as database:
            with database:
                database.execute("DELETE FROM vectors")
                database.execute("DELETE FROM gaps")
                database.execute("DELETE FROM texts")
                database.execute("DELETE FROM files")
            database.execute("VACUUM")
        if self.folder is not None:
            shutil.rmtree(self.folder / "adapters", ignore_errors=True)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
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
        with self._access() as database:
            row = database.execute(
                "SELECT sha256 FROM files WHERE path = ? AND state = ?", (_name(path), _state(path))
            ).fetchone()
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
        with self._access() as database, database:
            database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (_name(path), state, digest.hexdigest()))
        return digest.hexdigest()

    def _connect(self) -> sqlite3.Connection:
        if self.folder is None:
            database = sqlite3.connect(":memory:", check_same_thread=False)
            database.executescript(_SCHEMA)
            return database
        file = self.folder / "rella.sqlite"
        try:
            self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            file.touch(mode=0o600)
            database = sqlite3.connect(file, timeout=60, check_same_thread=False)
            database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        return database

    @contextmanager
    def _access(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._database is None:
                self._database = self._connect()
            try:
                yield self._database
            except sqlite3.Error as error:
                raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> InputError:
        return InputError(
            f"the cache cannot be used ({error})",
            source=self.folder,
            remedy="name another folder in RELLA_CACHE, delete this one, or run with --no-cache",
        )


def _name(path: Path) -> str:
    """Return a path as text that SQLite takes, whatever bytes it has."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def _state(path: Path) -> str:
    """Describe a file so that a change shows: size, times and inode."""
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns} {facts.st_ino}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", errors="replace")).digest()
