"""A model file, tried and loaded with all that its prompts need."""

from pathlib import Path
from typing import NamedTuple

from rella_cpp.domains.templates.jinja import warm_up
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.engine.trial.trial import Trial
from rella_cpp.prompts.chat_formats import check_chat_format
from rella_cpp.prompts.layout import Layout
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress


class TriedEngine(NamedTuple):
    """A loaded model, and what tries adapters for it, if anything does."""

    engine: Engine
    trial: Trial | None


def load_engine(
    path: str | Path,
    settings: EngineSettings,
    layout: Layout,
    chat_format: str | None,
    cache: Cache,
    *,
    trial: bool,
    progress: Progress,
) -> TriedEngine:
    """Load a model, after a trial in a child process the first time; see `Rella.from_gguf`."""
    if chat_format is not None:
        check_chat_format(chat_format)
    elif layout == "question":
        warm_up()  # most models bring a chat template: it can be rendered as soon as the model is there
    tried = Trial(cache, progress) if trial else None
    return TriedEngine(Engine.from_gguf(path, settings if tried is None else tried.settings(path, settings)), tried)
