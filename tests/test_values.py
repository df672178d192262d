import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import Behavior, InputError, Item, User, load_domain
from rella_cpp.domains.inputs import parse_json, take_history, take_items
from rella_cpp.domains.values import (
    as_whole,
    id_text,
    is_absent,
    is_missing,
    plain,
    quoted,
    read_number,
    read_time,
    same_id,
    settled_ids,
    unit_of,
)

MOVIES = load_domain("movies")
NAN = float("nan")
MOMENT = 1_600_004_122


@pytest.mark.parametrize("value", [None, NAN, np.float32("nan"), np.float64("nan"), pd.NA, pd.NaT])
def test_what_is_missing_is_no_value_anywhere(value: object) -> None:
    assert is_missing(value) and is_absent(value) and plain(value) is None
    assert id_text(value) is None and read_number(value) is None and read_time(value) is None


@pytest.mark.parametrize("word", ["", "  ", "nan", "NaN", "None", "null", "NA", "<NA>", "NaT", "\\N"])
def test_words_are_no_value_where_a_number_is_meant_and_texts_elsewhere(word: str) -> None:
    assert is_absent(word) and not is_missing(word)
    assert read_number(word) is None and read_time(word) is None
    assert id_text(word) == (word.strip() or None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((128.0, "128"), (128, "128"), (1e5, "100000"), (2**53 + 1, "9007199254740993"), (-0.0, "0")),
        *((1.5, "1.5"), (np.int64(7), "7"), (np.float64(7), "7"), (True, "True"), (" tt1 ", "tt1")),
        *(("128.0", "128.0"), ("007", "007"), ("1e5", "1e5"), ("080442957X", "080442957X"), (10**30, str(10**30))),
    ],
)
def test_an_id_is_a_text_and_a_whole_float_the_integers(value: object, text: str) -> None:
    assert id_text(value) == text


def test_a_catalogs_ids_are_numbers_where_a_table_wrote_all_of_them_so() -> None:
    assert settled_ids([1.0, "2.0", None, NAN, 3]) == ["1", "2", None, None, "3"]
    assert settled_ids(["1.0", "2.0a"]) == ["1.0", "2.0a"]
    assert settled_ids(["1.0", "007"]) == ["1.0", "007"]
    assert same_id("128.0", "128") and same_id("a", "a") and not same_id("128.0", "129") and as_whole("1.50") == "1.50"


@pytest.mark.parametrize(
    ("value", "number"),
    [("4.5", 4.5), (" 4 ", 4), ("+3", 3), (".5", 0.5), ("1e2", 100), (3, 3), (np.float32(0.5), 0.5), (np.int8(4), 4)],
)
def test_numbers_may_come_as_text(value: object, number: float) -> None:
    assert read_number(value) == number


@pytest.mark.parametrize("value", [True, "four", "4,5", "1_000", "٣", [], {}, math.inf, "inf", "1e999", 10**400, "0x1"])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="n"):
        read_number(value)


@pytest.mark.parametrize(
    "value",
    [
        *(
            MOMENT,
            float(MOMENT),
            MOMENT * 1000,
            MOMENT * 10**6,
            MOMENT * 10**9,
            float(MOMENT) * 1e9,
            str(MOMENT * 1000),
        ),
        *("2020-09-13T13:35:22", "2020-09-13 13:35:22+00:00", "2020-09-13T15:35:22+02:00", " 2020-09-13T13:35:22Z "),
        *(datetime(2020, 9, 13, 13, 35, 22), datetime(2020, 9, 13, 13, 35, 22, tzinfo=UTC)),  # noqa: DTZ001
        *(pd.Timestamp(MOMENT, unit="s"), np.int64(MOMENT * 10**9)),
    ],
)
def test_one_moment_in_every_form_is_the_same_seconds(value: object) -> None:
    assert read_time(value) == MOMENT


def test_dates_are_midnight_and_eight_digits_that_are_one_are_refused() -> None:
    assert read_time(date(2020, 9, 13)) == read_time("2020-09-13") == 1_599_955_200
    assert read_time(20209999) == read_time("20209999") == 20_209_999
    for value in (20200913, "20200913", 20200913.0):
        with pytest.raises(ValueError, match="a date"):
            read_time(value)


