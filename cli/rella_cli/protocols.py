"""What `rella evaluate --protocol` takes: which options belong to which protocol, and the settings that they make."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rella_cpp import RankingSettings, SummarySettings

_PROTOCOLS = ("clicks", "rank", "choose")
_OWN = {"negatives": ("rank",), "candidates": ("choose",), "ranking": ("choose",), "by": ("rank", "choose")}
"""Options that not every protocol has."""


def ranking_settings(context: typer.Context, summary: "SummarySettings | None") -> "RankingSettings | None":
    """Make the settings of a ranking from a command's options; None where the protocol is no ranking.

    Raises
    ------
    InputError
        There is no such protocol, it has not an option that was given, or a value is out of its range.

    """
    from rella_cli.views.choices import by_likelihood
    from rella_cpp import RankingSettings

    given: dict[str, Any] = context.params
    protocol = given["protocol"]
    _check(protocol, given)
    if protocol == "clicks":
        return None
    by: Any = given["by"] or ("likelihood" if protocol == "choose" else "yes-no")
    by_likelihood(context, by, "contrast", "head")
    known = {name: given[name] for name in ("split", "limit", "seed", "k", "retrieval", "order")}
    if protocol == "choose":
        candidates = 15 if given["candidates"] is None else given["candidates"]
        return RankingSettings.choosing(candidates=candidates, by=by, summary=summary, **known)
    negatives = 20 if given["negatives"] is None else given["negatives"]
    return RankingSettings(**known, negatives=negatives, summary=summary, by=by)


def _check(protocol: str, given: dict[str, Any]) -> None:
    """Refuse options that a protocol does not have."""
    from rella_cpp import InputError

    if protocol not in _PROTOCOLS:
        raise InputError(f"protocol is {protocol!r}", remedy=f"one of {', '.join(_PROTOCOLS)}")
    if protocol == "choose" and given["negatives"] is not None:
        remedy = f"count the next item, too: --candidates {given['negatives'] + 1}"
        raise InputError("--negatives are those of --protocol rank", remedy=remedy)
    for name, protocols in _OWN.items():
        if given[name] is not None and protocol not in protocols:
            which = " and ".join(protocols)
            verb = "are those" if name.endswith("s") else "is that"
            raise InputError(f"--{name} {verb} of --protocol {which}", remedy="leave one out, or give both")
    if protocol != "clicks" and given["sweep"]:
        raise InputError(f"--protocol {protocol} reads one K", remedy="leave out --sweep, and make a run for each -k")
    if protocol != "clicks" and given["calibration"]:
        raise InputError(f"--protocol {protocol} needs no calibrated probabilities", remedy="leave out --calibration")
