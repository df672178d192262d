"""A bundle in the place of a model's options: what it says, a command takes where its own option was not given."""

import inspect
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

from rella_cli.options.engine import MODEL
from rella_cli.options.groups import was_given

if TYPE_CHECKING:
    from rella_cpp import Bundle
    from rella_cpp.engine.identity import OpenedBundle


def bundle_option(metavar: str, text: str, panel: str | None = None) -> Any:
    """Declare --bundle: one that is used, or one to make."""
    return typer.Option("--bundle", metavar=metavar, help=text, rich_help_panel=panel, show_default=False)


BundleOption = Annotated[
    str | None,
    bundle_option(
        "DIR|NAME",
        "A bundle (rella bundle make): model, adapters, domain, reading, in one folder. Else RELLA_BUNDLE.",
        MODEL,
    ),
]
_OWN = ("model", "embed_model", "lora", "soft", "head", "chat_format", "layout")
"""What a bundle brings, and what may not be given beside it."""
_QUESTIONS = ("by", "context_kind", "order", "contrast", "calibration")
"""What was made for a yes-or-no question, as the packaged model is asked without a bundle."""
_SAID: "ContextVar[dict[str, Any] | None]" = ContextVar("what the bundle says", default=None)
_IN_USE: "ContextVar[OpenedBundle | None]" = ContextVar("bundle", default=None)


def with_bundle(command: Callable[..., None], *, shipped: bool = False) -> Callable[..., None]:
    """Give a command the option --bundle. It fills in the command's other options, where those were not given.

    RELLA_BUNDLE does the same where none of a bundle's own options is given; and with `shipped` so does the bundle that
    comes with the package, for films, where nothing else says which model judges, or how.
    """
    signature = inspect.signature(command)
    taken = _options_taken(signature)
    usual = {name: parameter.default for name, parameter in signature.parameters.items()}
    several = {name for name, parameter in signature.parameters.items() if _takes_several(parameter.annotation)}

    def wrapper(context: typer.Context, *, bundle: str | None = None, **given: Any) -> None:
        own = [name for name in _OWN if given.get(name)]
        _refuse_both(bundle, own)
        name = bundle if bundle is not None else (None if own else _of_environment())
        if name is None and shipped and not own and not any(given.get(each) != usual.get(each) for each in _QUESTIONS):
            name = _shipped(given)
        given |= {"context": context} if "context" in usual else {}
        if name is None:
            command(**given)
            return
        opened = _opened(name, given)
        said = options_of(opened)
        if usual.get("domain") is None and not said["domain"].endswith(".toml"):
            del said["domain"]  # the data names one
        for option in said.keys() & taken - {name for name in given if was_given(context, name)}:
            if said[option] is not None:
                value = said[option]
                given[option] = [value] if option in several and not isinstance(value, list) else value
        said_before = _SAID.set(said)
        before = _IN_USE.set(opened.opened if "layout" in taken else None)  # else nothing is judged
        try:
            command(**given)
        finally:
            _IN_USE.reset(before)
            _SAID.reset(said_before)

    parameter = inspect.Parameter("bundle", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=BundleOption)
    update_wrapper(wrapper, command)
    wrapper.__annotations__ = {**command.__annotations__, "bundle": BundleOption}
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    others = [each for each in signature.parameters.values() if each.name != "context"]
    place = next((place for place, each in enumerate(others) if each.name in _OWN), len(others))
    wrapper.__annotations__["context"] = typer.Context
    parameters = [context, *others[:place], parameter, *others[place:]]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return wrapper


def options_of(bundle: "Bundle") -> dict[str, Any]:
    """Return what a bundle says, by the name of the option that says it otherwise; None: nothing."""
    said = bundle.manifest
    plain = ("chat_format", "layout", "k", "retrieval", "order", "window")
    found: dict[str, Any] = {name: getattr(said, name) for name in plain}
    found |= {name: _text(bundle.part(name)) for name in ("soft", "head", "calibration", "index")}
    found["model"] = found["embed_model"] = str(bundle.model)
    found["lora"] = [f"{path}={scale!r}" for path, scale in bundle.adapters] or None
    found["domain"] = str(bundle.domain)
    return found


def _options_taken(signature: inspect.Signature) -> set[str]:
    """Name the options that a bundle fills in; a data set has an index of its own."""
    names = set(signature.parameters)
    return names - {"index"} if names & {"data", "catalog"} else names


def _opened(name: str, given: Mapping[str, Any]) -> "Bundle":
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import Cache
    from rella_cpp.recommender.opening import checked_bundle

    with ProgressBar(patience=2) as bar:
        return checked_bundle(name, cache=Cache(None) if given.get("no_cache") else None, progress=bar)


def bundle_in_use() -> "OpenedBundle | None":
    """Return the bundle that filled in the options of the command that runs, if one did."""
    return _IN_USE.get()


def bundles_part(name: str) -> str | None:
    """Return a part of the bundle that the command under way uses, as its option has it; None: there is none."""
    return None if (said := _SAID.get()) is None else said.get(name)


def _of_environment() -> str | None:
    return os.environ.get("RELLA_BUNDLE") or None


def _shipped(given: Mapping[str, Any]) -> str | None:
    """Name the bundle that comes with the package, where it is for these items and can be used."""
    from rella_cpp.bundles.bundle import DEFAULT, shipped_bundles
    from rella_cpp.engine.hub import packaged_model

    if os.environ.get("RELLA_MODEL") or _domain(given) != "movies":
        return None
    return DEFAULT if DEFAULT in shipped_bundles() and packaged_model() is not None else None


def _domain(given: Mapping[str, Any]) -> str | None:
    """Return what the items are, as it is given, or by the index."""
    if given.get("domain") or not given.get("index"):
        return given.get("domain")
    from rella_cpp.errors import InputError
    from rella_cpp.retrieval.index.manifest import IndexManifest

    try:
        return IndexManifest.load(Path(given["index"])).domain
    except InputError:  # what opens it next says what is wrong with it
        return None


def _refuse_both(bundle: str | None, own: list[str]) -> None:
    """Refuse a bundle beside what only it may bring."""
    if bundle is None or not own:
        return
    from rella_cpp import InputError

    option = f"--{own[0].replace('_', '-')}"
    raise InputError(f"--bundle and {option} are both given", remedy="leave one out: a bundle brings its own")


def _takes_several(hint: Any) -> bool:
    """Tell whether an option may be repeated."""
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return any(get_origin(each) is list for each in (kind, *get_args(kind)))


def _text(path: object) -> str | None:
    return None if path is None else str(path)
