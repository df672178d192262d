"""From options to a loaded model."""

import gc
import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rella_gguf.shown import one_line

if TYPE_CHECKING:
    from rella_cpp import DataSet, Domain, EngineSettings, History, ItemIndex, Rella, User
    from rella_cpp.inputs import Places


_LATEST = 64  # warnings that are not said again; a worker has many
_PATIENCE = 20.0
"""Seconds after which a trial is mentioned where there is no terminal to show a bar on."""


def engine_settings(
    ctx: int | None, threads: int | None, gpu_layers: int, flash_attn: str, kv_type: str, exact: bool = False
) -> "EngineSettings":
    """Turn the options of every command that loads a model into settings; they are checked here, before any file."""
    from rella_cpp import EngineSettings

    return EngineSettings(ctx, threads, gpu_layers, flash_attn, kv_type, exact)  # type: ignore[arg-type]  # it checks


def open_rella(
    model: str | None,
    domain: "Domain",
    lora: list[str],
    chat_format: str | None,
    settings: "EngineSettings",
    no_cache: bool,
    verbose: bool,
    *,
    soft: str | None = None,
    head: str | None = None,
    allow_mismatch: bool = False,
    no_trial: bool = False,
) -> "Rella":
    """Find the model, try it if it is new here, load it, apply the adapters, the soft prompt and the head."""
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import Cache, Rella, find_model

    listen(verbose)
    adapters = [parse_adapter(text) for text in lora]
    path = find_model(model)
    cache = Cache(None) if no_cache else Cache.default()
    facts = {"domain": domain, "settings": settings, "chat_format": chat_format, "cache": cache}
    with ProgressBar(patience=_PATIENCE) as bar:
        rella = Rella.from_gguf(path, **facts, trial=not no_trial, progress=bar)  # type: ignore[arg-type]
        try:
            if soft is not None:
                rella.use_soft(soft, allow_mismatch=allow_mismatch)
            rella.use_adapters(adapters, allow_mismatch=allow_mismatch)
            if head is not None:
                rella.use_head(head, allow_mismatch=allow_mismatch)
        except BaseException:
            rella.close()
            raise
    gc.set_threshold(700, 10, 10)  # Python's own: main set it high for the start, now garbage would pile up
    return rella


def open_index(folder: "str | Path", no_cache: bool) -> "ItemIndex":
    """Open an index, whose files are checked once, or with `no_cache` each time."""
    from rella_cpp import Cache, ItemIndex

    return ItemIndex.open(folder, cache=Cache(None) if no_cache else None)


def open_data(
    data: Path, domain: str | None, index: str | None, allow_mismatch: bool, no_cache: bool = False
) -> "tuple[DataSet, Domain, ItemIndex | None]":
    """Open a data set, the domain that fits it, and an index, of the same wording unless a mismatch is allowed."""
    from rella_cpp import DataSet

    source = DataSet.open(data)
    words = domain_of(source.folder, source.domain, domain)
    catalog = None if index is None else open_index(index, no_cache)
    if catalog is not None and not allow_mismatch:
        catalog.manifest.check_domain(words, catalog.folder)
    return source, words, catalog


def domain_of(made: "Path", name: str, chosen: str | None) -> "Domain":
    """Load the domain chosen, else the one that an artefact was made with, which may be a file left elsewhere."""
    from rella_cpp import InputError, builtin_domains, load_domain

    if chosen is None and name not in builtin_domains() and not Path(name).is_file():
        raise InputError(
            f"was made with a domain of your own, {name}, which is not here", source=made, remedy="give it as --domain"
        )
    return load_domain(chosen or name)


@contextmanager
def resumable() -> Iterator[None]:
    """Say of an interrupted command that it goes on where it was."""
    from rella_cli.views.terminal import note

    try:
        yield
    except KeyboardInterrupt:
        note("what is finished is kept: the same command goes on from there")
        raise


def read_past(
    history: str, user: str | None, domain: "Domain", *, allow_empty: bool = False
) -> "tuple[History, User | None]":
    """Read a history, and the user from it or from a file of its own."""
    from rella_cpp import InputError, read_history, read_user

    listen(False)
    past = read_history(history, domain, allow_empty=allow_empty)
    if user is None:
        return past, past.user
    person = read_user(user, domain)
    if past.user is not None:
        raise InputError("names a user, and so does --user", source=history, remedy="give one of them")
    return past, person


@contextmanager
def placed_in_files(past: "History | None" = None, items: "Places | None" = None) -> Iterator[None]:
    """Say of a behavior or an item that is refused only now, such as one too long, where in which file it stands."""
    from rella_cpp import ContextError, InputError
    from rella_cpp.lengths import located_in

    behaviors = None if past is None else past.places
    try:
        yield
    except InputError as error:
        for name, known in (("history", behaviors), ("item", items)):
            if known is not None:
                error = located_in(error, name, known.places, known.source)
        whole = behaviors if items is None or str(error.place).startswith("history") else items
        raise (error.located(whole.source) if isinstance(error, ContextError) and whole else error) from None


def parse_adapter(text: str) -> tuple[Path, float]:
    """Read `A.gguf` or `A.gguf=SCALE`."""
    from rella_cpp import InputError

    name, equals, scale = text.rpartition("=")
    if not equals or os.path.exists(text):
        return Path(text), 1.0
    try:
        return Path(name), float(scale)
    except ValueError:
        raise InputError(f"the scale is {scale!r}", source=text, remedy="give a number, as in A.gguf=0.5") from None


def parse_sweep(text: str) -> tuple[int, ...]:
    """Read `k=5,10,15`."""
    from rella_cpp import InputError

    name, _, values = text.partition("=")
    try:
        if name.strip() != "k":
            raise ValueError
        return tuple(int(value) for value in values.split(","))
    except ValueError:
        raise InputError(f"--sweep is {text!r}", remedy="give values of K, as in k=5,10,15,20,25,30") from None


def refuse_second_stdin(*files: str | None) -> None:
    """Refuse `-` for more than one file: standard input can be read only once."""
    from rella_cpp import InputError

    if files.count("-") > 1:
        raise InputError("- is named twice", source="standard input", remedy="read one of them from a file")


class _OneLine(logging.Formatter):
    """Messages quote names of files, which may hold line breaks and worse."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


class _Unsaid(logging.Filter):
    """Lets the same warning through once, among the latest: a command may open the same cache several times."""

    def __init__(self) -> None:
        super().__init__()
        self._said: deque[str] = deque(maxlen=_LATEST)

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to say it; llama.cpp's log comes as it is."""
        if record.name != "rella_cpp":
            return True
        said = record.getMessage()
        new = said not in self._said
        if new:
            self._said.append(said)
        return new


def listen(verbose: bool) -> None:
    """Show the library's warnings on stderr; with `verbose`, llama.cpp's log too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("rella: %(levelname)s: %(message)s"))
    handler.addFilter(_Unsaid())
    logging.getLogger("rella_cpp").handlers = [handler]
    native = logging.getLogger("rella_cpp.llama_cpp")
    native.propagate = verbose
    native.setLevel(logging.DEBUG if verbose else logging.WARNING)
