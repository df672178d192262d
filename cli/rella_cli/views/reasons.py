"""How reasons look: what each behavior did to a score, as bars beside it, or in a line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rella_cli.views.terminal import console, line

if TYPE_CHECKING:
    from rich.text import Text

    from rella_cpp import Behavior, Domain, Explanation

_WIDTH = 10  # of a bar, on either side
_NAMED = 2  # behaviors for and against an item that a line names
CAVEAT = (
    "Reasons are changes of the logit when one thing is left out of the prompt. They are not causes, and need not add "
    "up. Read exactly (--exact), a score may differ a little from the one without reasons."
)


def draw_reasons(domain: "Domain", behaviors: "Sequence[Behavior]", reason: "Explanation") -> None:
    """Draw what each behavior did to a score, then profile, averages and a blend's terms."""
    rows = [(each.change, _named(domain, behaviors[each.place])) for each in reason.behaviors]
    rows += [(change, name) for change, name in ((reason.profile, "the profile"), (reason.averages, "the averages"))
             if change is not None]  # fmt: skip
    most = max((abs(change) for change, _ in rows), default=0.0)
    out = console()
    whole = f"{reason.score.gap:+.2f} ({reason.score.probability:.1%}; a logit of 0 is 50%)"
    out.print(f"  What was read, and what it did to the logit, {whole}:")
    for change, name in rows:
        shown = line("    ").append_text(_bar(change, most)).append_text(line(f"  {name}"))
        out.print(shown, overflow="ellipsis", no_wrap=True)
    if reason.terms:
        out.print("  What the calibration adds, against an average sample:")
        for term in reason.terms:
            out.print(line(f"    {term.change:+.2f}  {term.feature} ({term.value:.3g}, mean {term.mean:.3g})"))


def told_shortly(domain: "Domain", behaviors: "Sequence[Behavior]", reason: "Explanation") -> str:
    """Name the behaviors that did most for and against an item."""
    ordered = sorted(reason.behaviors, key=lambda each: -each.change)
    sides = {
        "for": [each for each in ordered if each.change > 0][:_NAMED],
        "against": [each for each in reversed(ordered) if each.change < 0][:_NAMED],
    }
    told = [
        f"{side}: " + ", ".join(f"{domain.name_item(behaviors[each.place].item)} {each.change:+.2f}" for each in found)
        for side, found in sides.items()
        if found
    ]
    return " · ".join(told) or "nothing was read"


def _named(domain: "Domain", behavior: "Behavior") -> str:
    scale = domain.rating
    rating = "" if scale is None or behavior.rating is None else f"  {scale.text_of(behavior.rating)}"
    return f"{domain.show_item(behavior.item)}{rating}"


def _bar(change: float, most: float) -> "Text":
    """Draw a change as a bar to the right of a middle line, or to its left."""
    full = round(abs(change) / most * _WIDTH) if most else 0
    left, right = ("", "█" * full) if change >= 0 else ("█" * full, "")
    shown = line(f"{change:+.2f} ")
    return shown.append_text(line(f"{left:>{_WIDTH}}│{right:<{_WIDTH}}", "green" if change >= 0 else "red"))
