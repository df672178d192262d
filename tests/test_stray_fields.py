import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import Run, runner
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import (
    Behavior,
    Cache,
    InputError,
    Item,
    Rella,
    load_domain,
    read_history,
    read_items,
    read_user,
)
from rella_cpp.domains.field_names import meant_field
from rella_cpp.domains.stray_fields import UnreadField, unread_fields, unshown_fields
from rella_cpp.serving.service import Service
from rella_cpp.serving.worker import work

MOVIES, NEWS = load_domain("movies"), load_domain("news")
KNOWN = ("title", "year", "genres", "id", "rating", "timestamp")


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def write(folder: Path, value: object, name: str = "h.json") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_a_field_is_named_once_with_its_first_place_and_how_often_it_comes() -> None:
    records: list[tuple[str | None, Mapping[str, object]]] = [
        ("a", {"title": "x", "genres": ["y"], "genre": "y"}),
        ("b", {"title": "x", "genre": "y", "poster": "z"}),
        ("c", {"title": "x", "genre": "y", "genres": None, "Date": 3}),
    ]
    assert unread_fields(records, KNOWN) == [
        UnreadField("genre", "genres", "b", 2),
        UnreadField("Date", "timestamp", "c", 1),
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("genre", "genres"),
        ("Year", "year"),
        (" title", "title"),
        ("ts", "timestamp"),
        ("when", "timestamp"),
        ("stars", "rating"),
        ("movie", "title"),
        ("Movie", "title"),
        ("release_date", None),
        ("imdb_rating", None),
        ("runtime", None),
        ("", None),
    ],
)
def test_what_was_meant_by_a_field(name: str, meant: str | None) -> None:
    assert meant_field(name, KNOWN) == meant


WARNED: list[tuple[object, list[str]]] = [
    (
        [{"title": "Heat", "genre": "x", "rating": 3}, {"title": "Alien", "genre": "x"}],
        ["history[0] and 1 more: genre is not read; did you mean genres?"],
    ),
    (
        [{"title": "Heat", "date": "2020-01-01", "stars": 3}],
        ["history[0]: date is not read; timestamp is", "history[0]: stars is not read; rating is"],
    ),
    ([{"title": "Heat", "date": 3, "timestamp": 3, "Rating": 4, "rating": 4, "x": 1}], []),
    ([{"title": "Heat", "Rating": 4}], ["history[0]: Rating is not read; did you mean rating?"]),
    ([{"title": "Heat", " year": 4}], ["history[0]: ' year' is not read; did you mean year?"]),
    ({"user": {"Age": 3, "zip": 4}, "history": [{"title": "Heat"}]}, ["user: Age is not read; did you mean age?"]),
    ('{"title": "Heat"}\n\n{"title": "Alien", "Year": 3}\n', ["line 3: Year is not read; did you mean year?"]),
]


@pytest.mark.parametrize(("value", "said"), WARNED)
def test_a_history_file_warns_of_what_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, value: object, said: list[str]
) -> None:
    path = write(tmp_path, value)
    read_history(path, MOVIES)
    where = [f"{path}, {each}" for each in said]
    assert [record.getMessage() for record in caplog.records] == where
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_items_and_users_warn_likewise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = write(tmp_path, [{"title": "Heat", "date": 3}, {"title": "Heat", "Genres": [], "ID": 3}], "i.json")
    read_items(items, MOVIES)
    user = write(tmp_path, {"Gender": "x", "job": "y", "age": 3, "ages": 4}, "u.json")
    read_user(user, MOVIES)
    assert [record.getMessage() for record in caplog.records] == [
        f"{items}, item[1]: Genres is not read; did you mean genres?",
        f"{items}, item[1]: ID is not read; did you mean id?",
        f"{user}: Gender is not read; did you mean gender?",
        f"{user}: job is not read; occupation is",
    ]


def test_a_domain_without_ratings_reads_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_history(write(tmp_path, [{"title": "x", "stars": 3}]), NEWS)
    assert not caplog.records


MISSING: list[tuple[object, str]] = [
    ([{"title": "Heat"}, {"Title": "Alien"}], "history[1]: has no title, found Title; did you mean title?"),
    ([{" title ": "Alien"}], "history[0]: has no title, found ' title '; did you mean title?"),
    ([{"titel": "Alien"}], "history[0]: has no title, found titel; did you mean title?"),
    ([{"titles": ["Alien"]}], "history[0]: has no title, found titles; did you mean title?"),
    ([{"name": "Alien"}], "history[0]: has no title, found name; did you mean title?"),
    ([{"movie_title": "Alien"}], "history[0]: has no title, found movie_title; did you mean title?"),
    ([{"year": 1979}], 'history[0]: has no title; give every movie a "title"'),
    ([{"title": " \t"}], "history[0]: has no title, found ' \\t'; give every movie a \"title\""),
    ([{"title": None, "name": "Alien"}], "has no title, found name; did you mean title?"),
    ({"History": [{"title": "Heat"}]}, ": has no history, found History; did you mean history?"),
    ({"behaviors": [{"title": "Heat"}]}, ": has no history, found behaviors; did you mean history?"),
    ({"history": [{"title": "Heat"}], "User": {}}, ": unknown key User; did you mean user?"),
    (
        [{"title": "Heat", "timestamp": 3}, {"title": "Alien", "date": 4}],
        "history[1]: has no timestamp, found date, but 1 of 2 behaviors have one; did you mean timestamp?",
    ),
]


