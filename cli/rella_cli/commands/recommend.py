"""`rella recommend`: the whole offline recommender in one command."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer

from rella_cli.options.bundle import with_bundle
from rella_cli.options.choice import by_likelihood
from rella_cli.options.domain import domain_of
from rella_cli.options.engine import EngineOptions
from rella_cli.options.groups import with_groups, without
from rella_cli.options.history import placed_in_files, read_past
from rella_cli.options.index import open_index
from rella_cli.options.model import ModelOptions
from rella_cli.options.output import Force, Json, Page, Why, check_page, save_score_page
from rella_cli.options.recommendation import CountedSummaryOptions, UserOptions, WantedOptions
from rella_cli.options.selection import LayoutOptions, ReadingOptions


@partial(with_bundle, shipped=True)
@with_groups
def recommend(
    context: typer.Context,
    files: UserOptions,
    wanted: WantedOptions,
    reading: Annotated[ReadingOptions, without("allow_empty_history", "index")],
    layout: LayoutOptions,
    model: ModelOptions,
    engine: EngineOptions,
    summarizing: CountedSummaryOptions,
    as_json: Json = False,
    why: Why = False,
    page: Page = None,
    force: Force = False,
) -> None:
    """Recommend items of a catalog: candidates from its index, near to what the user liked, judged by the model."""
    from rella_cli.views.progress import ProgressBar

    summary = summarizing.wanted(reading)
    chooses = by_likelihood(context, reading.by, "contrast", "calibration", "head", "why", "page")
    if page is not None:
        check_page(page, force=force)
    engine = engine.exactly() if why else engine
    engine.settings()
    tuned = layout.tuned(model, summary)
    selection = reading.selection(layout, tuned)
    most = wanted.most()
    if wanted.index is None:
        context.fail("Missing option '--index'.")
    catalog = open_index(wanted.index, no_cache=model.no_cache)
    words = domain_of(catalog.folder, catalog.manifest.domain, files.domain)
    past, person = read_past(files.history, files.user, words, series=files.series)
    asked: dict[str, Any] = {"user": person, "summary": summary, **asdict(selection)}
    with model.open(words, engine, layout=tuned.layout, index=catalog, contrast=reading.contrast) as rella:
        with placed_in_files(past), ProgressBar() as rella.progress:
            if chooses:
                chosen = rella.recommend_next(past.behaviors, wanted.count, candidates=most, user=person, k=selection.k)
            else:
                found = rella.recommend(past.behaviors, wanted.count, candidates=most, **asked)
                items = [each.score.item for each in found]
                reasons = rella.explain(past.behaviors, items, **asked) if why else []
    from rella_cli.views import choices, scores  # they bring rich

    if chooses:
        choices.RecommendingNext(words, past.behaviors, chosen).show(as_json=as_json)
        return
    view = scores.Recommending(words, past.behaviors, found, reasons)
    if page is not None:  # first: whoever reads the scores may stop
        save_score_page(page, "Recommended", view)
    view.show(as_json=as_json)
