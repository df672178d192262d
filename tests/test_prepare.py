from importlib import import_module
from inspect import signature

import pytest

from rella_cpp import DATA_FORMATS, DataFormat


@pytest.mark.parametrize("known", DATA_FORMATS, ids=lambda known: known.name)
def test_a_format_names_a_function_that_is_there(known: DataFormat) -> None:
    # It stands as text, since its module is imported late: no type checker sees it.
    module, _, name = known.function.rpartition(".")
    function = getattr(import_module(f"rella_cpp.datasets.formats.{module}"), name)
    assert list(signature(function).parameters) == ["files", "options"] and function.__doc__
