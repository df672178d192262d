"""How a bundle looks."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rella_cli.views.terminal import count, facts, print_json

if TYPE_CHECKING:
    from rella_cpp.bundles.manifest import Manifest


def show_bundle(folder: Path, manifest: "Manifest", *, as_json: bool) -> None:
    """Print what a bundle says of itself."""
    if as_json:
        print_json({"bundle": str(folder), **asdict(manifest)})
        return
    said = manifest
    order = "" if said.order == "time" else f"order {said.order}"
    reading = [f"K {said.k}" if said.k else "", said.retrieval, said.window, order, said.chat_format]
    shown: dict[str, str | tuple[str, ...]] = {
        "bundle": f"{said.name}, in {folder}",
        "base model": f"{said.base.name} ({said.base.fingerprint[:12]}), {said.base.source}",
        "adapters": ", ".join(f"{path} × {scale:g}" for path, scale in said.adapters),
        "parts": ", ".join(path for what, path in said.parts() if what not in ("adapter", "base model")),
        "domain": said.domain,
        "reads": ", ".join([f"layout {said.layout}", *filter(None, reading)]),
    }
    shown |= {str(name): _figures(value) for name, value in said.card.items() if name not in shown}
    facts({name: value for name, value in shown.items() if value})


def _figures(value: Any) -> str | tuple[str, ...]:
    """Write an entry of the card: a text, or a line for each evaluation."""
    if not isinstance(value, list):
        return str(value)
    return tuple(map(_measured, value)) or "–"


def _measured(entry: Any) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("metrics"), dict):
        return str(entry)
    try:
        every = entry["metrics"] | entry.get("baselines", {})
        areas = [f"{name} {values['auc']:.3f}" for name, values in every.items() if values.get("auc")]
        named = f"{entry['name']}: " if entry.get("name") else ""
        where = f"{entry['samples']:,} of {entry['data']['name']} {entry['drawn']['split']}"
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):  # a card may hold anything
        return str(entry)
    return f"{named}AUC on {where}: {', '.join(areas)}"


def show_checked(folder: Path, manifest: "Manifest", *, as_json: bool) -> None:
    """Print that a bundle is whole."""
    if as_json:
        print_json({"bundle": str(folder), "name": manifest.name, "files": dict(manifest.files), "whole": True})
        return
    base = f"{manifest.base.name}, {'in it' if manifest.base.inside else f'found ({manifest.base.source})'}"
    files = f"{count(len(manifest.files), 'file')} as made"
    facts({"bundle": f"{manifest.name}, in {folder}", "whole": files, "base model": f"{base}, as made"})
