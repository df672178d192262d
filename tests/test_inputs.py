import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import Behavior, InputError, Item, load_domain, read_history, read_items, read_user
from rella_cpp.domains.inputs import take_history, take_items

MOVIES = load_domain("movies")
HEAT, ALIEN = {"title": "Heat", "rating": 5}, {"title": "Alien", "year": 1979}


def write(folder: Path, text: str, name: str = "h.json") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([HEAT, ALIEN]),
        json.dumps([HEAT, ALIEN], indent=2),
        json.dumps({"history": [HEAT, ALIEN]}),
        f"{json.dumps(HEAT)}\n{json.dumps(ALIEN)}",
        f"{json.dumps(HEAT)}\r\n\r\n{json.dumps(ALIEN)}\r\n",
        "\ufeff" + json.dumps([HEAT, ALIEN]),
    ],
)
def test_a_history_is_json_or_json_lines(tmp_path: Path, text: str) -> None:
    history = read_history(write(tmp_path, text), MOVIES)
    assert [behavior.item.fields for behavior in history.behaviors] == [{"title": "Heat"}, ALIEN]
    assert [behavior.rating for behavior in history.behaviors] == [5, None]
    assert history.user is None


def test_a_history_may_name_its_user_and_one_behavior_is_a_history(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, json.dumps({"user": {"age": 30}, "history": [HEAT]})), MOVIES)
    assert history.user is not None and history.user.fields == {"age": 30}
    assert len(read_history(write(tmp_path, json.dumps(HEAT)), MOVIES).behaviors) == 1


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(ALIEN).encode())))
    assert read_items("-", MOVIES) == (Item(ALIEN),)


def test_items_are_one_or_several(tmp_path: Path) -> None:
    assert read_items(write(tmp_path, json.dumps(ALIEN)), MOVIES) == (Item(ALIEN),)
    assert read_items(write(tmp_path, json.dumps([ALIEN, HEAT])), MOVIES) == (Item(ALIEN), Item(HEAT))


BAD_HISTORIES = [
    ("", "is empty"),
    ("   \n", "is empty"),
    ("{", "line 1, column 2: is not JSON"),
    ('[\n {"title": "Heat"}\n {"title": "Alien"}\n]', "line 3, column 2: is not JSON (Expecting ',' delimiter) at '{"),
    ('[{"title": "Heat"}', "line 1, column 19: is not JSON (Expecting ',' delimiter) at its end; mend it there"),
    ('{"title": "Heat"}\n{"title": \n', "line 2, column 11: is not JSON"),
    ('{"title": "Heat"}\n{"title": 3}', "line 2: field title is a number ('3')"),
    ('[{"title": "Heat"}, {"name": "Alien"}]', "history[1]: has no title"),
    ('{"history": [{"title": "Heat"}, 7]}', "history[1]: a behavior is an object, found a number ('7')"),
    ('[{"title": "Heat", "rating": 6}]', "history[0]: rating is '6'; the domain movies rates from 0.5 to 5 stars"),
    ('[{"title": "Heat", "rating": "five"}]', "history[0]: rating is text ('five'), not a number"),
    ('[{"title": "Heat", "rating": true}]', "history[0]: rating is true/false"),
    (
        '[{"title": "Heat", "average": 7.9}]',
        "history[0]: average is '7.9'; the domain movies rates from 0.5 to 5 stars",
    ),
    ('[{"title": "Heat", "average": "high"}]', "history[0]: average is text ('high'), not a number; give the item's"),
    ('[{"title": "Heat", "average": true}]', "history[0]: average is true/false"),
    ('{"title": "Heat"}\n{"title": "Alien", "average": [4]}', "line 2: average is a list"),
    ('[{"title": "Heat", "rating": Infinity}]', "holds Infinity"),
    ('[{"title": "Heat", "rating": 1e999}]', "holds 1e999, which is no number"),
    (f'[{{"title": "Heat", "rating": {"9" * 400}}}]', "history[0]: rating is a number ('999"),
    (f'[{{"title": "Heat", "rating": {"9" * 5000}}}]', "is not JSON that can be read"),
    ("[" * 100_000, "is not JSON that can be read"),
    ('[{"title": "Heat", "timestamp": "yesterday"}]', "history[0]: timestamp is text ('yesterday'), not a time"),
    ('[{"title": "Heat", "timestamp": 5}, {"title": "Alien"}]', "history[1]: has no timestamp, but 1 of 2"),
    ("[]", "the history is empty"),
    ('{"history": []}', "the history is empty"),
    ('{"history": {}}', "history is an object"),
    ('{"history": [], "users": {}}', "unknown key users"),
    ('{"user": 3, "history": [{"title": "Heat"}]}', "user: a user is an object"),
    ('{"user": {"age": [1]}, "history": [{"title": "Heat"}]}', "user: field age is a list"),
    ('"Heat"', "a behavior is an object, found text"),
    ("null", "a behavior is an object, found null"),
]


@pytest.mark.parametrize(("text", "said"), BAD_HISTORIES)
def test_a_history_that_is_wrong_is_refused_with_file_place_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_history(path, MOVIES)
    message = str(caught.value)
    assert message.startswith(str(path)) and said in message and "; " in message
    assert len(message.splitlines()) == 1 and len(message) < 400


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_history(tmp_path / "none.json", MOVIES)
    with pytest.raises(InputError, match="is a folder"):
        read_history(tmp_path, MOVIES)
    (tmp_path / "latin.json").write_bytes('[{"title":\n"Am\xe9lie"}]'.encode("latin-1"))
    with pytest.raises(InputError, match="line 2: is not UTF-8"):
        read_history(tmp_path / "latin.json", MOVIES)


