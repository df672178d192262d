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


def modules() -> list[tuple[str, Path]]:
    return [(room, path) for room, folder in ROOMS.items() for path in sorted(folder.rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


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
            assert path.parent.name == "engine" or path == ROOMS["rella_gguf"] / "native.py", path
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
