"""How choices by likelihood look: for a person, and as JSON Lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table

from rella_cli.views.scores import bar, draw_near, told_of_model, told_quality, told_unshown
from rella_cli.views.terminal import console, count, line, lines, note, print_json

if TYPE_CHECKING:
    from rella_cpp import Behavior, Domain, Likelihood, Recommendation


class Choosing:
    """The view of `rella rank --by likelihood`: a table, the likeliest first.

    Parameters
    ----------
    domain
        Shows items.
    behaviors
        The history as it stood in the input.
    found
        One likelihood a candidate, in input order.

    """

    def __init__(self, domain: "Domain", behaviors: "Sequence[Behavior]", found: "Sequence[Likelihood]") -> None:
        self.domain, self.behaviors, self.likelihoods = domain, behaviors, found

    def show(self, *, as_json: bool, prompts: bool = False) -> None:
        """Print the likelihoods; with `prompts` the prompt, which all have in common, once."""
        prompt = self.likelihoods[0].prompt
        if as_json:
            for number, row in enumerate(self.rows()):
                print_json(row | {"prompt": prompt} if prompts and number == 0 else row)
        else:
            self.draw()
            if prompts:
                console().rule(style="dim")
                console().print(lines(prompt), soft_wrap=True)
            for caveat in told_quality(self.likelihoods[0].model):
                note(caveat)
        items = [*(behavior.item for behavior in self.behaviors), *(each.item for each in self.likelihoods)]
        for unshown in told_unshown(self.domain, items, long=False):
            note(unshown)

    def rows(self) -> list[dict[str, object]]:
        """Return one JSON object a candidate, in input order, each with its rank."""
        from rella_cpp import ranks

        ordered = zip(self.likelihoods, ranks(self.likelihoods), strict=True)
        return [each.as_dict() | {"rank": rank} for each, rank in ordered]

    def draw(self) -> None:
        """Draw the view for a person."""
        from rella_cpp import ranks

        table = Table(box=None, pad_edge=False)
        for name in ("", "share", "", "log-probability", "per token"):
            table.add_column(name, justify="left" if name == "share" else "right", no_wrap=True)
        table.add_column("item")
        for rank, each in sorted(zip(ranks(self.likelihoods), self.likelihoods, strict=True), key=lambda pair: pair[0]):
            table.add_row(
                str(rank),
                bar(each.share, 12),
                f"{each.share:.1%}",
                f"{each.log_probability:.2f}",
                f"{each.per_token:.2f}",
                line(self.domain.name_item(each.item)),
            )
        out, first = console(), self.likelihoods[0]
        out.print(table)
        facts = [
            f"read {len(first.used)} of {count(len(self.behaviors), 'behavior')}",
            f"{first.prompt_tokens} tokens, once for all",
            *([f"{first.excluded} left out: candidates themselves"] if first.excluded else []),
            *([f"{first.dropped} dropped for the context's sake"] if first.dropped else []),
            *told_of_model(first.model),
        ]
        out.print(Padding(line(" · ".join(facts), "dim"), (1, 0, 0, 0)))


class RecommendingNext(Choosing):
    """The view of `rella recommend --by likelihood`: each item with what it is near to."""

    def __init__(
        self, domain: "Domain", behaviors: "Sequence[Behavior]", found: "Sequence[Recommendation[Likelihood]]"
    ) -> None:
        super().__init__(domain, behaviors, [recommendation.score for recommendation in found])
        self.found = found

    def rows(self) -> list[dict[str, object]]:
        """Return one JSON object an item, the likeliest first."""
        return [found.as_dict() | {"rank": rank} for rank, found in enumerate(self.found, start=1)]

    def draw(self) -> None:
        """Draw the view for a person."""
        super().draw()
        draw_near(self.domain, self.behaviors, self.found)
