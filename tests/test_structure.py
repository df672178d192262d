import ast
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import rella_cpp
import rella_gguf

ROOT = Path(__file__).parent.parent
ROOMS = {"rella_gguf": ROOT / "gguf/rella_gguf", "rella_cpp": ROOT / "rella_cpp", "rella_cli": ROOT / "cli/rella_cli"}
# Who may import whom: one way only.
ALLOWED = {"rella_gguf": set(), "rella_cpp": {"rella_gguf"}, "rella_cli": {"rella_cpp", "rella_gguf"}}
# The same for the rooms of the library, from the ground floor up: each may import the rooms on its line, all of which
# stand on lines before it. `errors` is open to all.
LIBRARY = {
    "storage": "",
    "metrics": "",
    "pages": "",
    "domains": "storage",
    "engine": "storage",
    "adapters": "storage domains engine",
    "bundles": "storage domains engine",
    "datasets": "storage domains",
    "exports": "domains datasets",
    "prompts": "domains engine adapters",
    "retrieval": "storage domains engine datasets prompts",
    "summarization": "storage domains engine datasets prompts",
    "scoring": "storage domains engine prompts retrieval summarization",
    "recommender": "storage domains engine adapters bundles prompts retrieval summarization scoring",
    "serving": "domains engine exports prompts retrieval summarization scoring recommender",
    "evaluation": "storage metrics pages domains engine datasets prompts retrieval summarization scoring",
    "tuning": "storage metrics domains engine datasets prompts retrieval summarization scoring recommender",
    "training": "storage domains datasets bundles retrieval scoring recommender evaluation tuning",
    "benchmark": "storage domains engine prompts recommender",
}
# And for those of the command line; `log`, `shortages` and `signals` are open to all.
COMMAND_LINE = {"views": "", "options": "views", "commands": "options views"}
MOST_PARAMETERS, MOST_LINES = 7, 60


def modules() -> list[tuple[str, Path]]:
    return [(room, path) for room, folder in ROOMS.items() for path in sorted(folder.rglob("*.py"))]


def imported_modules(path: Path) -> set[str]:
    """Name what a file imports, wherever it does: `rella_cpp.engine.engine`, `numpy`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def imported(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(path)}


def functions() -> list[tuple[str, ast.FunctionDef]]:
    """Return every function of ours, by its place; with the decorators that the file says it has."""
    found = []
    for _, path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owners = {
            id(child): node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for child in node.body
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                found.append((f"{path.relative_to(ROOT)}: {owners.get(id(node), '')}.{node.name}", node))
    return found


@pytest.mark.parametrize("package", [rella_cpp, rella_gguf])
def test_the_stub_names_what_the_package_exports_and_where_it_stands(package: ModuleType) -> None:
    # The package reads its stub when it is imported; that each import in it can happen, only a test shows.
    stub = Path(str(package.__file__)).with_suffix(".pyi")
    imports = [
        node for node in ast.walk(ast.parse(stub.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    names = [alias.name for node in imports for alias in node.names]
    for node in imports:
        for alias in node.names:
            assert alias.asname == alias.name  # else type checkers take it for private
            module = import_module(f"{package.__name__}.{node.module}")
            assert getattr(package, alias.name) is getattr(module, alias.name)
    assert len(set(names)) == len(names)
    assert sorted(package.__all__) == dir(package) == sorted(names)


def test_imports_point_one_way_and_llama_cpp_has_its_doors() -> None:
    for room, path in modules():
        names = imported(path)
        assert names & set(ROOMS) - {room} <= ALLOWED[room], path
        if "llama_cpp" in names:
            assert path in (ROOMS["rella_cpp"] / "engine/native.py", ROOMS["rella_gguf"] / "native.py"), path
        if names & {"typer", "rich"}:
            assert room == "rella_cli", path


def test_the_folders_that_hold_packages_are_none_themselves() -> None:
    # An __init__.py in gguf/ would hide PyPI's gguf, which we depend on.
    assert not (ROOT / "cli/__init__.py").exists() and not (ROOT / "gguf/__init__.py").exists()


def test_modules_stay_short_and_prints_stay_out_of_the_library() -> None:
    for room, path in modules():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") < 400, path
        if room != "rella_cli":
            assert not re.search(r"\bprint\(|sys\.std(out|err)", text), path


def test_the_errors_docstring_draws_the_tree() -> None:
    drawn = set(re.findall(r"(\w+Error)\b", rella_cpp.errors.__doc__ or "")) - {"ValueError", "TypeError"}
    assert drawn == {name for name in rella_cpp.errors.__all__}


@pytest.mark.parametrize(
    ("package", "table", "open_to_all"),
    [("rella_cpp", LIBRARY, {"errors"}), ("rella_cli", COMMAND_LINE, {"log", "shortages", "signals"})],
)
def test_rooms_import_those_below_them_and_no_others(
    package: str, table: dict[str, str], open_to_all: set[str]
) -> None:
    for room, allowed in table.items():
        found: set[str] = set()
        for path in (ROOMS[package] / room).rglob("*.py"):
            for name in imported_modules(path):
                assert name != package, f"{path} asks the public face, which asks everybody"
                if name.startswith(f"{package}."):
                    found.add(name.split(".")[1])
        assert found - {room} - open_to_all == set(allowed.split()), room
    floors = list(table)
    assert all(floors.index(below) < floors.index(room) for room in floors for below in table[room].split())


def test_the_library_has_rooms_and_no_loose_modules() -> None:
    folder = ROOMS["rella_cpp"]
    assert {path.name for path in folder.glob("*.py")} == {"__init__.py", "errors.py"}
    assert {path.name for path in folder.iterdir() if (path / "__init__.py").exists()} == set(LIBRARY)


def test_a_room_says_what_it_is_for_and_nothing_else() -> None:
    # Names are imported from the module that has them, so that an import shows where a thing stands.
    for room, path in modules():
        if path.name == "__init__.py" and path.parent != ROOMS[room]:
            (says,) = ast.parse(path.read_text(encoding="utf-8")).body
            assert isinstance(says, ast.Expr) and len(str(ast.get_docstring(ast.Module([says], [])))) > 40, path


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {}
    for room, path in modules():
        name = ".".join((room, *path.relative_to(ROOMS[room]).with_suffix("").parts)).removesuffix(".__init__")
        known[name] = imported_modules(path)
    left = {name: names & known.keys() for name, names in known.items()}
    while free := {name for name, names in left.items() if not names}:
        left = {name: names - free for name, names in left.items() if name not in free}
    assert not left


def test_functions_stay_short_and_take_few_things() -> None:
    for place, node in functions():
        marks = [ast.dump(each) for each in (*node.decorator_list, *ast.walk(node.args))]
        command = "/commands/" in place and any("Annotated" in mark or "Options" in mark for mark in marks)
        taken = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if not (command or "rella.py: Rella." in place):  # an option of a command is a parameter, too
            assert len([name for name in taken if name not in ("self", "cls")]) <= MOST_PARAMETERS, place
        assert int(node.end_lineno or 0) - node.lineno < MOST_LINES, place
