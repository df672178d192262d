"""The examples that docstrings work out give what they say."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "name", ["rella_cpp.retrieval.ordering", "rella_cpp.recommender.candidates", "rella_gguf.lora.merge"]
)
def test_worked_examples_are_right(name: str) -> None:
    failed, tried = doctest.testmod(import_module(name))
    assert tried and not failed
