"""Columns that are not read, though they are called as one that is."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from test_datasets_table import COLUMNS, EVENTS, ITEMS, RULES, TITLE, write_csv

from rella_cpp import EventColumns, PrepareOptions, Recipe, RecordColumns, prepare


def warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture, recipe: Recipe, **names: str) -> list[str]:
    def renamed(row: Mapping[str, object]) -> dict[str, object]:
        return {names.get(name, name): value for name, value in row.items()}

    write_csv(tmp_path / "e.csv", [renamed(row) for row in EVENTS])
    write_csv(tmp_path / "i.csv", [renamed(row) for row in ITEMS])
    with caplog.at_level(logging.WARNING, "rella_cpp"):
        prepare("table", tmp_path / "e.csv", tmp_path / "out", options=PrepareOptions(recipe=recipe))
    return [record.getMessage() for record in caplog.records]


def test_a_column_near_a_field_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = RecordColumns("iid", str(tmp_path / "i.csv"), fields=TITLE.fields)
    recipe = Recipe(interactions=COLUMNS, items=items, rules=RULES)
    assert warnings(tmp_path, caplog, recipe, year="Year", genres="Genre") == [
        "i.csv: Year is not read; a recipe can name it as year",
        "i.csv: Genre is not read; a recipe can name it as genres",
    ]


def test_ratings_and_times_that_no_column_is_named_for_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = RecordColumns("iid", str(tmp_path / "i.csv"), fields=TITLE.fields)
    recipe = Recipe(interactions=EventColumns("uid", "iid"), items=items)
    assert warnings(tmp_path, caplog, recipe) == [
        "e.csv: stars is not read (--rating-column stars reads it)",
        "e.csv: when is not read (--time-column when reads it)",
    ]
