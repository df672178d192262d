import json
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from commands import run_python

import rella_cpp
import rella_gguf

EXAMPLES = Path(__file__).parent.parent / "examples"
# Each of these took 0.02 to 3 s to import; a score of a short history needs none before it decodes.
HEAVY = {
    "asyncio", "datasets", "gguf", "huggingface_hub", "joblib", "pandas", "psutil", "pyarrow",
    "rich", "safetensors", "scipy", "sklearn", "usearch",
}  # fmt: skip
OURS = {
    "rella_cpp.benchmark", "rella_cpp.datasets", "rella_cpp.evaluation", "rella_cpp.metrics",
    "rella_cpp.recommender.candidates", "rella_cpp.retrieval.index", "rella_cpp.retrieval.samples",
    "rella_cpp.scoring.calibration", "rella_cpp.scoring.logistic", "rella_cpp.serving",
    "rella_cpp.tuning", "rella_gguf.lora.conversion", "rella_gguf.lora.merge", "rella_gguf.quantization",
    "rella_cli.commands.data", "rella_cli.commands.evaluate", "rella_cli.commands.worker", "rella_cli.views.scores",
}  # fmt: skip
UNTIL_IT_DECODES = """
import json, os, sys
import llama_cpp

def decode(*_):
    print(json.dumps(sorted(sys.modules)), flush=True)
    os._exit(0)

llama_cpp.llama_decode = decode
from rella_cli.main import main
main(sys.argv[1:])
"""


def test_a_score_imports_nothing_heavy_before_it_decodes(roomy_model: Path) -> None:
    files = ("--history", EXAMPLES / "history.json", "--item", EXAMPLES / "item.json")
    found = set(json.loads(run_python(UNTIL_IT_DECODES, "score", *files, "--model", roomy_model)))
    assert {
        "numpy",
        "llama_cpp",
        "rella_cpp.engine.engine",
        "rella_cpp.recommender.rella",
    } <= found  # it did come that far
    assert not found & (HEAVY | OURS)
    assert all(map(find_spec, OURS))  # a room that moved would be missed without a word


def test_naming_the_library_imports_none_of_it() -> None:
    code = "import json, sys, rella_cpp\nprint(json.dumps([m for m in sys.modules if m.startswith('rella_')]))"
    assert set(json.loads(run_python(code))) == {"rella_cpp"}


@pytest.mark.parametrize("package", [rella_cpp, rella_gguf])
def test_no_module_hides_a_public_name(package: ModuleType) -> None:
    # Importing a submodule sets an attribute of its name on the package, in place of a function of that name.
    modules = {path.stem for path in Path(str(package.__file__)).parent.iterdir()}
    assert not modules & set(package.__all__)


def test_a_name_that_is_not_there_is_said_so() -> None:
    with pytest.raises(AttributeError, match="No rella_cpp attribute Rela"):
        rella_cpp.Rela  # type: ignore[attr-defined]  # noqa: B018
