"""How preference summaries look: one as it grew, and those of a data set."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding

from rella_cli.views.scores import told_unshown
from rella_cli.views.terminal import console, count, facts, line, lines, note, print_json

if TYPE_CHECKING:
    from rella_cpp import Behavior, Domain, ModelIdentity, PreferenceSummary, SummarySettings, WrittenSummaries

_NOTHING = "(nothing: the model wrote no word)"
_WRITTEN = {"recurrent": "The summary so far", "hierarchical": "The summary of this block"}


class Growing:
    """The view of one history: its blocks, what was written after each, and the summary.

    Parameters
    ----------
    domain
        Shows items and ratings.
    behaviors
        The history as it stood in the input.
    found, settings
        Its summary, and how that was made.
    model
        What wrote it.

    """

    def __init__(
        self,
        domain: "Domain",
        behaviors: "Sequence[Behavior]",
        found: "PreferenceSummary",
        settings: "SummarySettings",
        model: "ModelIdentity",
    ) -> None:
        self.domain, self.behaviors, self.found = domain, behaviors, found
        self.settings, self.model = settings, model

    def show(self, *, as_json: bool) -> None:
        """Print the summary, and what is to be said of it."""
        if as_json:
            print_json(self.found.as_dict())
        else:
            self._draw()
        for unshown in told_unshown(self.domain, [behavior.item for behavior in self.behaviors], long=True):
            note(unshown)

    def _draw(self) -> None:
        out, found = console(), self.found
        for number, block in enumerate(found.blocks, start=1):
            out.print()
            out.print(line(f"Block {number} of {len(found.blocks)}", "bold"))
            for place in block.behaviors:
                self._draw_behavior(place)
            told = f"{_WRITTEN[found.method]}: {block.text or _NOTHING}"
            if number < len(found.blocks) or found.texts > len(found.blocks):  # else it is the summary, shown below
                out.print(Padding(lines(told), (1, 0, 0, 2)))
        out.print()
        if found.text is None:
            out.print(line("No summary: the history is too short for a block.", "bold"))
        else:
            out.print(lines(f"Preference summary: {found.text or _NOTHING}", "bold"))
        self._draw_latest()
        out.print(Padding(line(" · ".join(self._told()), "dim"), (1, 0, 0, 2)))

    def _draw_behavior(self, place: int) -> None:
        behavior, scale = self.behaviors[place], self.domain.rating
        shown = line(f"    {self.domain.show_item(behavior.item)}")
        if scale and behavior.rating is not None:
            shown.append_text(line(f"  {scale.text_of(behavior.rating)}", "dim"))
        console().print(shown, overflow="ellipsis", no_wrap=True)

    def _draw_latest(self) -> None:
        """Say what a judging prompt shows beside the summary, or in its place."""
        latest = min(self.settings.recent, len(self.behaviors))
        if not latest:
            return
        how = "in its place, as it is" if latest == 1 else "in its place, as they are"
        beside = "beside it" if self.found.text is not None else how
        console().print(f"  A judging prompt shows the latest {count(latest, 'behavior')} {beside} (-n).")

    def _told(self) -> list[str]:
        found = self.found
        told = [f"{count(found.generated, 'text')} generated, {found.texts - found.generated:,} from the cache"]
        if found.empty:
            told.append(f"{count(found.empty, 'text')} empty")
        if found.shortened:
            told.append(f"{count(found.shortened, 'item text')} shortened (--item-tokens)")
        if found.skipped:
            told.append(f"{count(found.skipped, 'older block')} left out (--max-blocks)")
        return [found.method, *told, f"{self.model.name} ({self.model.fingerprint[:12]})"]


def show_written(written: "WrittenSummaries", *, as_json: bool) -> None:
    """Print the report of a data set's summaries."""
    found, summaries = written.summaries.report(), written.summaries
    if as_json:
        settings, texts = dict(summaries.settings), {"generated": written.generated, "reused": written.reused}
        print_json({"summaries": str(summaries.folder), "settings": settings, **found, **texts})
        return
    splits = ", ".join(f"{rows:,} {name}" for name, rows in found["splits"].items())
    samples, users = count(found["samples"], "sample"), count(found["users"], "user")
    lines = {
        "summaries": f"{samples} of {users} ({splits}) in {summaries.folder}",
        "texts": f"{found['texts']:,}; this time {written.generated:,} generated, {written.reused:,} known before",
    }
    if found["words"] is not None:
        lines["length"] = f"{found['words']:.0f} words in the mean"
    for name, number, told in (
        ("empty", found["empty"], "texts: the model wrote no word"),
        ("no summary", found["none"], "samples: the history is too short for a block"),
        ("shortened", found["shortened"], "item texts (--item-tokens)"),
        ("left out", found["skipped"], "older blocks (--max-blocks)"),
    ):
        if number:
            lines[name] = f"{number:,} {told}"
    facts(lines)
