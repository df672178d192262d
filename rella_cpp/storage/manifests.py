"""Manifests: whether a folder is of the kind that is wanted, of a format that is read here, and as it was written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rella_cpp.errors import InputError
from rella_cpp.storage.artifacts import read_json, sha256


def find_manifest(folder: Path, name: str, kind: str, remedy: str) -> Path:
    """Return the file that makes a folder one of ours.

    Parameters
    ----------
    name
        The file's name.
    kind
        What such a folder is called.
    remedy
        How to make one.

    Raises
    ------
    InputError
        There is no such folder, or no such file in it.

    """
    path = folder / name
    if not path.is_file():
        finding = f"is no {kind} (it has no {name})" if folder.exists() else "no such folder"
        raise InputError(finding, source=folder, remedy=remedy)
    return path


@dataclass(frozen=True, slots=True)
class Tables:
    """A kind of folder that holds tables, and a manifest with the version and each table's SHA-256.

    Attributes
    ----------
    mark, version
        The manifest's key that no other kind has, and its value: the version of the format.
    noun
        What such a folder holds, for messages.
    absent
        What a folder without a manifest is, for messages.
    give, make
        Remedies: what to give in place of a folder that is none, and how to make one.
    again
        The remedy for damage.

    """

    mark: str
    version: int
    noun: str
    absent: str
    give: str
    make: str
    again: str

    def manifest(self, folder: Path) -> dict[str, Any]:
        """Read the manifest.

        Raises
        ------
        InputError
            There is no such folder, it is of another kind or version, or its manifest is damaged.

        """
        if not folder.is_dir():
            finding = "is no folder" if folder.exists() else "no such folder"
            raise InputError(finding, source=folder, remedy=f"give {self.give}, or {self.make}")
        path = folder / "manifest.json"
        if not path.is_file():
            raise InputError(self.absent, source=folder, remedy=self.make)

        def check(manifest: Mapping[str, Any]) -> None:
            if self.mark not in manifest:
                raise InputError(f"is no manifest of {self.noun}", source=path, remedy=self.make)
            if manifest[self.mark] != self.version:
                finding = f"is of version {manifest[self.mark]}, this rella reads version {self.version}"
                raise InputError(finding, source=path, remedy=self.again)

        return read_json(path, self.again, check=check)

    def check(self, folder: Path, manifest: Mapping[str, Any], names: Iterable[str]) -> None:
        """Compare tables with their manifest.

        Raises
        ------
        InputError
            One is missing, or was changed since it was written.

        """
        for name in names:
            path = folder / name
            if not path.is_file():
                raise InputError("no such file", source=path, remedy=self.again)
            if sha256(path) != manifest["files"][name]:
                raise InputError("is not as it was written (its SHA-256 differs)", source=path, remedy=self.again)
