"""`rella evaluate`: a model and plain baselines on a data set's samples, into a run's folder."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from rella_cli.options.bundle import with_bundle
from rella_cli.options.data import OpenedData
from rella_cli.options.engine import EngineOptions
from rella_cli.options.evaluation import EvaluatedOptions, ProtocolOptions, RunOptions, SampleOptions
from rella_cli.options.groups import with_groups, without
from rella_cli.options.model import ModelOptions, calibration_option
from rella_cli.options.selection import LayoutOptions, ReadingOptions
from rella_cli.options.summary import SummaryOptions

if TYPE_CHECKING:
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import (
        Calibration,
        EvaluationSettings,
        Layout,
        Rankings,
        RankingSettings,
        Rella,
        Run,
        SummarySettings,
    )


@with_bundle
@with_groups
def evaluate(
    context: typer.Context,
    *,
    what: EvaluatedOptions,
    reading: Annotated[ReadingOptions, without("by", "allow_empty_history")],
    layout: LayoutOptions,
    protocol: ProtocolOptions,
    drawing: SampleOptions,
    calibration: Annotated[
        list[str] | None,
        calibration_option("Also show calibrated probabilities (rella calibrate); may be repeated."),
    ] = None,
    model: Annotated[ModelOptions, without("calibration")],
    engine: EngineOptions,
    summarizing: SummaryOptions,
    run: RunOptions,
) -> None:
    """Evaluate a model beside plain baselines. Killed, the same command goes on; finished, it prints the report."""
    from rella_cli.log import listen
    from rella_cli.views.progress import resumable
    from rella_cpp import Calibration, Rankings
    from rella_cpp.evaluation.reports.page import check_plotted_page

    summary = summarizing.wanted(reading, what.sweep)
    _check(what, protocol, drawing, reading, model, calibration, summary)
    tuned = layout.tuned(model, summary)
    selection = reading.selection(layout, tuned)
    ranked = protocol.ranking_settings(context, selection, tuned.layout, summary)
    settings = drawing.settings(what.ks(selection.k), selection, tuned.layout, summary)
    engine.settings()
    if run.page is not None:
        check_plotted_page(run.page, force=True)
    listen(bool(engine.verbose))
    rella = None
    with resumable():
        if what.data is None:
            runs = [_evaluate_prompts(what, settings, model, engine, run)]
        else:
            opened = what.open(reading.index, model)
            lists = None if protocol.ranking is None else Rankings.open(protocol.ranking)
            fitted = [(path, Calibration.load(path)) for path in calibration or []]
            contrast = reading.contrast or any(each.contrast for _, each in fitted)
            judge = _judge(what, model, engine, opened, tuned.layout, contrast=contrast)
            with judge as rella, engine.progress() as bar:
                samples = _Samples(opened, rella, run, bar)
                if ranked is not None:
                    runs = [samples.rank(ranked, lists)]
                else:
                    runs = samples.score(settings, fitted, check=not model.allow_mismatch)
    from rella_cli.views.reports import note_shared, show_reports
    from rella_cli.views.terminal import note
    from rella_cpp import write_page

    show_reports(runs, as_json=run.as_json)
    if run.page is not None:
        write_page(runs, run.page, force=True)
        note(f"written: {run.page}")
    if ranked is not None and rella is not None:
        note_shared(*rella.judged_tokens)


class _Samples(NamedTuple):
    """Samples of a data set and the model that judges them, if any; and where the run goes."""

    opened: OpenedData
    rella: "Rella | None"
    run: RunOptions
    progress: "ProgressBar"

    def rank(self, settings: "RankingSettings", lists: "Rankings | None") -> "Run":
        """Let the model rank each user's candidates."""
        from rella_cpp import evaluate_ranking

        return evaluate_ranking(
            self.opened.histories(self.progress),
            self.run.out,
            settings,
            judge=self.rella,
            ranking=lists,
            force=self.run.force,
            progress=self.progress,
        )

    def score(
        self, settings: "EvaluationSettings", fitted: "Sequence[tuple[str, Calibration]]", *, check: bool
    ) -> "list[Run]":
        """Let the model score each sample; with `check` refuse a calibration that was fitted for something else."""
        from rella_cpp import evaluate as evaluate_clicks

        if check and self.rella is not None:
            for path, each in fitted:
                for k in settings.ks:
                    reading = settings.reading(k, self.opened.domain)
                    each.check(self.rella.settings(), reading, origins=self.rella.model.origins, source=path)
        return evaluate_clicks(
            self.opened.histories(self.progress),
            self.run.out,
            settings,
            judge=self.rella,
            calibrations=[each for _, each in fitted],
            force=self.run.force,
            progress=self.progress,
        )


def _judge(
    what: EvaluatedOptions,
    model: ModelOptions,
    engine: EngineOptions,
    opened: OpenedData,
    layout: "Layout",
    *,
    contrast: bool,
) -> "AbstractContextManager[Rella | None]":
    """Open the model, unless baselines alone are wanted."""
    if what.baselines_only:
        return nullcontext()
    return model.open(opened.domain, engine, layout=layout, index=opened.catalog, contrast=contrast)


def _evaluate_prompts(
    what: EvaluatedOptions, settings: "EvaluationSettings", model: ModelOptions, engine: EngineOptions, run: RunOptions
) -> "Run":
    """Evaluate a model on ready prompts."""
    from rella_cpp import evaluate_prompts, load_domain, read_prompts

    assert what.prompts is not None
    words = load_domain(what.domain or "movies")
    ready = read_prompts(what.prompts, words)
    with model.open(words, engine) as rella, engine.progress() as bar:
        return evaluate_prompts(ready, run.out, settings, judge=rella, force=run.force, progress=bar)


def _check(
    what: EvaluatedOptions,
    protocol: ProtocolOptions,
    drawing: SampleOptions,
    reading: ReadingOptions,
    model: ModelOptions,
    calibration: list[str] | None,
    summary: "SummarySettings | None",
) -> None:
    """Refuse options that mean nothing together."""
    from rella_cpp import InputError

    if (what.data is None) == (what.prompts is None):
        raise InputError("give DATA or --prompts FILE, and not both", remedy="see rella evaluate --help")
    read = what.sweep or calibration or reading.index or reading.contrast or drawing.limit_users is not None
    if what.prompts is not None and (read or drawing.split != "test" or protocol.protocol != "clicks"):
        raise InputError(
            "ready prompts have no histories and no splits",
            source=str(what.prompts),
            remedy="leave out --split, --limit-users, --sweep, --index, --contrast, --calibration and --protocol",
        )
    if summary is not None and (what.prompts is not None or model.head):
        raise InputError("ready prompts and heads know no summaries", remedy="leave out --context summary")
    tuned = model.head or model.lora or model.soft
    if what.baselines_only and (what.prompts is not None or reading.contrast or calibration or tuned or summary):
        raise InputError("--baselines-only needs DATA and no model's options", remedy="leave one of them out")
    if model.head and reading.contrast:
        raise InputError("a head has no contrast: it knows no gap without history", remedy="leave one of them out")
