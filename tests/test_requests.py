import json
from dataclasses import replace
from typing import Any

import pytest

from rella_cpp import Behavior, InputError, Item, Selection, User, load_domain
from rella_cpp.serving.requests import LONGEST_LINE, parse_line, placed_in_request, take_request

MOVIES = load_domain("movies")
HEAT: dict[str, Any] = {"title": "Heat", "rating": 5}
GOOD: dict[str, Any] = {"history": [HEAT], "item": {"title": "Alien"}}
MANY: dict[str, Any] = {"history": [HEAT], "items": [{"title": "Alien"}, {"title": "Aliens"}]}


def test_a_request_is_taken_as_it_stands() -> None:
    history = [{"title": "b", "timestamp": 2}, {"title": "a", "timestamp": 1}]
    request = take_request({**MANY, "id": {"n": [1]}, "user": {"age": 30}, "history": history}, MOVIES, Selection(k=7))
    assert (
        request.id == {"n": [1]}
        and User.of(request.query.user).fields == {"age": 30}
        and request.query.selection == Selection(k=7)
    )
    # In input order, though timestamps say otherwise: `used` in a score counts places of the input.
    assert [Behavior.of(behavior).item.fields["title"] for behavior in request.query.history] == ["b", "a"]
    assert request.query.items == (Item({"title": "Alien"}), Item({"title": "Aliens"})) and not request.one
    assert take_request(GOOD, MOVIES, Selection()).one


def test_its_own_settings_take_the_place_of_the_workers() -> None:
    defaults = Selection(9, "recent", "reversed", False)
    assert take_request({**GOOD, "k": 2}, MOVIES, defaults).query.selection == replace(defaults, k=2)
    own = {"k": 3, "retrieval": "subr", "order": "similarity", "allow_empty_history": True}
    request = take_request({**GOOD, **own, "history": []}, MOVIES, defaults)
    assert request.query.selection == Selection(3, "subr", "similarity", True) and request.query.history == ()


def test_a_key_that_is_null_is_left_out() -> None:
    nothing = dict.fromkeys(("id", "user", "items", "k", "retrieval", "order", "allow_empty_history"))
    assert take_request({**GOOD, **nothing}, MOVIES, Selection()) == take_request(GOOD, MOVIES, Selection())


BAD_REQUESTS: list[tuple[object, str | None, str]] = [
    ([GOOD], None, "a request is an object, found a list"),
    (None, None, "a request is an object, found null"),
    ({**GOOD, "histroy": []}, None, "unknown key histroy; did you mean history?"),
    ({**GOOD, "K": 3}, None, "unknown key K; did you mean k?"),
    ({**GOOD, " History": 3}, None, "unknown key ' History'; did you mean history?"),
    ({"behaviors": [HEAT], "item": {"title": "x"}}, None, "unknown key behaviors; did you mean history?"),
    ({"history": [HEAT], "Items": []}, None, "unknown key Items; did you mean items?"),
    ({**GOOD, "history": [{"Title": "x"}]}, "history[0]", "history[0]: has no title, found Title; did you mean title?"),
    ({**GOOD, "xyz": 3}, None, "unknown key xyz; known keys: id, user"),
    ({"item": {"title": "x"}}, None, 'has no history; give {"history"'),
    ({"history": [HEAT]}, None, "has no item; give item or items"),
    ({**GOOD, **MANY}, None, "has both item and items"),
    ({**GOOD, "history": []}, None, "the history is empty"),
    ({**GOOD, "history": HEAT}, None, "history is an object"),
    ({**GOOD, "history": [HEAT, {"rating": 3}]}, "history[1]", "history[1]: has no title"),
    ({**GOOD, "history": [{**HEAT, "rating": 11}]}, "history[0]", "history[0]: rating is '11'"),
    ({**GOOD, "history": [HEAT, {**HEAT, "timestamp": 1}]}, "history[0]", "has no timestamp"),
    ({**GOOD, "item": {}}, "item", "item: has no title"),
    ({**GOOD, "item": [{"title": "x"}]}, "item", "item: an item is an object"),
    ({**MANY, "items": []}, None, "there is no item"),
    ({**MANY, "items": {"title": "x"}}, "items", "items: is an object"),
    ({**MANY, "items": [{"title": "x"}, {"title": 3}]}, "items[1]", "items[1]: field title is a number ('3')"),
    ({**GOOD, "user": 3}, "user", "user: a user is an object"),
    ({**GOOD, "user": {"age": []}}, "user", "user: field age is a list"),
    ({**GOOD, "k": 0}, "k", "k: K is '0'; give a whole number"),
    ({**GOOD, "k": True}, "k", "k is true/false ('true'); give a whole number"),
    ({**GOOD, "k": 2.0}, "k", "K is '2.0'; give a whole number"),
    ({**GOOD, "k": [1]}, "k", "K is '[1]'; give a whole number"),
    ({**GOOD, "retrieval": "best"}, "retrieval", "retrieval is 'best'; one of subr, recent"),
    ({**GOOD, "retrieval": {}}, "retrieval", "retrieval is '{}'; one of"),
    ({**GOOD, "order": False}, "order", "order is true/false ('false'); give text"),
    ({**GOOD, "allow_empty_history": 1}, "allow_empty_history", "is a number ('1'); give true or false"),
]


