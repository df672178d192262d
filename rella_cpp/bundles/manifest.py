"""What a bundle's `bundle.json` says: the model, what goes with it, how histories are read, what was measured."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Self

from rella_cpp.domains.values import describe, quoted
from rella_cpp.errors import InputError
from rella_cpp.storage.artifacts import read_json, write_json
from rella_cpp.storage.manifests import find_manifest

NAME = "bundle.json"
FORMAT = 1
MARK = "rella_bundle"
_MAKE = "make one: rella bundle make -o DIR …"
_AGAIN = "make it again: rella bundle make --force …"
_BEST = 3
"""Baselines that are named beside the model."""
PACKAGED = "packaged"
"""The source of a base model that the extra `smollm2` brings."""


@dataclass(frozen=True, slots=True)
class Base:
    """The model that judges.

    Attributes
    ----------
    name, fingerprint
        What the GGUF calls itself, and the SHA-256 of its file or files.
    source
        Where it is: a path in the bundle, `hf:OWNER/REPO[:QUANT]`, or `packaged`.

    """

    name: str
    fingerprint: str
    source: str

    @property
    def inside(self) -> bool:
        """Whether it lies in the bundle."""
        return self.source != PACKAGED and not self.source.startswith("hf:")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A bundle's parts, by paths in its folder, and how it reads a history.

    Attributes
    ----------
    name
        What the bundle is called.
    base
        See `Base`.
    adapters
        LoRA adapters with their scales, in order.
    soft, head, calibration, index
        A soft prompt, a head's folder, a calibration and an index's folder; None: without.
    domain, wording
        The domain's name, or the path of its TOML file; the fingerprint of the wording that all was made for.
    layout, chat_format
        See `Rella`; a chat format of None is the model's own.
    k, retrieval, order, window
        Which behaviors a prompt shows unless a request says otherwise; see `Selection`. None: the layout's own.
    files
        Each file's SHA-256, by path.
    card
        What it was trained and measured on, its licence, what it cannot do: for people.

    """

    name: str
    base: Base
    domain: str
    wording: str
    layout: str
    adapters: tuple[tuple[str, float], ...] = ()
    soft: str | None = None
    head: str | None = None
    calibration: str | None = None
    index: str | None = None
    chat_format: str | None = None
    k: int | None = None
    retrieval: str | None = None
    order: str = "time"
    window: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    def parts(self) -> Iterator[tuple[str, str]]:
        """Yield the parts that lie in the bundle: what each is, and its path."""
        if self.base.inside:
            yield "base model", self.base.source
        for path, _ in self.adapters:
            yield "adapter", path
        for what in ("soft", "head", "calibration", "index"):
            if (path := getattr(self, what)) is not None:
                yield {"soft": "soft prompt"}.get(what, what), path
        if self.domain.endswith(".toml"):
            yield "domain", self.domain

    def measured(self) -> str:
        """Return the first evaluation of the card as one line: the model's AUC, and those of the best baselines.

        It is empty where the card has none, or one of another form: a card is for people.
        """
        try:
            entry = self.card["measured"][0]
            own = entry["metrics"]["model"]["auc"]
            areas = {name: values["auc"] for name, values in entry.get("baselines", {}).items() if values.get("auc")}
            where = f"{entry['samples']:,} {entry['drawn']['split']} samples of {entry['data']['name']}"
            where += f" ({entry['name']})" if entry.get("name") else ""
            best = sorted(areas, key=lambda name: -areas[name])[:_BEST]
            beside = ", ".join(f"{name} {areas[name]:.3f}" for name in best)
            return f"AUC {own:.3f} on {where}" + (f"; baselines: {beside}" if beside else "")
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            return ""

    def save(self, folder: Path) -> None:
        """Write it into a bundle's folder."""
        write_json(folder / NAME, {MARK: FORMAT, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it from a bundle's folder.

        Raises
        ------
        InputError
            There is no bundle, it is of a newer format, is damaged, or has a path that leads out of it.

        """
        path = find_manifest(folder, NAME, "bundle", _MAKE)

        def check(facts: Mapping[str, Any]) -> None:
            if MARK not in facts:
                raise InputError("is no bundle.json of a bundle", source=path, remedy=_MAKE)
            if facts[MARK] != FORMAT:
                finding = f"is of format {quoted(facts[MARK])}, this rella reads format {FORMAT}"
                raise InputError(finding, source=path, remedy="open it with the rella that made it, or a newer one")

        facts = read_json(path, _AGAIN, check=check)
        del facts[MARK]
        try:
            made = cls(**_checked(facts))
        except (TypeError, ValueError, KeyError, ArithmeticError) as error:
            raise InputError(f"is damaged ({error})", source=path, remedy=_AGAIN) from None
        for what, part in (*made.parts(), *(("file", name) for name in made.files)):
            _refuse_outside(part, what, path)
        return made


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a manifest; ValueError, TypeError or KeyError where one is of another kind."""
    known = {each.name for each in fields(Manifest)}
    if strange := facts.keys() - known:
        raise ValueError(f"{quoted(min(strange))} is no key of it")
    for name, value in facts.items():
        if name in _KINDS and not _KINDS[name](value):
            raise ValueError(f"{name} is {quoted(value) if isinstance(value, int | float) else describe(value)}")
    base = Base(**facts["base"])
    if not all(isinstance(text, str) and text for text in (base.name, base.fingerprint, base.source)):
        raise ValueError("base is not what it should be")
    adapters = tuple((str(path), float(scale)) for path, scale in facts.get("adapters", ()))
    if not all(math.isfinite(scale) for _, scale in adapters):
        raise ValueError("a scale is no finite number")
    if len({path for path, _ in adapters}) < len(adapters):
        raise ValueError("an adapter is named twice")
    return facts | {"base": base, "adapters": adapters}


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _text_or_none(value: object) -> bool:
    return value is None or _text(value)


def _whole(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)


def _texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_text, value.values()))


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("name", "domain", "wording", "layout", "order"), _text),
    **dict.fromkeys(("soft", "head", "calibration", "index", "chat_format", "retrieval", "window"), _text_or_none),
    "k": _whole,
    "files": _texts,
    "card": lambda value: isinstance(value, dict),
    "base": lambda value: isinstance(value, dict),
    "adapters": lambda value: isinstance(value, list),
}


def _refuse_outside(part: str, what: str, source: Path) -> None:
    """Refuse a path that leads out of the bundle."""
    path = PurePosixPath(part)
    if path.is_absolute() or ".." in path.parts or "\\" in part or ":" in part or not path.parts:
        finding = f"its {what} is {quoted(part)}, outside the bundle"
        raise InputError(finding, source=source, remedy="give a path in the bundle's folder, with /")
