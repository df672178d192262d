"""What an index says of itself: by which model, from which words, of which shape."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Self, get_args

from rella_cpp.domains.domain import Domain
from rella_cpp.errors import InputError
from rella_cpp.retrieval.encoder import Pool
from rella_cpp.storage.artifacts import read_json, write_json
from rella_cpp.storage.manifests import find_manifest

_FORMAT = 1
_MAKE = "make one: rella index build"
_REMEDY = "build it again (rella index build)"
NAME = "manifest.json"
DTYPES = ("f16", "f32")
_KINDS: dict[str, Any] = {"explained": (int, float), "files": dict, "versions": (dict, NoneType)}
"""What values are, where that is not the attribute's type."""


@dataclass(frozen=True, slots=True)
class IndexManifest:
    """The facts in an index's `manifest.json`.

    Attributes
    ----------
    model, fingerprint
        Name and SHA-256 of the embedding model.
    engine
        What else the vectors' bits depend on: versions and settings of the engine, in words.
    domain, template
        The domain's name; the SHA-256 of its wording for items (`Domain.item_fingerprint`).
    pool
        Which positions were averaged.
    width, dim, dtype
        Width of the hidden states, of the index's vectors, and how these are stored.
    items, items_digest
        How many there are; SHA-256 of their fields.
    explained
        Share of the variance that PCA kept.
    asked_dim
        The dimension asked for.
    files
        SHA-256 of each file.
    generation
        Number of the files; `add` writes new ones, and this file, replaced last, names them.
    versions
        Of the libraries that wrote it.

    """

    model: str
    fingerprint: str
    engine: str
    domain: str
    template: str
    pool: str
    width: int
    dim: int
    dtype: str
    items: int
    items_digest: str
    explained: float
    asked_dim: int
    files: dict[str, str]
    generation: int = 0
    versions: dict[str, str] | None = None

    @property
    def vectors_file(self) -> str:
        """Name of the usearch file."""
        return f"vectors-{self.generation}.usearch"

    @property
    def items_file(self) -> str:
        """Name of the items' file."""
        return f"items-{self.generation}.parquet"

    def save(self, folder: Path) -> None:
        """Write it into an index's folder."""
        write_json(folder / NAME, {"format": _FORMAT, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it from an index's folder.

        Raises
        ------
        InputError
            There is no index, or one of another format.

        """

        def check(facts: Mapping[str, Any]) -> None:
            if "rella_data" in facts:
                raise InputError("is a prepared data set, not an index", source=folder, remedy=_MAKE)
            if facts.get("format") != _FORMAT:
                raise InputError("is an index of another format", source=folder, remedy=_REMEDY)

        facts = read_json(find_manifest(folder, NAME, "index", _MAKE), _REMEDY, check=check)
        del facts["format"]
        try:
            manifest = cls(**facts)
            manifest._check_kinds()
        except (TypeError, ValueError) as error:
            raise InputError(f"is damaged ({error})", source=folder / NAME, remedy=_REMEDY) from None
        return manifest

    def grew_into(self, other: "IndexManifest") -> bool:
        """Tell whether another manifest is this one's after items were added: rows that were there are the same."""
        mine, its = (replace(m, items=0, items_digest="", files={}, generation=0) for m in (self, other))
        return mine == its and self.generation < other.generation and self.items <= other.items

    def _check_kinds(self) -> None:
        """Refuse values of another kind than the attributes', and numbers that no index has.

        Raises
        ------
        ValueError
            There is one.

        """
        for each in fields(self):
            value = getattr(self, each.name)
            kinds: Any = _KINDS[each.name] if each.name in _KINDS else each.type
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ValueError(f"{each.name} is {value!r:.100}")
            least = 0 if each.name == "generation" else 1
            if isinstance(value, int) and value < least and each.name != "explained":
                raise ValueError(f"{each.name} is {value}")
        for name, known in (("dtype", DTYPES), ("pool", get_args(Pool))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r:.100}")

    def check_domain(self, domain: Domain, source: Path) -> None:
        """Refuse another wording of items than the vectors were made from.

        Raises
        ------
        InputError
            The domain's items read otherwise.

        """
        if self.template != domain.item_fingerprint:
            raise InputError(
                f"was built from items of the domain {self.domain} ({self.template[:12]}), "
                f"not as {domain.name} ({domain.item_fingerprint[:12]}) words them",
                source=source,
                remedy=f"give --domain {self.domain}, build it again, or take it as it is with --allow-mismatch",
            )

    def check_model(self, name: str, fingerprint: str, source: Path) -> None:
        """Refuse another embedding model.

        Raises
        ------
        InputError
            Its fingerprint is another.

        """
        if self.fingerprint != fingerprint:
            raise InputError(
                f"was built with the model {self.model} ({self.fingerprint[:12]}), not {name} ({fingerprint[:12]})",
                source=source,
                remedy="give that model as --embed-model: vectors of two models cannot be compared",
            )
