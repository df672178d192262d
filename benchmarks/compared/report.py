"""From what was timed to rows, and from rows to tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compared.task import Vector
from compared.timing import Timed

REFERENCE = "rella-cpp, exact"
"""The peer whose answers count."""
OURS = "rella-cpp"
"""The peer with whose time the others' are compared."""

Row = dict[str, object]


def rank_rows(timed: Sequence[Timed[float | None]], tolerance: float) -> list[Row]:
    """Describe what the judges took, and how far each one's probabilities are from the exact ones."""
    exact = next(peer for peer in timed if peer.name == REFERENCE).answers
    rows = []
    for peer in timed:
        pairs = [(a, b) for a, b in zip(peer.answers, exact, strict=False) if a is not None and b is not None]
        gaps = [abs(a - b) for a, b in pairs]
        rows.append(
            _row(peer, timed)
            | {
                "answered": len(gaps),
                "largest_difference": max(gaps, default=None),
                "mean_difference": float(np.mean(gaps)) if gaps else None,
                "agrees": len(gaps) == len(peer.answers) and max(gaps, default=1.0) <= tolerance,
            }
        )
    return rows


def embed_rows(timed: Sequence[Timed[Vector]], cosine: float) -> list[Row]:
    """Describe what the embedders took, and the cosines of each one's vectors to the exact ones."""
    exact = next(peer for peer in timed if peer.name == REFERENCE).answers
    rows = []
    for peer in timed:
        cosines = [_cosine(a, b) for a, b in zip(peer.answers, exact, strict=False)]
        least = min(cosines)
        rows.append(
            _row(peer, timed)
            | {"least_cosine": least, "mean_cosine": float(np.mean(cosines)), "agrees": least >= cosine}
        )
    return rows


def tables(results: Mapping[str, Any]) -> str:
    """Write the results as Markdown."""
    parts = [_conditions(results)]
    if results["rank"]:
        heads = ("ranking", "s an item", "times ours", "largest ΔP", "mean ΔP", "")
        parts.append(_table(heads, [_rank_cells(row) for row in results["rank"]]))
    if results["embed"]:
        heads = ("embedding", "s a title", "times ours", "least cosine", "mean cosine", "")
        parts.append(_table(heads, [_embed_cells(row) for row in results["embed"]]))
    return "\n\n".join(parts) + "\n"


def _row(peer: Timed[Any], timed: Sequence[Timed[Any]]) -> Row:
    ours = next(other for other in timed if other.name == OURS)
    return {
        "peer": peer.name,
        "how": peer.how,
        "prompts": peer.of,
        "prompts_read": peer.given,
        "scaled": peer.given < peer.of,
        "seconds": peer.median,
        "rounds": peer.seconds,
        "seconds_a_prompt": peer.median / peer.of,
        "times_ours": peer.median / ours.median,
    }


def _cosine(a: Vector, b: Vector) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _conditions(results: Mapping[str, Any]) -> str:
    from rella_cpp.benchmark.machine import describe

    mix, settings = results["mix"], results["settings"]
    facts = describe(results)
    threads = "1 thread" if settings["threads"] == 1 else f"{settings['threads']} threads"
    lengths = mix["prompt_tokens"]
    lines = [
        f"{facts['model']}, {threads}. {facts['machine']}. {facts['versions']}.",
        f"Ranking: {mix['items']} items after {mix['behaviors']} behaviors, prompts of {lengths['least']} to "
        f"{lengths['most']} tokens. Embedding: {mix['titles']} titles ({mix['titles_from']}). Medians of "
        f"{results['repeats']}.",
    ]
    return "\n".join(lines)


def _rank_cells(row: Mapping[str, Any]) -> list[str]:
    gaps = [row["largest_difference"], row["mean_difference"]]
    return [*_cells(row), *("–" if gap is None else f"{gap:.4f}" for gap in gaps), _remark(row)]


def _embed_cells(row: Mapping[str, Any]) -> list[str]:
    return [*_cells(row), f"{row['least_cosine']:.4f}", f"{row['mean_cosine']:.4f}", _remark(row)]


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [row["peer"], f"{row['seconds_a_prompt']:.4g}", f"{row['times_ours']:.1f}"]


def _remark(row: Mapping[str, Any]) -> str:
    unanswered = row["prompts_read"] - row.get("answered", row["prompts_read"])
    remarks = [f"scaled from {row['prompts_read']}"] if row["scaled"] else []
    if unanswered:
        remarks.append(f"{unanswered} not answered")
    elif not row["agrees"]:
        remarks.append("**answers differ**")
    return ", ".join(remarks)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = ["---", *["--:"] * (len(heads) - 2), "---"]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows))
