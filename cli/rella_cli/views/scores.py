"""How scores look: for a person, and as JSON Lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table

from rella_cli.views.reasons import CAVEAT, draw_reasons, told_shortly
from rella_cli.views.terminal import console, count, line, lines, note, print_json

if TYPE_CHECKING:
    from rich.text import Text

    from rella_cpp import (
        Behavior,
        Domain,
        Explanation,
        Item,
        Likelihood,
        ModelIdentity,
        PreferenceSummary,
        Recommendation,
        Score,
    )

_VERDICTS = (
    (0.8, "very likely to like it", "green"),
    (0.6, "likely to like it", "green"),
    (0.4, "undecided", "yellow"),
    (0.2, "unlikely to like it", "red"),
    (0.0, "very unlikely to like it", "red"),
)


_TOO_SHORT = "none, the history is too short for a block: the latest behaviors alone"
_EMPTY = "empty, the model wrote nothing"


class Scoring:
    """The view of `rella score`: one block an item.

    Parameters
    ----------
    domain
        Shows items and ratings.
    behaviors
        The history as it stood in the input.
    scores
        One an item, in input order.
    reasons
        Why; () where nobody asked.

    """

    def __init__(
        self,
        domain: "Domain",
        behaviors: "Sequence[Behavior]",
        scores: "Sequence[Score]",
        reasons: "Sequence[Explanation]" = (),
    ) -> None:
        self.domain, self.behaviors, self.scores, self.reasons = domain, behaviors, scores, reasons

    def show(self, *, as_json: bool, prompts: bool) -> None:
        """Print the scores, and what is to be said of them."""
        if as_json:
            why: Sequence[dict[str, object]] = [{"why": reason.as_dict()} for reason in self.reasons]
            for row, score, reason in zip(self.rows(), self.scores, why or [{}] * len(self.scores), strict=True):
                print_json(row | reason | ({"prompt": score.prompt} if prompts else {}))
        else:
            self.draw()
            for score in self.scores if prompts else ():
                out = console()
                out.rule(line(self.domain.show_item(score.item)), style="dim")
                out.print(lines(score.prompt), soft_wrap=True)
            for caveat in self.caveats():
                note(caveat)
        for warning in self.warnings():
            note(warning)

    def rows(self) -> list[dict[str, object]]:
        """Return one JSON object an item."""
        return [score.as_dict() for score in self.scores]

    def draw(self) -> None:
        """Draw the view for a person."""
        out = console()
        told = None
        for number, score in enumerate(self.scores):
            out.print()
            out.print(line(self.domain.show_item(score.item), "bold"))
            out.print(bar(score.best, 30), verdict(score))
            out.print()
            if score.summary is not None and score.summary != told:
                self._draw_summary(score.summary)
                out.print()
            told = score.summary
            if self.reasons:
                draw_reasons(self.domain, self.behaviors, self.reasons[number])
            else:
                self._draw_behaviors(score)
            self._draw_facts(score)

    def _draw_behaviors(self, score: "Score") -> None:
        out = console()
        if not score.used:
            out.print("  No behavior was read.")
            return
        out.print(f"  Read {len(score.used)} of {count(len(self.behaviors), 'behavior')}:")
        for place in score.used:
            behavior, scale = self.behaviors[place], self.domain.rating
            shown = line(f"    {self.domain.show_item(behavior.item)}")
            if scale and behavior.rating is not None:
                shown.append_text(line(f"  {scale.text_of(behavior.rating)}", "dim"))
            out.print(shown, overflow="ellipsis", no_wrap=True)

    def _draw_summary(self, summary: "PreferenceSummary") -> None:
        """Say what the model wrote of the user, or why there is nothing."""
        text = summary.text or {None: _TOO_SHORT, "": _EMPTY}[summary.text]
        console().print(Padding(lines(f"Preference summary: {text}"), (0, 0, 0, 2)))

    def _draw_facts(self, score: "Score") -> None:
        facts = [f"{score.prompt_tokens} tokens", f"answer mass {score.answer_mass:.2f}"]
        if score.levels is not None and self.domain.rating is not None:
            facts.insert(0, f"expected {self.domain.rating.text_of(round(score.levels.expected, 1))}")
        if score.unrated:
            facts.append(f"{score.unrated} without a rating left out")
        if score.excluded:
            facts.append(f"{count(score.excluded, 'behavior')} not read, being of the item itself")
        if score.dropped:
            facts.append(f"{score.dropped} dropped for the context's sake")
        if score.summary is not None and score.summary.shortened:
            facts.append(f"{count(score.summary.shortened, 'item text')} shortened")
        if score.best != score.probability:
            by = "calibration" if score.calibrated is not None else "the head" if score.head is not None else "contrast"
            facts.append(f"{score.probability:.1%} before {by}")
        console().print(Padding(line(" · ".join([*facts, *told_of_model(score.model)]), "dim"), (1, 0, 0, 2)))

    def caveats(self) -> list[str]:
        """Say what the numbers are worth: what reasons are, and what the model was measured at."""
        return [*([CAVEAT] if self.reasons else []), *told_quality(self.scores[0].model)]

    def warnings(self) -> list[str]:
        """Say what a reader would not see: answers in another form, fields that are not shown."""
        from rella_cpp import LOW_ANSWER_MASS
        from rella_cpp.scoring.results import told_answers

        low = [score.answer_mass for score in self.scores if score.answer_mass < LOW_ANSWER_MASS and score.head is None]
        warnings = []
        if low:
            warnings.append(
                f"warning: the model gives {told_answers(self.domain, self.scores[0])} together only {min(low):.1%} of "
                "its answer"
                + (f" (lowest of {len(low)} such items)" if len(low) > 1 else "")
                + ": it does not answer in that form; a tuned adapter, another model or --chat-format may help"
            )

        shown = [*(behavior.item for behavior in self.behaviors), *(score.item for score in self.scores)]
        first = self.scores[0]
        unshown = told_unshown(self.domain, shown, long=first.summary is not None, stream=first.levels is not None)
        return [*warnings, *unshown]

    def told_of_all(self) -> list[str]:
        """Say what was given and left out, over all items, and which model judged."""
        facts = [f"{count(len(self.behaviors), 'behavior')} given"]
        if own := [score for score in self.scores if score.excluded]:
            named = self.domain.name_item(own[0].item) + (", …" if len(own) > 1 else "")
            facts.append(f"{count(len(own), 'item')} in the history already ({named}), which is not read for it")
        if unrated := max(score.unrated for score in self.scores):
            facts.append(f"{unrated} without a rating left out")
        if dropped := sum(score.dropped for score in self.scores):
            facts.append(f"{dropped} dropped over all prompts for the context's sake")
        summary = self.scores[0].summary
        if summary is not None and summary.shortened:
            facts.append(f"{count(summary.shortened, 'item text')} shortened")
        return [*facts, *told_of_model(self.scores[0].model)]


class Ranking(Scoring):
    """The view of `rella rank`: a table, the likeliest first."""

    def rows(self) -> list[dict[str, object]]:
        """Return one JSON object an item, in input order, each with its rank."""
        from rella_cpp import ranks

        return [row | {"rank": rank} for row, rank in zip(super().rows(), ranks(self.scores), strict=True)]

    def draw(self) -> None:
        """Draw the view for a person."""
        from rella_cpp import ranks

        table = Table(box=None, pad_edge=False)
        for name, justify in (
            ("", "right"),
            ("probability", "left"),
            ("", "right"),
            ("read", "right"),
            ("item", "left"),
        ):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for rank, score in sorted(zip(ranks(self.scores), self.scores, strict=True), key=lambda pair: pair[0]):
            table.add_row(
                str(rank),
                bar(score.best, 12),
                f"{score.best:.1%}",
                str(len(score.used)),
                line(self.domain.show_item(score.item)),
            )
        console().print(table)
        self._draw_reasons()
        summary = self.scores[0].summary
        if summary is not None:
            console().print()
            self._draw_summary(summary)
            own = sum(score.summary != summary for score in self.scores)
            if own:
                note(f"note: {count(own, 'item')} had a summary of their own, without the item itself; see --json")
        console().print(Padding(line(" · ".join(self.told_of_all()), "dim"), (1, 0, 0, 0)))

    def _draw_reasons(self) -> None:
        """Say of each item, the likeliest first, what spoke most for it and against it."""
        from rella_cpp import ranks

        out = console()
        if self.reasons:
            out.print()
        for rank, reason in sorted(zip(ranks(self.scores), self.reasons, strict=False), key=lambda pair: pair[0]):
            out.print(line(f"{rank:>3}  {told_shortly(self.domain, self.behaviors, reason)}", "dim"), soft_wrap=True)


class Recommending(Ranking):
    """The view of `rella recommend`: a table, the likeliest first, each with what it is near to."""

    def __init__(
        self,
        domain: "Domain",
        behaviors: "Sequence[Behavior]",
        found: "Sequence[Recommendation[Score]]",
        reasons: "Sequence[Explanation]" = (),
    ) -> None:
        super().__init__(domain, behaviors, [recommendation.score for recommendation in found], reasons)
        self.found = found

    def show(self, *, as_json: bool, prompts: bool = False) -> None:
        """Print the recommendations."""
        super().show(as_json=as_json, prompts=prompts)

    def rows(self) -> list[dict[str, object]]:
        """Return one JSON object an item, the likeliest first."""
        return [found.as_dict() | {"rank": rank} for rank, found in enumerate(self.found, start=1)]

    def draw(self) -> None:
        """Draw the view for a person."""
        super().draw()
        draw_near(self.domain, self.behaviors, self.found)


def draw_near(
    domain: "Domain",
    behaviors: "Sequence[Behavior]",
    found: "Sequence[Recommendation[Score] | Recommendation[Likelihood]]",
) -> None:
    """Say what each recommended item is near to."""
    out = console()
    out.print()
    for rank, each in enumerate(found, start=1):
        near = domain.show_item(behaviors[each.near].item)
        out.print(line(f"{rank:>3}  near {near} ({each.cosine:.2f})", "dim"), no_wrap=True, overflow="ellipsis")


def told_quality(model: "ModelIdentity") -> list[str]:
    """Say what a bundle was measured at; of the packaged model, as it is, that it is small."""
    from rella_cpp import packaged_model, read_header

    if model.bundle is not None:
        return [f"{model.bundle.name}: {model.bundle.measured}"] if model.bundle.measured else []
    packaged = packaged_model()
    if model.adapters or model.soft is not None or model.head is not None:
        return []
    if packaged is not None and read_header(packaged).text("general.name") == model.name:
        return [
            "This small packaged model shows the machinery; for judgement use Vicuna-7B or a tuned adapter "
            "(rella pull, --model, --lora)."
        ]
    return []


def told_unshown(domain: "Domain", items: "Sequence[Item]", *, long: bool, stream: bool = False) -> list[str]:
    """Name the fields that items have and no prompt shows; see `unshown_fields`."""
    from rella_cpp.domains.stray_fields import unshown_fields
    from rella_cpp.domains.stream import AVERAGE

    notes: list[str] = []
    unshown = unshown_fields(items, domain, long=long, stream=stream)
    if AVERAGE in unshown and domain.reads_averages:
        unshown.remove(AVERAGE)
        notes.append("note: average is not shown; --layout stream shows it")
    if unshown:
        notes.append(
            f"note: the domain {domain.name} does not show {', '.join(unshown[:8])}"
            f"{' …' if len(unshown) > 8 else ''}; another --domain, or a file of your own, may"
        )
    return notes


def verdict(score: "Score") -> "Text":
    """Say a probability in percent and in words; no verdict where the model does not answer in the form asked for."""
    shown, words, colour = judged(score)
    return line(f" {shown:>6}  {words}", colour)


def judged(score: "Score") -> tuple[str, str, str]:
    """Return a probability in percent, in words, and the color of these."""
    from rella_cpp import LOW_ANSWER_MASS

    words, colour = next((words, colour) for least, words, colour in _VERDICTS if score.best >= least)
    if score.answer_mass < LOW_ANSWER_MASS and score.head is None:
        words, colour = "but it hardly answers at all", "yellow"
    return f"{score.best:.1%}", words, colour


def told_of_model(model: "ModelIdentity") -> list[str]:
    """Name a bundle, its model, adapters, soft prompt and head."""
    adapters = [f"+ {adapter.name} × {adapter.scale:g}" for adapter in model.adapters]
    softs = [] if model.soft is None else [f"+ {model.soft.name}, {model.soft.tokens} soft tokens"]
    heads = [] if model.head is None else [f"judged by the head {model.head[:12]}"]
    bundle = "" if model.bundle is None else f"{model.bundle.name}: "
    return [f"{bundle}{model.name} ({model.fingerprint[:12]})", *adapters, *softs, *heads]


def bar(probability: float, width: int) -> "Text":
    """Draw a probability as a bar."""
    full = round(probability * width)
    return line("█" * full, "cyan").append("░" * (width - full), style="dim")
