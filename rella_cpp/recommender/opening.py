"""A bundle, loaded: its model with all that goes with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from rella_cpp.bundles.bundle import Bundle
from rella_cpp.bundles.manifest import NAME
from rella_cpp.domains.loading import load_domain
from rella_cpp.engine.identity import OpenedBundle
from rella_cpp.engine.settings import EngineSettings
from rella_cpp.errors import InputError
from rella_cpp.prompts.builder import PromptBuilder
from rella_cpp.recommender.tuned_layout import TunedLayout, tuned_layout
from rella_cpp.retrieval.selection import Selection
from rella_cpp.scoring.reader import LogitReader
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress

_Loaded = TypeVar("_Loaded")


class Loading(TypedDict, total=False):
    """How a bundle's model is loaded; see `Rella.from_gguf`."""

    settings: EngineSettings | None
    exact: bool | None
    cache: Cache | None
    trial: bool
    progress: Progress


def open_bundle(from_gguf: Callable[..., _Loaded], bundle: Bundle | str | Path, loading: Loading) -> _Loaded:
    """Load a bundle; see `Rella.from_bundle`. The first is what loads its model."""
    loading["cache"] = cache = loading.get("cache") or Cache.default()
    if not isinstance(bundle, Bundle):
        bundle = checked_bundle(bundle, cache=cache, progress=loading.get("progress", no_progress))
    rella: Any = from_gguf(
        bundle.model,
        domain=bundle.domain,
        lora=bundle.adapters,
        soft=bundle.part("soft"),
        layout=usual_reading(bundle),
        chat_format=bundle.manifest.chat_format,
        **loading,
    )
    try:
        use_bundle(bundle.opened, rella.reader, rella.prompts)
        rella.use_head(bundle.part("head"))
        if (index := bundle.part("index")) is not None:
            rella.use_index(index)
        if (calibration := bundle.part("calibration")) is not None:
            rella.use_calibration(calibration, optional=True)
    except BaseException:
        rella.close()
        raise
    loaded: _Loaded = rella
    return loaded


def use_bundle(bundle: OpenedBundle | None, reader: LogitReader, prompts: PromptBuilder) -> None:
    """Let results name the bundle that a model came from; None: no bundle.

    Raises
    ------
    InputError
        Prompts are in other words than those that it was made for.

    """
    if bundle is not None and bundle.wording not in ("", prompts.wording):
        finding = f"the bundle {bundle.name} was made for other words than those of the domain {prompts.domain.name}"
        raise InputError(finding, remedy="give a bundle and items of one domain")
    reader.bundle = bundle


def checked_bundle(name: str | Path, *, cache: Cache | None = None, progress: Progress = no_progress) -> Bundle:
    """Open a bundle, as `Bundle.open` does, and check how it reads histories, too."""
    bundle = Bundle.open(name, cache=cache, progress=progress)
    try:
        reading = usual_reading(bundle)
        Selection.of(reading.layout, reading.k, reading.retrieval, reading.order, window=reading.window)
        load_domain(bundle.domain)
    except InputError as error:
        raise error.located(bundle.folder / NAME) from None
    return bundle


def usual_reading(bundle: Bundle) -> TunedLayout:
    """Return a bundle's layout, and which behaviors its prompts show."""
    said = bundle.manifest
    # Adapters are asked for K alone, and only where the bundle does not say it: their headers take a while to read.
    tuned = tuned_layout(said.layout, () if said.k else bundle.adapters)  # type: ignore[arg-type]  # it checks it
    return TunedLayout(
        tuned.layout,
        said.k or tuned.k,
        said.retrieval,  # type: ignore[arg-type]  # what uses them checks them
        said.order,  # type: ignore[arg-type]
        said.window,  # type: ignore[arg-type]
    )
