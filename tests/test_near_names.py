import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_gguf.near_names import did_you_mean, nearest, shown_name, unknown_key, unknown_name

FIELDS = ("title", "year", "genres", "rating", "timestamp", "age", "id")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Title", "title"),
        (" title ", "title"),
        ("TITLE", "title"),
        ("time_stamp", "timestamp"),
        ("genre", "genres"),
        ("Genre", "genres"),
        ("ages", "age"),
        ("titel", "title"),
        ("yaer", "year"),
        ("ID", "id"),
    ],
)
def test_a_name_by_case_blanks_number_or_spelling_is_found_closely(name: str, meant: str) -> None:
    assert nearest(name, FIELDS, closely=True) == [meant] == nearest(name, FIELDS)


@pytest.mark.parametrize("name", ["page", "idx", "poster", "imdb_votes", "runtime", "review", "", "  ", "評価"])
def test_a_name_of_its_own_is_nobody_elses(name: str) -> None:
    assert nearest(name, FIELDS, closely=True) == []


def test_a_name_of_megabytes_takes_no_time_and_is_nobody_elses() -> None:
    huge = "title" * 1_000_000
    assert nearest(huge, FIELDS) == [] and nearest(huge, [*FIELDS, huge]) == [huge]
    assert len(str(unknown_key(huge, FIELDS))) < 200 and did_you_mean(huge, FIELDS) == ""


def test_the_same_but_for_case_stands_before_what_is_only_alike() -> None:
    assert nearest("Titles", ("titled", "title", "titles"), most=3) == ["titles", "title", "titled"]
    assert did_you_mean("k", ("K", "key"), most=2) == "did you mean K?"
    assert did_you_mean("ml-1", ("ml-1m", "ml-10m"), most=2) == "did you mean ml-1m or ml-10m?"


def test_refusals_name_the_nearest_or_all() -> None:
    assert str(unknown_key("Verb", ("verb", "noun"), place="[x]")) == "[x]: unknown key Verb; did you mean verb?"
    assert str(unknown_key(" verb", ("verb",))) == "unknown key ' verb'; did you mean verb?"
    assert str(unknown_key("xyz", ("verb", "noun"))) == "unknown key xyz; known keys: verb, noun"
    refusal = unknown_name("domain", "movie", ("books", "movies"), more=", or give a file")
    assert str(refusal) == "unknown domain 'movie'; did you mean movies? there are books, movies, or give a file"
    assert str(unknown_name("domain", "xx", ("books",))) == "unknown domain 'xx'; there are books"


@given(name=st.text(max_size=80))
def test_any_name_is_shown_in_one_short_line_and_is_nearest_to_itself(name: str) -> None:
    assert len(shown_name(name)) <= 60 * 10 + 2 and "\n" not in shown_name(name)
    assert nearest(name, ["title", name, "genres"])[0] == name


def test_there_is_one_way_to_find_near_names() -> None:
    root = Path(__file__).parent.parent
    for folder in ("rella_cpp", "cli", "gguf"):
        for path in (root / folder).rglob("*.py"):
            names = [n.module for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.ImportFrom)]
            assert "difflib" not in names or path.name == "near_names.py", path
