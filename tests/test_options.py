import ast
import inspect
import io
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from commands import runner

import rella_cli.options
from rella_cli.main import make_app
from rella_cli.options.groups import MOST, group, only, with_groups, without

CLI = Path(rella_cli.__path__[0])
OPTION = re.compile(r"--[a-z][a-z-]*(/--[a-z][a-z-]*)?")

Size = Annotated[int, typer.Option("--size", help="How large.")]


@group
class Shape:
    size: Size = 3
    colour: Annotated[str, typer.Option("--colour", "-c", help="Which one.")] = "red"
    round: Annotated[bool, typer.Option("--round/--square")] = False


@group
class Wide(Shape):
    size: Annotated[int, typer.Option("--width")] = 9


@group
class Place:
    name: Annotated[str, typer.Argument()]
    floor: Annotated[int | None, typer.Option("--floor")] = None


def run(command: Callable[..., None], *arguments: str) -> str:
    """Return what a command prints, or what Typer says of its options."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    printed = io.StringIO()
    with redirect_stdout(printed):
        try:
            app(list(arguments), standalone_mode=False)
        except Exception as error:
            return str(error.format_message())  # type: ignore[attr-defined]
    return printed.getvalue()


def names_of(command: Callable[..., None]) -> dict[str, object]:
    return {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}


def test_a_command_gets_its_groups_and_typer_sees_their_options() -> None:
    @with_groups
    def draw(place: Place, shape: Shape, times: Annotated[int, typer.Option("--times")] = 1) -> None:
        """Draw it."""
        typer.echo(f"{place.name} {place.floor} {shape.size} {shape.colour} {shape.round} {times}")

    assert names_of(draw) == {
        "name": inspect.Parameter.empty, "floor": None, "size": 3, "colour": "red", "round": False, "times": 1,
    }  # fmt: skip
    assert run(draw, "hall") == "hall None 3 red False 1\n"
    assert run(draw, "hall", "--size", "5", "-c", "blue", "--round", "--floor", "2", "--times", "4") == (
        "hall 2 5 blue True 4\n"
    )
    told = run(draw, "--help")
    assert "Draw it." in told and "How large." in told and "Which one." in told
    assert "Missing argument" in run(draw)


def test_what_a_command_leaves_out_of_a_group_keeps_its_default() -> None:
    @with_groups
    def draw(one: Annotated[Shape, without("size")], two: Annotated[Place, only("name")]) -> None:
        typer.echo(f"{one.size} {one.colour} {one.round} {two.name} {two.floor}")

    assert list(names_of(draw)) == ["colour", "round", "name"]
    assert run(draw, "hall", "-c", "blue") == "3 blue False hall None\n"
    assert "No such option" in run(draw, "hall", "--size", "4")


def test_a_group_may_word_an_option_of_another_anew() -> None:
    @with_groups
    def draw(shape: Wide) -> None:
        typer.echo(f"{shape.size} {shape.colour}")

    assert run(draw, "--width", "4") == "4 red\n"
    assert list(names_of(draw)) == ["size", "colour", "round"]


def test_a_command_still_knows_its_context_and_what_was_given() -> None:
    @with_groups
    def draw(context: typer.Context, shape: Shape) -> None:
        sources = (context.get_parameter_source(name) for name in context.params)
        typer.echo(f"{context.params} {[source.name for source in sources if source]}")

    assert run(draw, "--size", "3") == (
        "{'size': 3, 'colour': 'red', 'round': False} ['COMMANDLINE', 'DEFAULT', 'DEFAULT']\n"
    )


def many(number: int) -> type:
    defaults = {f"option{each}": each for each in range(number)}
    return type("Many", (), {"__annotations__": dict.fromkeys(defaults, int), **defaults})


def test_a_group_cannot_change_nor_have_more_than_eight_options() -> None:
    shape = Shape()
    with pytest.raises(AttributeError):
        shape.size = 4  # type: ignore[misc]
    assert not hasattr(shape, "__dict__")
    with pytest.raises(TypeError, match="Many has 9 options; a group has at most 8: make two of it"):
        group(many(MOST + 1))
    assert len(fields(group(many(MOST)))) == MOST


def test_a_group_that_could_change_is_refused() -> None:
    @dataclass
    class Loose:
        size: Size = 3

    def draw(shape: Any) -> None: ...

    draw.__annotations__["shape"] = Loose
    with pytest.raises(TypeError, match="Loose is a group of options, so it must be frozen"):
        with_groups(draw)


@pytest.mark.parametrize(
    ("hint", "finding"),
    [
        (Annotated[Shape, only("sice")], "Shape has no option sice"),
        (Annotated[Shape, without("sice")], "Shape has no option sice"),
        (Annotated[Place, without("name")], "name of Place has no default, so it cannot be left out"),
    ],
)
def test_a_part_of_a_group_that_cannot_be_is_refused(hint: Any, finding: str) -> None:
    def draw(shape: Any) -> None: ...

    draw.__annotations__["shape"] = hint
    with pytest.raises(TypeError, match=finding):
        with_groups(draw)


@pytest.mark.parametrize(
    ("other", "twice"),
    [
        (Annotated[Shape, only("size")], "size"),
        (Annotated[int, typer.Option("--size")], "--size"),
        (Annotated[int, typer.Option("--count", "-c")], "-c"),
    ],
)
def test_an_option_in_two_places_of_a_command_is_refused(other: Any, twice: str) -> None:
    def draw(shape: Shape, other: Any) -> None: ...

    draw.__annotations__["other"] = other
    with pytest.raises(TypeError, match=f"^draw has {twice} twice$"):
        with_groups(draw)


def groups() -> list[type]:
    found = [
        kind
        for info in pkgutil.iter_modules(rella_cli.options.__path__)
        for kind in vars(import_module(f"rella_cli.options.{info.name}")).values()
        if isinstance(kind, type) and is_dataclass(kind)
    ]
    return list(dict.fromkeys(found))


def test_every_group_is_frozen_small_and_made_of_options() -> None:
    found = groups()
    assert len(found) > 15
    for kind in found:
        assert kind.__dataclass_params__.frozen and "__slots__" in vars(kind), kind  # type: ignore[attr-defined]
        assert 1 <= len(fields(kind)) <= MOST, kind
        for field in fields(kind):
            assert not isinstance(field.type, str)
            infos = getattr(field.type, "__metadata__", ())
            assert any("typer" in type(info).__module__ for info in infos), (kind, field.name)


def declarations(path: Path) -> Iterator[str]:
    """Yield the options that a module declares: it names one in a call, or in a tuple of names, by itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        named: list[ast.expr] = []
        if isinstance(node, ast.Call):
            named = node.args
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            named = node.value.elts
        for each in named:
            text = each.value if isinstance(each, ast.Constant) else None
            if isinstance(text, str) and OPTION.fullmatch(text):
                yield text.partition("/")[0]


def test_no_option_is_declared_twice() -> None:
    named = Counter(name for path in CLI.rglob("*.py") for name in declarations(path))
    assert {"--model", "--embed-model", "--exact", "--version"} <= set(named)  # it does find them
    assert not {name: times for name, times in named.items() if times > 1}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(make_app())))


def test_every_option_declared_is_some_commands() -> None:
    named = {name for path in CLI.rglob("*.py") for name in declarations(path)}
    taken = {name for command in COMMANDS.values() for option in command.params for name in option.opts}
    assert named == {name for name in taken if name.startswith("--")}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The app is put together by names in strings, of which no checker knows; each command is imported by itself here.
    monkeypatch.setenv("COLUMNS", "200")
    shown = runner(capsys)(*path, "--help")
    assert shown.code == 0 and not shown.err
    assert f" {' '.join((*path, '[OPTIONS]'))}" in next(line for line in shown.out.splitlines() if "Usage:" in line)
