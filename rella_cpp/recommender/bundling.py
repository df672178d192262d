"""A loaded model with all that goes with it, saved as a bundle."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rella_cpp.bundles.manifest import MARK, NAME, PACKAGED, Base, Manifest
from rella_cpp.engine.hub import packaged_model
from rella_cpp.errors import InputError
from rella_cpp.retrieval.selection import Selection
from rella_cpp.storage.artifacts import new_folder, sha256
from rella_gguf import shard_paths

if TYPE_CHECKING:
    from rella_cpp.recommender.rella import Rella

_KIND = "bundle"
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class BundleSettings:
    """What a bundle is called, and what of it is not in the loaded model.

    Attributes
    ----------
    name
        What it is called; None: as its folder.
    model
        How the base model was named: `hf:…` stays a name, and so does the packaged one; a file is put into the bundle.
    with_model
        Put the base model into the bundle whatever it is: nothing else need be installed.
    link
        Make hard links of large files, where that can be, in place of copies.
    selection
        Which behaviors are shown unless a request says otherwise; None: the layout's own.
    calibration, domain
        Files of the calibration, and of the domain's TOML, where there are some.
    card
        What it was trained and measured on, for people: JSON.

    """

    name: str | None = None
    model: str | None = None
    with_model: bool = False
    link: bool = False
    selection: Selection | None = None
    calibration: Path | None = None
    domain: Path | None = None
    card: Mapping[str, Any] = field(default_factory=dict)


def save_bundle(rella: "Rella", out: str | Path, settings: BundleSettings, *, force: bool = False) -> Manifest:
    """Write a loaded model and all that goes with it as a bundle; return what its manifest says.

    Raises
    ------
    InputError
        Something stands at `out` that is not overwritten, or it cannot be written.

    """
    out, usual = Path(out), {} if settings.selection is None else asdict(settings.selection)
    with new_folder(out, MARK, _KIND, force=force, manifest=NAME) as folder:
        writer = _Writer(folder, link=settings.link)
        manifest = Manifest(
            name=settings.name or out.absolute().name,
            base=_base(rella, settings, writer),
            domain=writer.take(settings.domain, f"{rella.domain.name}.toml") or rella.domain.name,
            wording=str(rella.settings()["domain"]["fingerprint"]),  # type: ignore[index]
            layout=rella.prompts.layout,
            adapters=tuple(
                (writer.put(adapter.path, f"adapter{number or ''}.gguf"), adapter.scale)
                for number, adapter in enumerate(rella.adapters)
            ),
            soft=writer.take(None if rella.soft is None else rella.soft.path, "soft.gguf"),
            head=None if rella.head is None else writer.made("head", rella.head.save),
            calibration=writer.take(settings.calibration, "calibration.json"),
            index=None if rella.vectors.index is None else writer.folder_of(rella.vectors.index.folder, "index"),
            chat_format=rella.prompts.given_chat_format,
            **{name: value for name, value in usual.items() if name != "allow_empty_history"},
            files=writer.files,
            card=settings.card,
        )
        manifest.save(folder)
    return manifest


def _base(rella: "Rella", settings: BundleSettings, writer: "_Writer") -> Base:
    header, identity = rella.engine.header, rella.model
    packaged = packaged_model()
    if settings.with_model or not (named := _name(settings.model, header.path, packaged)):
        parts = shard_paths(header.path)
        names = ["model.gguf"] if len(parts) == 1 else [part.name for part in parts]
        named = [writer.put(part, name) for part, name in zip(parts, names, strict=True)][0]
    return Base(identity.name, identity.fingerprint, named)


def _name(given: str | None, path: Path, packaged: Path | None) -> str:
    """Return the name by which the base can be found elsewhere, if it has one."""
    if given is not None and given.startswith("hf:"):
        return given
    return PACKAGED if packaged is not None and path.resolve() == packaged.resolve() else ""


class _Writer:
    """Puts parts into a bundle's folder, and keeps their fingerprints."""

    def __init__(self, folder: Path, *, link: bool) -> None:
        self._folder, self._link = folder, link
        self.files: dict[str, str] = {}

    def put(self, source: Path, name: str) -> str:
        """Copy or link a file; return its path in the bundle."""
        self._copy(source, self._folder / name)
        return self._sealed(name)

    def take(self, source: Path | None, name: str) -> str | None:
        """Copy or link a part that need not be there."""
        return None if source is None else self.put(source, name)

    def made(self, name: str, save: Callable[[Path], None]) -> str:
        """Let a part write its folder."""
        save(self._folder / name)
        for file in sorted((self._folder / name).iterdir()):
            self._sealed(f"{name}/{file.name}")
        return name

    def folder_of(self, source: Path, name: str) -> str:
        """Copy or link a folder's files."""
        (self._folder / name).mkdir()
        for file in sorted(source.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                self.put(file, f"{name}/{file.name}")
        return name

    def _copy(self, source: Path, out: Path) -> None:
        try:
            if self._link:
                os.link(source.resolve(), out)
                return
        except OSError:  # another disk, or one without links
            pass
        try:
            file = source.open("rb")
        except OSError as error:
            raise InputError(error.strerror or str(error), source=source, remedy="give a readable file") from error
        with file, out.open("wb") as copy:  # what goes wrong there is said as of any file that is written
            shutil.copyfileobj(file, copy, _PIECE)

    def _sealed(self, name: str) -> str:
        self.files[name] = sha256(self._folder / name)
        return name