@pytest.mark.parametrize(("value", "said"), MISSING)
def test_what_is_missing_is_found_by_another_name(tmp_path: Path, value: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_history(write(tmp_path, value), MOVIES)
    assert str(caught.value).endswith(said) and str(caught.value).startswith(str(tmp_path))


def test_a_long_value_is_shown_by_its_beginning(tmp_path: Path) -> None:
    for value in ("5" * 500, ["x"] * 500, {"x" * 500: 1}):
        with pytest.raises(InputError) as caught:
            read_history(write(tmp_path, [{"title": "Heat", "rating": value}]), MOVIES)
        shown = str(caught.value).partition("('")[2].partition("')")[0]
        assert len(shown) == 60 and shown.endswith("…")


def test_what_was_warned_of_is_not_told_again_as_unshown() -> None:
    items = [Item({"title": "x", "genre": "y", "poster": "z"}), Item({"title": "x", "genres": [], "genre": "y"})]
    assert unshown_fields(items, MOVIES, long=False) == ["poster"]
    both = [Item({"title": "x", "genres": ["y"], "genre": "y"})]
    assert unshown_fields(both, MOVIES, long=False) == ["genre"]


names = st.sampled_from([*KNOWN, "Title", "genre", "date", "x"]) | st.text(max_size=6)


@given(records=st.lists(st.dictionaries(names, st.none() | st.integers(), max_size=5), max_size=4))
def test_what_is_found_is_there_and_what_was_meant_is_not(records: list[dict[str, Any]]) -> None:
    for field in unread_fields([(str(i), record) for i, record in enumerate(records)], KNOWN):
        first = records[int(str(field.place))]
        assert field.name in first and first.get(field.meant) is None
        assert field.name not in KNOWN and field.meant in KNOWN and 1 <= field.count <= len(records)


def test_a_program_is_warned_of_its_mappings_and_not_of_records(
    roomy_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as model:
        caplog.clear()
        model.score([{"title": "Heat", "genre": "x"}], {"title": "Alien", "Year": 3}, user={"Age": 3})
        said = [
            "history[0]: genre is not read; did you mean genres?",
            "item[0]: Year is not read; did you mean year?",
            "user: Age is not read; did you mean age?",
        ]
        assert [record.getMessage() for record in caplog.records] == said
        caplog.clear()
        model.choose([{"title": "Heat", "genre": "x"}], [{"title": "Alien"}, {"title": "Aliens"}])
        assert [record.getMessage() for record in caplog.records] == said[:1]
        caplog.clear()
        model.score([Behavior(Item({"title": "Heat", "genre": "x"}))], Item({"title": "Alien", "Year": 3}))
        assert not caplog.records


def test_a_worker_warns_in_the_same_words_with_the_line(roomy_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = {"history": [{"title": "Heat", "date": 3}], "item": {"title": "Alien", "genre": "x"}, "user": {"Age": 3}}
    two = {"history": [{"title": "Heat"}], "items": [{"title": "Alien"}, {"title": "Aliens", "Year": 3}]}
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as model:
        results = list(work(Service(model, MOVIES), [json.dumps(each).encode() for each in (one, two)]))
    assert ["score" in results[0], "scores" in results[1]] == [True, True]
    said = [record.getMessage() for record in caplog.records if "is not read" in record.getMessage()]
    assert said == [
        "line 1, history[0]: date is not read; timestamp is",
        "line 1, item: genre is not read; did you mean genres?",
        "line 1, user: Age is not read; did you mean age?",
        "line 2, items[1]: Year is not read; did you mean year?",
    ]


def test_the_command_line_warns_before_it_scores(rella: Run, roomy_model: Path, tmp_path: Path) -> None:
    history = write(tmp_path, [{"title": "Heat", "genre": "x", "poster": "y"}])
    item = write(tmp_path, {"title": "Alien", "Year": 3}, "i.json")
    result = rella("score", "--history", history, "--item", item, "--model", roomy_model)
    assert result.code == 0
    assert result.err.splitlines()[:2] == [
        f"rella: WARNING: {history}, history[0]: genre is not read; did you mean genres?",
        f"rella: WARNING: {item}: Year is not read; did you mean year?",
    ]
    assert "the domain movies does not show poster;" in result.err


def test_an_index_and_a_summary_warn_of_their_files(rella: Run, roomy_model: Path, tmp_path: Path) -> None:
    catalog = write(tmp_path, [{"title": f"Film {i}", "genre": "x"} for i in range(3)], "c.json")
    built = rella("index", "build", catalog, "-o", tmp_path / "index", "--model", roomy_model)
    assert f"{catalog}, item[0] and 2 more: genre is not read; did you mean genres?" in built.err and built.code == 0
    history = write(tmp_path, [{"title": "Heat", "genre": "x"}])
    refused = rella("summarize", "--history", history, "--model", tmp_path / "none.gguf")
    assert f"{history}, history[0]: genre is not read" in refused.err and refused.code == 2
    assert (
        rella("recommend", "--history", history, "--index", tmp_path / "index", "--model", roomy_model).err.count(
            f"{history}, history[0]: genre is not read"
        )
        == 1
    )