@pytest.mark.parametrize(("value", "place", "said"), BAD_REQUESTS)
def test_a_bad_request_is_refused_and_its_place_named(value: object, place: str | None, said: str) -> None:
    with pytest.raises(InputError) as caught:
        take_request(value, MOVIES, Selection())
    assert said in str(caught.value) and caught.value.place == place


def test_an_error_with_an_items_place_keeps_its_kind_and_all_else_its_place() -> None:
    class Special(InputError):
        pass

    for one, place, expected in ((True, "item[0]", "item"), (False, "item[4]", "items[4]"), (True, "k", "k")):
        with pytest.raises(Special) as caught, placed_in_request(one):
            raise Special("is bad", source="a file", place=place, remedy="mend it")
        assert str(caught.value) == f"a file, {expected}: is bad; mend it"


BAD_LINES = [
    (b"x", "column 1: is not JSON (Expecting value)"),
    (b'{"a": 1} {}', "column 10: is not JSON (Extra data)"),
    (b'{"a": "\xff"}', "byte 8: is not UTF-8"),
    ('{"a": 1}'.encode("utf-16"), "byte 1: is not UTF-8"),
    (b"\xef\xbb\xbf{}", "is not JSON (Unexpected UTF-8 BOM"),
    (b'{"a": -Infinity}', "holds -Infinity"),
    (b"[-Infinity]", "holds -Infinity"),
    (b"[1e999]", "holds 1e999"),
    (b"9" * 5000, "is not JSON that can be read"),
    (b"[" * 100_000, "maximum recursion depth"),
    (b"[" * 65 + b"]" * 65, "nested more than 64 levels deep"),
]


@pytest.mark.parametrize(("line", "said"), BAD_LINES, ids=[said for _, said in BAD_LINES])
def test_a_line_that_is_no_usable_json_is_refused(line: bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_line(line)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_line_beyond_the_limit_is_not_even_parsed() -> None:
    with pytest.raises(InputError, match="^has more than 64 MiB; send a shorter history, or fewer items$"):
        parse_line(bytes(LONGEST_LINE + 1))  # zeros, which are no JSON: the length is what it is refused for


def test_what_is_parsed_can_be_written_again() -> None:
    # The deepest and the longest that are let in: an id comes back in the result.
    for line in (b"[" * 64 + b"]" * 64, b"-" + b"9" * 4300, b'"\\ud800"', b'{"a": {"b": null}}\r'):
        assert json.loads(json.dumps({"id": {"id": parse_line(line)}})) == {"id": {"id": json.loads(line)}}