@pytest.mark.parametrize(
    "value", ["09/13/2020 13:35", "Sun Sep 13 13:35:22 -0700 2020", "soon", 1e20, 10**400, True, []]
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises((ValueError, OverflowError)):
        read_time(value)
    if not isinstance(value, list):
        with pytest.raises(InputError) as caught:
            Behavior.of({"title": "Heat", "timestamp": value})
        assert quoted(value)[:20] in str(caught.value)
        assert "give Unix seconds (also ms, µs, ns) or ISO 8601" in str(caught.value)


@given(seconds=st.integers(10**8, 10**11 - 1), power=st.sampled_from([0, 3, 6, 9]))
def test_the_size_tells_the_unit(seconds: int, power: int) -> None:
    # From March 1973 on, no time in one unit is as large as one in the next.
    assert read_time(seconds * 10**power) == seconds
    unit = unit_of(seconds * 10**power)
    assert unit is not None and unit.a_second == 10**power


@given(value=st.integers() | st.floats() | st.text() | st.none() | st.booleans() | st.decimals())
def test_a_time_that_was_read_is_read_as_itself_again(value: object) -> None:
    try:
        found = read_time(value)
    except (ValueError, OverflowError):
        return
    assert found is None or (math.isfinite(found) and read_time(found) == found)


def test_long_values_are_cut_in_messages() -> None:
    assert quoted("a") == "'a'" and len(quoted("x" * 1000)) == 62 and quoted("x" * 1000).endswith("…'")


def test_records_take_what_tables_hold() -> None:
    table = pd.DataFrame(
        {
            "id": [128.0, NAN],
            "title": ["Heat", "nan"],
            "year": [1995.0, NAN],
            "rating": ["4.5", None],
            "timestamp": 1e12,
        }
    )
    first, second = (Behavior.of(row) for row in table.to_dict("records"))
    assert first == Behavior(Item({"id": 128.0, "title": "Heat", "year": 1995.0}), 4.5, 1e9)
    assert second == Behavior(Item({"id": None, "title": "nan", "year": None}), None, 1e9)
    assert MOVIES.show_item(first.item) == "Heat (1995)" and MOVIES.show_item(second.item) == "nan"
    assert Behavior.of(Behavior(Item({"title": "x", "year": NAN}), NAN, NAN)) == Behavior(
        Item({"title": "x", "year": None})
    )
    assert User.of({"age": NAN, "occupation": "None"}).fields == {"age": None, "occupation": "None"}
    kept = Item({"title": "x"})
    assert Item.of(kept) is kept


def test_numpys_numbers_and_arrays_are_read_as_pythons() -> None:
    fields: dict[str, Any] = {"title": "Heat", "year": np.int64(1995), "genres": np.array(["Crime", "Drama"])}
    assert MOVIES.show_item(Item.of(fields)) == "Heat (1995), Crime, Drama"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"year": 1991.0}, "Heat (1991)"),
        ({"year": "1991.0"}, "Heat (1991)"),
        ({"year": "c. 1990"}, "Heat (c. 1990)"),
        ({"year": "1991.05"}, "Heat (1991.05)"),
        ({"year": NAN, "genres": [NAN, "Drama", None]}, "Heat, Drama"),
        ({"year": "nan", "genres": "nan"}, "Heat, nan"),
        ({"year": " ", "genres": ["1.0", "None"]}, "Heat, 1.0, None"),
    ],
)
def test_a_value_is_whole_and_a_list_as_it_is(fields: dict[str, object], shown: str) -> None:
    assert MOVIES.show_item(Item.of({"title": "Heat", **fields})) == shown


@pytest.mark.parametrize("title", ["nan", "None", "300.0", "007", "1e5", "null"])
def test_titles_are_never_touched(title: str) -> None:
    assert MOVIES.show_item(Item.of({"title": title})) == title


def test_a_title_that_is_missing_is_none() -> None:
    with pytest.raises(InputError, match="has no title"):
        take_items([{"title": NAN}], MOVIES)


def test_items_are_the_same_whichever_table_wrote_the_id() -> None:
    one, other = (
        MOVIES.identity(Item({"id": 128.0, "title": "Heat"})),
        MOVIES.identity(Item({"id": "128", "title": "h"})),
    )
    assert one.same(other) and one.same(MOVIES.identity(Item({"id": "128.0", "title": "x"})))
    assert not one.same(MOVIES.identity(Item({"id": 129, "title": "Heat"})))
    # Without an id on one side, what is shown decides.
    assert one.same(MOVIES.identity(Item({"id": NAN, "title": "Heat"})))


def test_nan_in_json_is_null_and_infinities_are_refused() -> None:
    assert parse_json('{"a": NaN, "b": [NaN, 1.5]}') == {"a": None, "b": [None, 1.5]}
    for text in ("Infinity", "-Infinity", "1e999"):
        with pytest.raises(InputError, match="no number that can be used"):
            parse_json(f"[{text}]")


def test_a_history_in_several_units_is_refused_and_in_any_one_is_read() -> None:
    def history(*times: object) -> list[float | None]:
        taken = take_history([{"title": "x", "timestamp": time} for time in times], MOVIES)
        return [behavior.timestamp for _, behavior in taken]

    assert history(MOMENT * 1000 + 500, MOMENT * 1000, 0) == [0, MOMENT, MOMENT + 0.5]
    assert history("2020-09-13T13:35:22", MOMENT + 1) == [MOMENT, MOMENT + 1]
    with pytest.raises(InputError) as caught:
        history(MOMENT, MOMENT * 1000)
    assert str(caught.value).startswith(
        "history[1]: timestamp is '1600004122000', milliseconds, but '1600004122' before it, seconds"
    )


def test_a_decimal_is_an_id_as_it_is_written() -> None:
    assert id_text(Decimal("128")) == "128"
