import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp.domains.values import describe, quoted

ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)
DEEP: list[object] = []
for _ in range(100_000):
    DEEP = [DEEP]


SHOWN: list[tuple[object, str]] = [
    (None, "null"),
    (True, "true/false ('true')"),
    (3, "a number ('3')"),
    (2.5, "a number ('2.5')"),
    (float("nan"), "a number ('NaN')"),
    ("3", "text ('3')"),
    ("it's", 'text ("it\'s")'),
    ("a\nb", r"text ('a\nb')"),
    ([1, "a"], """a list ('[1, "a"]')"""),
    ({"a": None}, """an object ('{"a": null}')"""),
    ((1, 2), "tuple ('[1, 2]')"),
    ({3}, """set ('"{3}"')"""),
    (10**5000, "a number ('<int>')"),
    (ENDLESS, "a list ('<list>')"),
    (DEEP, "a list ('<list>')"),
]


@pytest.mark.parametrize(("value", "said"), SHOWN, ids=[said for _, said in SHOWN])
def test_a_value_is_named_by_its_type_and_shown_in_quotes(value: object, said: str) -> None:
    assert describe(value) == said


def test_sixty_characters_are_shown() -> None:
    assert quoted("x" * 60) == f"'{'x' * 60}'" and quoted("x" * 61) == f"'{'x' * 59}…'"
    assert quoted([1] * 20) == f"'{[1] * 20}'" and quoted([1] * 21) == f"'{str([1] * 21)[:59]}…'"


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=20))
def test_whatever_json_holds_is_shown_by_its_beginning(value: object) -> None:
    shown = quoted(value)
    assert shown[0] == shown[-1] and shown[0] in "'\""
    if not isinstance(value, str):
        assert json.dumps(value, ensure_ascii=False).startswith(shown[1:-1].removesuffix("…"))