def test_an_empty_history_is_read_where_it_is_allowed(tmp_path: Path) -> None:
    assert read_history(write(tmp_path, "[]"), MOVIES, allow_empty=True).behaviors == ()


def test_items_and_users_that_are_wrong_are_refused(tmp_path: Path) -> None:
    for text, said in (("[]", "there is no item"), ("[3]", "item[0]: an item is an object"), ("{}", "has no title")):
        with pytest.raises(InputError, match=said.replace("[", r"\[")):
            read_items(write(tmp_path, text), MOVIES)
    for text, said in (
        ("[1, 2]", "a user is an object"),
        ('{"age": {}}', "field age is an object"),
        ("1\n2", "2 values"),
    ):
        with pytest.raises(InputError, match=said):
            read_user(write(tmp_path, text), MOVIES)


def test_timestamps_put_behaviors_in_order_and_places_stay_those_of_the_input() -> None:
    values: list[dict[str, object]] = [
        {"title": "c", "timestamp": "2024-01-03"},
        {"title": "a", "timestamp": 0},
        {"title": "b", "timestamp": "2024-01-01T00:00:00+02:00"},
    ]
    taken = take_history(values, MOVIES)
    assert [(place, behavior.item.fields["title"]) for place, behavior in taken] == [(1, "a"), (2, "b"), (0, "c")]
    equal = take_history([{"title": t, "timestamp": 7} for t in "xyz"], MOVIES)
    assert [place for place, _ in equal] == [0, 1, 2]


def test_a_file_is_read_in_its_own_order(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps([{"title": title, "timestamp": time} for title, time in (("b", 2), ("a", 1))]))
    assert [behavior.item.fields["title"] for behavior in read_history(path, MOVIES).behaviors] == ["b", "a"]


def test_library_arguments_of_the_wrong_kind_are_refused() -> None:
    wrong: Any = "Heat"
    with pytest.raises(InputError, match="history is text"):
        take_history(wrong, MOVIES)
    with pytest.raises(InputError, match="item is an object"):
        take_items({"title": "Heat"}, MOVIES)  # type: ignore[arg-type]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["title", "rating", "timestamp", "genres", "history", "user", "x"]), inner)
    ),
    max_leaves=8,
)


@given(value=json_values)
def test_any_json_is_either_read_or_refused_in_one_line(
    value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    try:
        history = read_history(path, MOVIES)
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and str(path) in str(error)
    else:
        assert history.behaviors


WRONG_AVERAGES = [
    (0.49, "average is '0.49'; the domain movies rates from 0.5 to 5 stars; bring it to that scale, or leave it out"),
    ("5.1", "average is '5.1'"),
    (-1, "average is '-1'"),
    ("four", "average is text ('four'), not a number; give the item's mean rating, or leave it out"),
    (False, "average is true/false ('false'), not a number"),
    ({}, "average is an object ('{}'), not a number"),
    (10**400, "average is a number ('1000"),
    (float("inf"), "average is a number ('Infinity'), not a number"),
]


@pytest.mark.parametrize(("average", "said"), WRONG_AVERAGES)
def test_an_average_that_is_none_is_refused_where_it_stands(tmp_path: Path, average: object, said: str) -> None:
    wrong = {"title": "Heat", "average": average}
    with pytest.raises(InputError) as caught:
        take_items([ALIEN, wrong], MOVIES)
    assert f"item[1]: {said}" in str(caught.value) and "; " in str(caught.value)
    with pytest.raises(InputError) as caught:
        take_history([ALIEN, {**wrong, "rating": 4}], MOVIES)
    assert f"history[1]: {said}" in str(caught.value)
    with pytest.raises(InputError) as caught:
        take_history([Behavior(Item(ALIEN), 4, average=average)], MOVIES)  # type: ignore[arg-type]
    assert f"history[0]: {said.split(';')[0]}" in str(caught.value)
    if average != float("inf"):  # which JSON does not have
        path = write(tmp_path, json.dumps([ALIEN, wrong]))
        with pytest.raises(InputError) as caught:
            read_items(path, MOVIES)
        assert str(caught.value).startswith(f"{path}, item[1]: {said}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("average", "taken"),
    [(4, 4), (0.5, 0.5), (5, 5), ("4.0", 4), (" 3.25 ", 3.25), (None, None), (float("nan"), None), ("", None)],
)
def test_an_average_is_a_number_also_as_text_or_absent(average: object, taken: float | None) -> None:
    (item,) = take_items([{**ALIEN, "average": average}], MOVIES)
    ((_, behavior),) = take_history([{**ALIEN, "rating": 4, "average": average}], MOVIES)
    assert MOVIES.average_of(item) == MOVIES.average_of(behavior) == taken
    own = Behavior(item, 4, average=2)
    assert MOVIES.average_of(own) == 2  # as it was known then, whatever the item says now


@pytest.mark.parametrize("average", [7.9, "high", True, [1]])
def test_an_average_is_any_field_where_no_stream_shows_it(average: object) -> None:
    stream = MOVIES.stream_words()
    silent = replace(MOVIES, stream=replace(stream, fields=("title", "year")))
    for domain in (load_domain("news"), replace(MOVIES, stream=None), silent):
        (item,) = take_items([{**ALIEN, "average": average}], domain)
        assert item.fields["average"] == average and domain.average_of(item) is None
        assert len(take_history([{**ALIEN, "average": average}], domain)) == 1
