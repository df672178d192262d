"""Scores as a page: a table of the items, and for each of them what was read, shaded by what it did."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rella_cli.log import said_so_far
from rella_cli.views.reasons import told_shortly
from rella_cli.views.scores import judged
from rella_cpp.pages.page import Cell, details, number_cell, page, preformatted, save_page, table, text

if TYPE_CHECKING:
    from rella_cli.views.scores import Ranking, Scoring
    from rella_cpp import Behavior, Explanation, Score

_SHADE = 55  # percent, of the behavior that did most
_PLACE = "place in the input, from 0"
_NOTHING = "<p>No behavior was read.</p>"


def write_score_page(path: Path, title: str, view: "Scoring | Ranking") -> None:
    """Write a page of what a view shows; `title` is its heading."""
    save_page(path, page(title, _ScorePage(view).parts()))


class _ScorePage:
    """The parts of a page of scores."""

    def __init__(self, view: "Scoring | Ranking") -> None:
        from rella_cpp import ranks

        self._view, self._domain, self._behaviors = view, view.domain, view.behaviors
        self._reasons = dict(enumerate(view.reasons))
        self._ordered = sorted(enumerate(ranks(view.scores)), key=lambda pair: pair[1])

    def parts(self) -> Iterator[str]:
        """Yield the table, the remarks, and a section for each item, the likeliest first."""
        yield self._items()
        yield "".join(f'<p class="caveat">{text(remark)}</p>' for remark in self._remarks())
        for number, rank in self._ordered:
            yield self._section(rank, self._view.scores[number], self._reasons.get(number))

    def _items(self) -> str:
        heads = ["rank", "item", "probability", "behaviors read"]
        numbers = [0, 2, 3]
        if self._view.scores[0].expected is not None:
            heads.append("expected rating")
            numbers.append(4)
        if self._reasons:
            heads.append("most for it and against it")
        rows = []
        for number, rank in self._ordered:
            score = self._view.scores[number]
            shown = f'<meter min="0" max="1" value="{score.best:.4f}"></meter> {score.best:.1%}'
            row = [number_cell(rank, str(rank)), Cell(f'<a href="#item-{rank}">{self._named(score)}</a>')]
            row += [Cell(shown, score.best, number=True), number_cell(len(score.used), str(len(score.used)))]
            row += [] if score.expected is None else [number_cell(score.expected, f"{score.expected:.1f}")]
            if self._reasons:
                told = told_shortly(self._domain, self._behaviors, self._reasons[number])
                row.append(Cell(text(told), wide=True))
            rows.append(row)
        return table(heads, rows, numbers=numbers, wide=[len(heads) - 1] if self._reasons else [])

    def _remarks(self) -> Iterator[str]:
        """Yield the caveats of the terminal, and what was said of the files."""
        yield " · ".join(self._view.told_of_all())
        yield from self._view.caveats()
        yield from self._view.warnings()
        yield from said_so_far()

    def _section(self, rank: int, score: "Score", reason: "Explanation | None") -> str:
        _, words, _ = judged(score)
        parts = [f'<h2 id="item-{rank}">{self._named(score)}: {score.best:.1%}, {text(words)}</h2>']
        if score.summary is not None and score.summary.text:
            parts.append(f"<p>Preference summary: {text(score.summary.text)}</p>")
        parts.append(self._read(score) if reason is None else self._explained(reason))
        return "".join([*parts, details("the prompt", preformatted(score.prompt))])

    def _read(self, score: "Score") -> str:
        """Name what was read."""
        rows = [[number_cell(place, str(place)), *self._shown(self._behaviors[place])] for place in score.used]
        return table((_PLACE, "what was read", "rating"), rows, numbers=[0, 2]) if rows else _NOTHING

    def _explained(self, reason: "Explanation") -> str:
        """Show what was read, shaded by what it did; then the rest."""
        changes = [*(each.change for each in reason.behaviors), reason.profile or 0.0, reason.averages or 0.0]
        most = max(map(abs, changes)) or 1.0
        near = any(each.cosine is not None for each in reason.behaviors)
        rows = []
        for each in reason.behaviors:
            row = [number_cell(each.place, str(each.place)), *self._shown(self._behaviors[each.place])]
            rows.append([*row, _change(each.change, most), *([_cosine(each.cosine)] if near else [])])
        for change, name in ((reason.profile, "the profile"), (reason.averages, "the averages")):
            if change is not None:
                rows.append([number_cell(None, ""), Cell(name), Cell(""), _change(change, most), *([Cell("")] * near)])
        changed = f"change of the logit, {reason.score.gap:+.2f} ({reason.score.probability:.1%})"
        heads = (_PLACE, "what was read", "rating", changed, "cosine")
        shown = table(heads[: 4 + near], rows, numbers=[0, 2, 3, 4]) if rows else _NOTHING
        if reason.terms:
            largest = max(abs(term.change) for term in reason.terms) or 1.0
            terms = [
                [Cell(text(term.feature)), _change(term.change, largest), *(_plain(n) for n in (term.value, term.mean))]
                for term in reason.terms
            ]
            shown += table(("calibration's feature", "adds to the logit", "value", "mean"), terms, numbers=[1, 2, 3])
        return shown

    def _named(self, score: "Score") -> str:
        return text(self._domain.show_item(score.item))

    def _shown(self, behavior: "Behavior") -> list[Cell]:
        scale = self._domain.rating
        rating = "" if scale is None or behavior.rating is None else scale.text_of(behavior.rating)
        return [
            Cell(text(self._domain.show_item(behavior.item))),
            number_cell(behavior.rating, rating),
        ]


def _change(change: float, most: float) -> Cell:
    """Shade a change by its share of the greatest, green or red; its sign and an arrow say the same without color."""
    side, arrow = ("for", "▲") if change >= 0 else ("against", "▼")
    arrow = arrow if f"{abs(change):.2f}" != "0.00" else ""
    share = round(abs(change) / most * _SHADE)
    shade = f"background: color-mix(in srgb, var(--{side}) {share}%, transparent)"
    return Cell(f'<span class="shade" style="{shade}">{arrow} {change:+.2f}</span>', change, number=True)


def _cosine(cosine: float | None) -> Cell:
    return number_cell(cosine, "" if cosine is None else f"{cosine:.2f}")


def _plain(value: float) -> Cell:
    return number_cell(value, f"{value:.3g}")
