"""An index's files, each compared with its SHA-256 when it is first used; of the generation that is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rella_cpp.errors import InputError
from rella_cpp.retrieval.index.graph import REMEDY
from rella_cpp.retrieval.index.manifest import IndexManifest
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress

_T = TypeVar("_T")


class CheckedFiles:
    """The files that an index's manifest names.

    Parameters
    ----------
    folder, manifest, cache
        See `ItemIndex`.

    Attributes
    ----------
    manifest
        Of the generation that was read last.
    progress
        Told while a large file is compared.

    """

    def __init__(self, folder: Path, manifest: IndexManifest, *, cache: Cache | None = None) -> None:
        self.folder, self.manifest, self.cache = folder, manifest, cache
        self.progress: Progress = no_progress
        self._kept: dict[str, Any] = {}

    def read(self, name: Callable[[IndexManifest], str], read: Callable[[Path], _T]) -> _T:
        """Check a file and read it; where items were added meanwhile, the one that has them.

        Raises
        ------
        InputError
            It is missing, damaged or cannot be read, or the index was built again.

        """
        while True:
            path = self.folder / name(self.manifest)
            try:
                self._check(path)
                return read(path)
            except (InputError, OSError) as error:
                if not path.exists() and self._renewed():
                    continue
                if isinstance(error, InputError):
                    raise
                raise InputError(error.strerror or str(error), source=path, remedy=REMEDY) from None

    def keep(self, key: str, make: Callable[[], _T]) -> _T:
        """Return what was made under a key; make it anew once the index has grown."""
        if key not in self._kept:
            made = make()  # may find that the index has grown, which forgets what was kept
            self._kept[key] = made
        kept: _T = self._kept[key]
        return kept

    def _check(self, path: Path) -> None:
        """Compare a file with its digest."""
        if self._sha256(path) != self.manifest.files.get(path.name):
            if IndexManifest.load(self.folder) != self.manifest:
                raise InputError("was built again since it was opened", source=self.folder, remedy="open it again")
            raise InputError("is damaged (its checksum is another)", source=path, remedy=REMEDY)

    def _sha256(self, path: Path) -> str:
        """Return a file's digest, remembered where there is a cache that can be used."""
        if self.cache is not None:
            return self.cache.fingerprint(path, self.progress, split=False)
        with Cache.default() as cache:
            return cache.fingerprint(path, self.progress, split=False)

    def _renewed(self) -> bool:
        """Go on with the index that this one has grown into; tell whether there is one."""
        grown = IndexManifest.load(self.folder)
        if not self.manifest.grew_into(grown):
            return False
        self.manifest = grown
        self._kept.clear()
        return True
