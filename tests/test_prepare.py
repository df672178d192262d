from importlib import import_module
from inspect import signature

import pytest

from rella_cpp import DATA_FORMATS, DataFormat
from rella_cpp.datasets.formats.layouts import LAYOUTS


@pytest.mark.parametrize("known", DATA_FORMATS, ids=lambda known: known.name)
def test_a_format_names_a_function_that_is_there(known: DataFormat) -> None:
    # It stands as text, since its module is imported late: no type checker sees it.
    module, _, name = known.function.rpartition(".")
    function = getattr(import_module(f"rella_cpp.datasets.formats.{module}"), name)
    assert list(signature(function).parameters) == ["files", "options"] and function.__doc__


def test_a_format_is_known_by_its_files() -> None:
    # `table` reads whatever its recipe names.
    assert {known.name for known in DATA_FORMATS} - {"table"} <= {layout.name for layout in LAYOUTS}
