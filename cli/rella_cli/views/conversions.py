"""How an adapter or a soft prompt looks that was converted from another format."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from rella_cli.views.inspection import record_facts, soft_size
from rella_cli.views.terminal import facts, note, print_json

if TYPE_CHECKING:
    from rella_gguf import Conversion, SoftConversion


def show_adapter(done: "Conversion", *, as_json: bool) -> None:
    """Print what an adapter adapts."""
    rescaled = f"; {done.rescaled} rescaled to that" if done.rescaled else ""
    told = {
        "adapter": done.out,
        "base": done.base,
        "architecture": done.architecture,
        "adapts": f"{done.pairs} matrices: {', '.join(done.targets)}",
        "rank": ", ".join(map(str, done.ranks)),
        "alpha": f"{done.alpha:g}{rescaled}",
    }
    _show(done, told, as_json=as_json)


def show_soft_prompt(done: "SoftConversion", *, as_json: bool) -> None:
    """Print how large a soft prompt is, and what it was trained for."""
    told = {
        "soft prompt": done.out,
        "trained for": done.base or "-",
        "architecture": done.architecture or "-",
        "size": soft_size(done.tokens, done.width),
        "trained as": done.kind,
        "stands at": done.at,
    }
    _show(done, told, as_json=as_json)


def _show(done: "Conversion | SoftConversion", told: dict[str, str], *, as_json: bool) -> None:
    """Print all of it as JSON; or notes, and what is told of it and of how it was tuned."""
    if as_json:
        print_json(asdict(done))
        return
    for text in done.notes:
        note(f"note: {text}")
    facts(told | dict(record_facts(done.record)))
