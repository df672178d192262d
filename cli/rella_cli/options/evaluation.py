"""How a model is evaluated: on which samples, by which protocol, and where the run goes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.choice import by_likelihood
from rella_cli.options.data import DataDomain, OpenedData, OptionalData, open_data
from rella_cli.options.groups import group
from rella_cli.options.model import ModelOptions
from rella_cli.options.output import Force, Json, Page, out_option
from rella_cli.options.samples import candidates_option, limit_option, ranking_option, seed_option, split_option
from rella_cli.options.selection import by_option

if TYPE_CHECKING:
    from rella_cpp import EvaluationSettings, Layout, RankingSettings, Selection, SummarySettings

_SAMPLES = "Samples"
_PROTOCOLS = ("clicks", "rank", "choose")
_OWN = {
    "limit_users": ("clicks",),
    "negatives": ("rank",),
    "candidates": ("choose",),
    "ranking": ("choose",),
    "by": ("rank", "choose"),
}
"""Options that not every protocol has."""


@group
class EvaluatedOptions:
    """What is evaluated: samples of a data set or ready prompts, with one K or several, with a model or none."""

    data: OptionalData = None
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="In place of DATA: ready prompts, [{input, output}] or with an instruction.",
            rich_help_panel=_SAMPLES,
        ),
    ] = None
    domain: DataDomain = None
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            metavar="k=5,10,…",
            help="Several K, one run each, in RUN/kN.",
            rich_help_panel=_SAMPLES,
        ),
    ] = None
    baselines_only: Annotated[
        bool, typer.Option("--baselines-only", help="No model: the baselines alone, in under a minute.")
    ] = False

    def open(self, index: str | None, model: ModelOptions) -> OpenedData:
        """Open the data set, and an index of its items."""
        assert self.data is not None
        return open_data(self.data, self.domain, index, allow_mismatch=model.allow_mismatch, no_cache=model.no_cache)

    def ks(self, k: int) -> tuple[int, ...]:
        """Return each K that is evaluated: `k`, unless several are wanted."""
        return (k,) if self.sweep is None else _parse_sweep(self.sweep)


@group
class SampleOptions:
    """Of which samples or users a model is asked."""

    split: Annotated[str, split_option("train|valid|test", "Whose samples.", _SAMPLES)] = "test"
    limit: Annotated[
        int | None, limit_option("How many samples (rank, choose: users) to draw; else all of the split.", _SAMPLES)
    ] = None
    limit_users: Annotated[
        int | None,
        typer.Option(
            "--limit-users",
            metavar="N",
            help="clicks: draw this many users and take all their samples, which share what is read.",
            show_default=False,
            rich_help_panel=_SAMPLES,
        ),
    ] = None
    seed: Annotated[int, seed_option("Which samples (rank, choose: users, negatives) are drawn.", _SAMPLES)] = 0

    def settings(
        self, ks: tuple[int, ...], selection: "Selection", layout: "Layout", summary: "SummarySettings | None"
    ) -> "EvaluationSettings":
        """Make the settings of an evaluation with each K, which checks the options."""
        from rella_cpp import EvaluationSettings

        return EvaluationSettings(
            self.split,
            self.limit,
            self.seed,
            ks,
            selection.retrieval,
            selection.order,
            summary,
            layout,
            selection.window,
            self.limit_users,
        )


@group
class ProtocolOptions:
    """What is asked of a model."""

    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="clicks|rank|choose",
            help="clicks: liked or not, a sample each; rank: for each user one item liked among items never touched; "
            "choose: each user's next item among them (leave one out).",
            rich_help_panel=_SAMPLES,
        ),
    ] = "clicks"
    negatives: Annotated[
        int | None,
        typer.Option(
            "--negatives",
            metavar="N",
            help="rank: items never touched beside the one liked; 20 unless given.",
            show_default=False,
            rich_help_panel=_SAMPLES,
        ),
    ] = None
    candidates: Annotated[
        int | None,
        candidates_option("choose: candidates, the next item and items never touched; 15 unless given.", "N", _SAMPLES),
    ] = None
    ranking: Annotated[
        Path | None,
        ranking_option("choose: also show what another recommender's lists say (rella data import-ranking).", _SAMPLES),
    ] = None
    by: Annotated[
        str | None,
        by_option(
            "yes-no|likelihood",
            "rank, choose: ask of each candidate whether it is liked (rank's default), or list all and ask which "
            "comes next (choose's).",
        ),
    ] = None

    def ranking_settings(
        self, context: typer.Context, selection: "Selection", layout: "Layout", summary: "SummarySettings | None"
    ) -> "RankingSettings | None":
        """Make the settings of a ranking; None where the protocol is no ranking.

        Parameters
        ----------
        context
            Says which options were given, and the values of those that other groups have.
        selection, layout
            Which behaviors prompts show, and how.
        summary
            How summaries are made, if prompts show one.

        Raises
        ------
        InputError
            There is no such protocol, it does not have an option that was given, or a value is out of its range.

        """
        from rella_cpp import RankingSettings

        given = context.params
        self._check(given)
        if self.protocol == "clicks":
            return None
        likely = self.protocol == "choose" and layout == "question"
        by: Any = self.by or ("likelihood" if likely else "yes-no")
        by_likelihood(context, by, "contrast", "head")
        known = {name: given[name] for name in ("split", "limit", "seed")}
        known |= {name: getattr(selection, name) for name in ("k", "retrieval", "order", "window")} | {"layout": layout}
        if self.protocol == "choose":
            candidates = 15 if self.candidates is None else self.candidates
            return RankingSettings.choosing(candidates=candidates, by=by, summary=summary, **known)
        negatives = 20 if self.negatives is None else self.negatives
        return RankingSettings(**known, negatives=negatives, summary=summary, by=by)

    def _check(self, given: dict[str, Any]) -> None:
        """Refuse options that a protocol does not have."""
        from rella_cpp import InputError

        if self.protocol not in _PROTOCOLS:
            raise InputError(f"protocol is {self.protocol!r}", remedy=f"one of {', '.join(_PROTOCOLS)}")
        if self.protocol == "choose" and self.negatives is not None:
            remedy = f"count the next item, too: --candidates {self.negatives + 1}"
            raise InputError("--negatives are those of --protocol rank", remedy=remedy)
        for name, protocols in _OWN.items():
            if given[name] is not None and self.protocol not in protocols:
                which = " and ".join(protocols)
                verb = "are those" if name.endswith("s") else "is that"
                raise InputError(
                    f"--{name.replace('_', '-')} {verb} of --protocol {which}", remedy="leave one out, or give both"
                )
        if self.protocol == "clicks":
            return
        if given["sweep"]:
            remedy = "leave out --sweep, and make a run for each -k"
            raise InputError(f"--protocol {self.protocol} reads one K", remedy=remedy)
        if given["calibration"]:
            finding = f"--protocol {self.protocol} needs no calibrated probabilities"
            raise InputError(finding, remedy="leave out --calibration")


@group
class RunOptions:
    """The run's folder, and how its report is printed."""

    out: Annotated[Path, out_option("RUN", "The run's folder.")] = Path("run")
    force: Force = False
    as_json: Json = False
    page: Page = None


def _parse_sweep(text: str) -> tuple[int, ...]:
    """Read `k=5,10,15`."""
    from rella_cpp import InputError

    name, _, values = text.partition("=")
    try:
        if name.strip() != "k":
            raise ValueError
        return tuple(int(value) for value in values.split(","))
    except ValueError:
        raise InputError(f"--sweep is {text!r}", remedy="give values of K, as in k=5,10,15,20,25,30") from None
