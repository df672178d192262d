"""Items found by name, however people write them."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp.domains.finder import Finder, FoundNames, Sought

NAMES = [
    "The Matrix (1999)",
    "Heat (1995)",
    "Heat (1986)",
    "Il Postino (The Postman) (1994)",
    "The Fear (1995)",
    "Fear (1995)",
    "Amélie (2001)",
    "Ocean's Eleven (2001)",
    "Romeo & Juliet (1968)",
    "The City of Lost Children (La Cité des enfants perdus) (1995)",
    "Seven (a.k.a. Se7en) (1995)",
    "The The",
    "2001: A Space Odyssey (1968)",
    "The Postman (1997)",
    "The Thing (1982)",
    "The Thing (1983)",
    "Die Hard (1988)",
    "L.A. Confidential (1997)",
    "Plan A (2021)",
    "Che (Part 1) (2008)",
    "Che (Part 2) (2008)",
    "Alien (1979)",
    "C++ (2013)",
    "The Wire (2002)",
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the matrix (1999)", 0),
        ("Matrix, The (1999)", 0),
        ("MATRIX", 0),
        ("The Matrix (2000)", 0),  # off by one, and no other
        ("The Matrix (2001)", None),
        ("Heat", None),  # of which year?
        ("Heat (1995)", 1),
        ("Heat (1994)", 1),
        ("The Postman (1994)", 3),
        ("The Postman (1997)", 13),
        ("postman (1997)", 13),
        ("Postino, Il (1994)", 3),
        ("The Postman (1996)", 13),
        ("Fear (1995)", 5),
        ("The Fear (1995)", 4),
        ("Amelie", 6),
        ("oceans eleven 2001", None),
        ("Oceans Eleven (2001)", 7),
        ("Romeo and Juliet (1968)", 8),
        ("la cite des enfants perdus (1995)", 9),
        ("Se7en (1995)", 10),
        ("The The", 11),
        ("2001 - a space odyssey", 12),
        ("The Thing (1984)", 15),
        ("The Thing", None),
        ("Unheard of (1999)", None),
        ("Hard (1988)", None),  # Die Hard
        ("Die Hard (1989)", 16),
        ("Confidential (1996)", None),  # L.A. Confidential
        ("LA Confidential (1997)", 17),
        ("A Plan (2022)", None),  # Plan A (2021)
        ("Fear, The (1996)", 4),
        ("Fear (1994)", 5),
        ("Fear (1996)", 5),
        ("matrix the", 0),
        ("The Matrix, (1999)", 0),
        ("Che (2008)", None),  # which part?
        ("Che (Part 2) (2008)", 20),
        ("Che (Part 3) (2008)", None),
        ("Baz (Part 1) (2008)", None),
        ("Alien (Director's Cut) (1979)", 21),
        ("C# (2013)", None),
        ("The Wire (2002-2008)", 23),
        ("The Wire (2003–)", 23),
        ("The Wire (2010–)", None),
        ("", None),
        ("(1999)", None),
    ],
)
def test_what_people_write_is_found_or_refused_and_never_another(text: str, found: int | None) -> None:
    assert Finder(NAMES).find(text) == found


def test_what_a_name_may_mean_can_be_told() -> None:
    finder = Finder(NAMES)
    assert finder.meant("Heat") == [1, 2] and finder.meant("The Thing") == [14, 15] and finder.meant("None") == []


def test_how_many_were_found_is_told_first_and_later_where_some_were_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rella_cpp")
    finder, names = Finder(NAMES), FoundNames("films")

    def told(*asked: str) -> list[str]:
        caplog.clear()
        names.tell([Sought(name, [NAMES[row] for row in finder.meant(name)]) for name in asked])
        return caplog.messages

    assert told() == []
    assert told("Heat (1995)", "Heat (1995)", "The The") == ["films: found by title and year: 2 of 2 items"]
    assert told("Heat (1995)") == []
    assert told("Heat", "Unheard of") == [
        "films: found by title and year: 0 of 2 items; not there: 1 (the first: Unheard of); "
        "not taken, since it may be several: 1 (the first: Heat, which may be Heat (1995) or Heat (1986))"
    ]


@given(st.lists(st.text(max_size=30), max_size=8), st.text(max_size=30))
def test_any_text_may_be_asked_for(names: list[str], text: str) -> None:
    finder = Finder(names)
    row = finder.find(text)
    assert row is None or finder.meant(text) == [row]
