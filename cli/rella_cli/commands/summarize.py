"""`rella summarize`: what people prefer, written down block by block (LLM-TRSR): one history, or a data set's."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from rella_cli.options.bundle import with_bundle
from rella_cli.options.collection import CollectionOptions, SummarizedOptions
from rella_cli.options.data import OpenedData, open_data
from rella_cli.options.engine import EngineOptions
from rella_cli.options.groups import only, with_groups, without
from rella_cli.options.history import placed_in_files
from rella_cli.options.model import ModelOptions
from rella_cli.options.output import Json
from rella_cli.options.summary import SummaryOptions

if TYPE_CHECKING:
    from rella_cpp import Domain, Rella, SummarySettings

    Load = Callable[[Domain], Rella]


@with_bundle
@with_groups
def summarize(
    source: SummarizedOptions,
    samples: CollectionOptions,
    model: Annotated[ModelOptions, only("model", "chat_format", "no_cache")],
    engine: EngineOptions,
    summarizing: Annotated[SummaryOptions, without("context_kind")],
    as_json: Json = False,
) -> None:
    """Write down what people prefer. Of one history: shows its blocks, and how the summary grew.

    Of a data set: one summary for each sample, of what stands before its target. Killed, the same command goes on;
    finished, it prints the report.
    """
    summary = summarizing.settings()
    _check(source, samples)
    engine.settings()

    def load(words: "Domain") -> "Rella":
        return model.open(words, engine)

    if source.history is not None:
        _one(source, load, summary, engine, as_json=as_json)
    elif source.data is not None:
        opened = open_data(source.data, source.domain)
        _all_of(opened, samples, load, summary, engine, as_json=as_json)


def _check(source: SummarizedOptions, samples: CollectionOptions) -> None:
    """Refuse both a data set and a history, neither, and options that are not for the one given."""
    from rella_cpp import InputError

    if (source.data is None) == (source.history is None):
        raise InputError("give DATA or --history FILE, and not both", remedy="see rella summarize --help")
    if source.history is not None and samples.given():
        raise InputError(
            "-o, --split, --limit, --seed and --force are for DATA", source=source.history, remedy="leave them out"
        )
    if source.data is not None and samples.out is None:
        raise InputError("the summaries need a folder", source=source.data, remedy="name it: -o SUMMARIES")


def _one(
    source: SummarizedOptions, load: "Load", settings: "SummarySettings", engine: EngineOptions, *, as_json: bool
) -> None:
    """Summarise one history; show how."""
    from rella_cli.log import listen
    from rella_cpp import load_domain, read_history

    listen(False)
    words = load_domain(source.domain or "movies")
    past = read_history(source.history or "-", words, series=source.series)
    with load(words) as rella, placed_in_files(past), engine.progress() as rella.progress:
        (found,) = rella.summarize([past.behaviors], settings)
        base = rella.vectors.base
    from rella_cli.views.summaries import Growing

    Growing(words, past.behaviors, found, settings, base).show(as_json=as_json)


def _all_of(
    opened: OpenedData,
    samples: CollectionOptions,
    load: "Load",
    summary: "SummarySettings",
    engine: EngineOptions,
    *,
    as_json: bool,
) -> None:
    """Summarise a data set's samples; show the report."""
    from rella_cli.views.progress import resumable
    from rella_cpp import write_summaries

    assert samples.out is not None
    settings = samples.settings(summary)
    with resumable(), load(opened.domain) as rella, engine.progress() as bar:
        written = write_summaries(
            opened.data, samples.out, settings, author=rella.summarizer, force=samples.force, progress=bar
        )
    from rella_cli.views.summaries import show_written

    show_written(written, as_json=as_json)
