"""Single cells of exports: ratings, dates, titles of episodes."""

from datetime import UTC, date, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from rella_cpp import RatingScale, load_domain
from rella_cpp.exports.cells import is_episode, pattern_of, read_date, read_rating
from rella_cpp.exports.formats import ANY_DATE
from rella_cpp.exports.records import on_scale

MOVIES, BOOKS = load_domain("movies"), load_domain("books")
DOMAINS = {"movies": MOVIES, "books": BOOKS}


@given(st.integers(1, 10), st.sampled_from(["{}", "{}/10", " {} / 10 ", "{}.0", "{},0", "{} out of 10"]))
def test_a_rating_is_read_however_it_is_written(rating: int, form: str) -> None:
    found = read_rating(form.format(rating))
    assert found is not None and found[0] == rating and found[1] in (None, 10)


@given(st.integers(0, 10))
def test_stars_are_half_ratings_out_of_five(halves: int) -> None:
    full, half = divmod(halves, 2)
    empty = "☆" * (5 - full - half)
    for written in (f"{'★' * full}{'½' * half}", f"{'★' * full}{'½' * half}{empty}"):
        assert read_rating(written) == ((halves / 2, 5) if halves else None)
    assert read_rating(f"{full}½" if half else f"{full}") == (halves / 2, None)


@given(st.text())
@example("9" * 400)
@example("1/0")
@example("½")
def test_any_text_is_a_rating_or_none_or_refused(text: str) -> None:
    try:
        found = read_rating(text)
    except ValueError:
        return
    assert found is None or 0 <= abs(found[0]) < float("inf")


@given(st.floats(0, 10), st.floats(0, 10), st.sampled_from([(0.5, 5.0), (0.0, 10.0), (1.0, 7.0), (-1.0, 1.0)]))
def test_a_scale_is_kept_in_order_and_within_its_ends(one: float, other: float, ends: tuple[float, float]) -> None:
    scale = RatingScale(*ends)
    low, high = (on_scale(value, 10, scale) for value in sorted((one, other)))
    assert scale.min <= low <= high <= scale.max and on_scale(10, 10, scale) == scale.max


@given(st.dates(min_value=date(1970, 1, 1), max_value=date(2068, 12, 31)), st.sampled_from(ANY_DATE))
def test_dates_are_read_as_they_are_written(day: date, pattern: str) -> None:
    found = read_date(day.isoformat() if pattern == "iso" else day.strftime(pattern), pattern)
    assert found == datetime(day.year, day.month, day.day, tzinfo=UTC)


def test_a_file_has_one_way_to_write_dates() -> None:
    assert pattern_of(["5/4/23", "14/5/23"], ANY_DATE) == "%d/%m/%y"
    assert pattern_of(["5/4/23", "5/14/23", ""], ANY_DATE) == "%m/%d/%y"
    assert pattern_of(["2023-05-04", "x"], ANY_DATE) == "iso"


def test_episodes_are_told_from_films_of_parts() -> None:
    assert is_episode("Harbor: Season 2: Night") and is_episode("Harbor: Limited Series: Night")
    films = ("Dune: Part Two", "Kill Bill: Vol. 2", "Star Wars: Episode IV: A New Hope", "It: Chapter Two", "Up")
    assert not any(map(is_episode, films))
