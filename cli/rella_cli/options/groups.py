"""Groups of options: a command takes one argument a concern, and Typer sees every option in it.

    @with_groups
    def rank(reading: ReadingOptions, engine: Annotated[EngineOptions, without("exact")]) -> None: ...

A group's fields are annotated as a command's parameters are, and have the options' defaults:

    @group
    class EngineOptions:
        exact: Annotated[bool, typer.Option("--exact", help="The same bits alone or in company.")] = False
"""

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import update_wrapper
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

import typer

MOST = 8
"""Fields of a group: more would be two concerns."""
Kind = TypeVar("Kind")


@dataclass_transform(frozen_default=True)
def group(kind: type[Kind]) -> type[Kind]:
    """Make a group of a class: a frozen dataclass with slots, of at most eight options.

    It is neither compared nor printed: what serves for that would take a start half a millisecond a group.

    Raises
    ------
    TypeError
        It has more options.

    """
    made = dataclass(frozen=True, slots=True, eq=False, repr=False)(kind)
    check_group(made)
    return made


class _Part:
    """Which fields of a group a command has: those named, or all others."""

    def __init__(self, names: tuple[str, ...], *, named: bool) -> None:
        self.names, self._named = names, named

    def has(self, name: str) -> bool:
        """Tell whether a field is among them."""
        return (name in self.names) == self._named


def only(*names: str) -> _Part:
    """Take these fields of a group alone: `Annotated[Group, only("k")]`. The others keep their defaults."""
    return _Part(names, named=True)


def without(*names: str) -> _Part:
    """Take a group but for these fields, which keep their defaults: `Annotated[Group, without("exact")]`."""
    return _Part(names, named=False)


def with_groups(command: Callable[..., None], **parts: _Part) -> Callable[..., None]:
    """Give Typer a signature with the options of each group in the group's place; the command gets the groups.

    Parameters
    ----------
    command
        A function whose parameters are groups and options.
    parts
        Which options of a group this command has, by the group's parameter: for a function that several commands share.

    Raises
    ------
    TypeError
        A group is not frozen, has too many fields, or lacks one that the command names; or two of the command's options
        have the same name.

    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[type, list[str]]] = {}
    spread: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind, own = _split(hints[name])
        if isinstance(kind, type) and is_dataclass(kind):
            check_group(kind)
            options = _options_of(kind, [*own, *([parts[name]] if name in parts else [])])
            groups[name] = kind, [option.name for option in options]
            spread += options
        else:
            spread.append(_parameter(name, hints[name], parameter.default))
    _check_names(command, spread)

    def wrapper(**given: Any) -> None:
        made = {name: kind(**{each: given.pop(each) for each in own}) for name, (kind, own) in groups.items()}
        command(**made, **given)

    update_wrapper(wrapper, command)
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in spread} | {"return": None}
    wrapper.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    return wrapper


def was_given(context: typer.Context, name: str) -> bool:
    """Tell whether an option was given, and not left to its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _split(hint: Any) -> tuple[Any, list[_Part]]:
    """Return a parameter's type, and which part of it is wanted if it is a group."""
    if get_origin(hint) is not Annotated:
        return hint, []
    kind, *notes = get_args(hint)
    return kind, [note for note in notes if isinstance(note, _Part)]


def _options_of(kind: type, parts: list[_Part]) -> list[inspect.Parameter]:
    """Make a parameter of each field of a group that a command takes."""
    hints = get_type_hints(kind, include_extras=True)
    for part in parts:
        if unknown := set(part.names) - set(hints):
            raise TypeError(f"{kind.__name__} has no option {min(unknown)}")
    options = []
    for field in fields(kind):
        if all(part.has(field.name) for part in parts):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            options.append(_parameter(field.name, hints[field.name], default))
        elif field.default is MISSING:
            raise TypeError(f"{field.name} of {kind.__name__} has no default, so it cannot be left out")
    return options


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def check_group(kind: type) -> None:
    """Refuse a group that could change while a command runs, or that has too many options."""
    if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise TypeError(f"{kind.__name__} is a group of options, so it must be frozen")
    if (number := len(fields(kind))) > MOST:
        raise TypeError(f"{kind.__name__} has {number} options; a group has at most {MOST}: make two of it")


def _check_names(command: Callable[..., None], options: list[inspect.Parameter]) -> None:
    """Refuse an option that a command would have twice."""
    named = Counter(option.name for option in options)
    named.update(text for option in options for text in _declared(option.annotation))
    if twice := [name for name, times in named.items() if times > 1]:
        raise TypeError(f"{command.__name__} has {twice[0]} twice")


def _declared(hint: Any) -> list[str]:
    """Return the names of an option as they are typed, such as `--out` and `-o`; none of an argument."""
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    # In an Annotated type the first name stands where a default would: Typer moves it later.
    named = (
        name for note in notes for name in (getattr(note, "default", None), *(getattr(note, "param_decls", ()) or ()))
    )
    return [name for name in named if isinstance(name, str)]
