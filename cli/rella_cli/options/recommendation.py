"""What is recommended, and to whom: the options of `rella recommend`."""

from typing import Annotated

from rella_cli.options.domain import domain_option
from rella_cli.options.groups import group
from rella_cli.options.history import HISTORY, Series, UserFile, history_option
from rella_cli.options.index import index_option
from rella_cli.options.output import Count
from rella_cli.options.samples import candidates_option
from rella_cli.options.summary import SummaryOptions, recent_option


@group
class UserOptions:
    """The user to recommend to."""

    history: Annotated[str, history_option(HISTORY)]
    user: UserFile = None
    domain: Annotated[str | None, domain_option("What the items are; else the index's.")] = None
    series: Series = False


@group
class WantedOptions:
    """How many items of a catalog to recommend, and how many to judge for that."""

    index: Annotated[str | None, index_option("The catalog's index (rella index build).")] = None
    count: Count = 10
    candidates: Annotated[
        int, candidates_option("Items to judge, at least -n: near the liked ones, unlike each other.")
    ] = 30

    def most(self) -> int:
        """Return how many items are judged; refuse to judge or to recommend none."""
        from rella_cpp import InputError

        if self.count < 1 or self.candidates < 1:
            raise InputError(
                f"{self.count} recommendations of {self.candidates} candidates are wanted",
                remedy="give at least 1 of each",
            )
        return max(self.count, self.candidates)


@group
class CountedSummaryOptions(SummaryOptions):
    """The same where -n is the number of results."""

    recent: Annotated[int | None, recent_option()] = None
