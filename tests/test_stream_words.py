import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import Behavior, FaultsError, InputError, Item, User, builtin_domains, domain_source, load_domain
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.stream import StreamWords
from rella_cpp.prompts.streams.text import Line, write_stream

RATED = [name for name in builtin_domains() if load_domain(name).rating is not None]
WINES = """
noun = "wine"
plural = "wines"
verb = "drank"
system = "You judge wines."
question = "Good?"
[rating]
min = 1
max = 3
liked = 3
[item.title]
required = true
[item.cellar]
show = " of {}"
[stream]
header = "Wines{profile}{averages}.{unshown}"
line = "- {item} got {rating} points"
fields = ["title", "cellar", "average"]
averages = " (others' mean)"
unshown = " Also {count}, mean {mean}."
levels = [{label = "bad", low = 1}, {label = "fair", low = 2}, {label = "good", low = 3}]
"""


def wines(tmp_path: Path, *changes: tuple[str, str]) -> Domain:
    text = WINES
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    path = tmp_path / "wines.toml"
    path.write_text(text, encoding="utf-8")
    return load_domain(path)


def words_of(domain: Domain) -> StreamWords:
    return domain.stream_words()


def test_every_domain_with_ratings_says_how_a_stream_is_written_and_no_other() -> None:
    assert RATED == ["books", "default", "games", "movies", "products"]
    for name in builtin_domains():
        assert (load_domain(name).stream is not None) == (name in RATED)
    with pytest.raises(InputError, match="the domain news does not say how a stream is written; take --layout"):
        load_domain("news").stream_words()


@pytest.mark.parametrize("name", RATED)
def test_levels_cover_the_scale_and_each_is_liked_as_its_ratings_are(name: str) -> None:
    domain = load_domain(name)
    scale, words = domain.rating, words_of(domain)
    assert scale is not None
    liked = domain.liked_levels(words)
    assert len({level.label[0] for level in words.levels}) == len(words.levels) <= 9
    for step in range(int(scale.min * 2), int(scale.max * 2) + 1):
        rating = step / 2
        level = words.level_of(rating)
        assert liked[level] == scale.likes(rating), (rating, words.levels[level])
        assert level == 0 or words.levels[level].low <= rating


@given(st.floats(0.5, 5), st.floats(0.5, 5))
def test_a_higher_rating_is_never_written_as_a_lower_level(one: float, other: float) -> None:
    words = words_of(load_domain("movies"))
    low, high = sorted([one, other])
    assert words.level_of(low) <= words.level_of(high)


def test_half_stars_and_ten_points_map_as_the_readme_says() -> None:
    movies, books = words_of(load_domain("movies")), words_of(load_domain("books"))
    stars = {rating: movies.levels[movies.level_of(rating)].label for rating in (0.5, 1, 1.5, 3, 3.5, 4, 4.5, 5)}
    assert stars == {0.5: "1", 1: "1", 1.5: "2", 3: "3", 3.5: "4", 4: "4", 4.5: "5", 5: "5"}
    points = {rating: books.levels[books.level_of(rating)].label for rating in (0, 1, 2, 5, 9, 10)}
    assert points == {0: "0", 1: "2", 2: "2", 5: "5", 9: "9", 10: "9"}


def test_a_header_says_what_there_is_to_say(tmp_path: Path) -> None:
    words = words_of(wines(tmp_path))
    assert words.write_header([], averages=False, count=0, mean=0.0) == "Wines.\n"
    told = words.write_header(["age 30", "{count}"], averages=True, count=7, mean=2.25)
    assert told == "Wines (age 30, {count}) (others' mean). Also 7, mean 2.2.\n"


def test_a_line_shows_the_fields_it_names_in_that_order(tmp_path: Path) -> None:
    domain = wines(tmp_path)
    item = Item({"title": "Hock", "cellar": "Rhine", "average": 1.0, "other": "x"})
    assert domain.stream_item(item, 2.345) == "Hock of Rhine, 2.3"
    assert domain.stream_item(Item({"title": "Hock"}), None) == "Hock"
    swapped = wines(
        tmp_path, ('["title", "cellar", "average"]', '["average", "title"]'), ("[stream]", '[stream]\naverage = "{} "')
    )
    assert swapped.stream_item(item, 2.345) == "2.3 Hock"
    assert words_of(domain).around == ("- ", " got ", " points")


def test_the_words_of_a_stream_are_in_its_fingerprint_and_in_no_other(tmp_path: Path) -> None:
    domain = wines(tmp_path)
    without = replace(domain, stream=None)
    assert without.fingerprint == domain.fingerprint and without.summary_fingerprint == domain.summary_fingerprint
    for change in (
        ("Also", "And"),
        ("got", "has"),
        ('"good"', '"great"'),
        (", low = 2}", ", low = 1.5}"),
        ('" of {}"', '" ({})"'),
    ):
        other = wines(tmp_path, change)
        assert other.stream_fingerprint != domain.stream_fingerprint, change
    for change in (("Good?", "Fine?"), ("You judge", "You know")):
        assert wines(tmp_path, change).stream_fingerprint == domain.stream_fingerprint, change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("{profile}", "{user}"),
            r"\[stream\]: header has \{user\}; it may have \{profile\}, \{averages\}, \{unshown\}",
        ),
        (("{count}", "{n}"), r"unshown has \{n\}"),
        (("{item} got {rating}", "{rating} for {item}"), "line is '- {rating} for {item} points'; give {item}, then"),
        (("{item} got {rating}", "{item}"), "line is '- {item} points'"),
        (('fields = ["title", "cellar", "average"]', "fields = []"), "fields names none"),
        (
            ('["title", "cellar", "average"]', '["title", "grape"]'),
            "the stream's fields name 'grape'; some of title, cel",
        ),
        (('["title", "cellar", "average"]', '["cellar", "average"]'), "a stream's lines show no required field"),
        (('["title", "cellar", "average"]', '"title"'), r"fields is text \('title'\); give a list of names"),
        (('"bad", low = 1}', '"bad", low = 2}'), "the levels do not ascend"),
        (('"bad", low = 1}', '"good", low = 1}'), "levels are labeled good, fair, good; give each label once"),
        (('"bad", low = 1}', '" bad", low = 1}'), r"levels\[0\]: label is ' bad'; give a short text without blanks"),
        (('"bad", low = 1}', '"bad", low = 1.5}'), "the levels begin above the lowest rating, 1; give the first"),
        (('"bad", low = 1}', '"bad"}'), r"levels\[0\]: has no low"),
        (('"bad", low = 1}', '"bad", low = "1"}'), r"low is text \('1'\); give a number"),
        (("low = 3}]", "low = 2.5, value = 3}]"), "the level 'good' has ratings that are liked and others"),
        ((', {label = "good", low = 3}]', "]"), "the levels are none of them liked"),
        (
            ('[{label = "bad", low = 1}, {label = "fair", low = 2}, {label = "good", low = 3}]', "3"),
            "levels is a number",
        ),
        (("[rating]\nmin = 1\nmax = 3\nliked = 3\n", ""), "a domain with a stream has no ratings; add"),
        (("[stream]", "[stream]\nlevel = 3"), "level; did you mean levels"),
    ],
)
def test_words_that_make_no_stream_are_refused_with_the_place(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        wines(tmp_path, change)
    faults = refused.value.faults if isinstance(refused.value, FaultsError) else [refused.value]
    assert all(str(fault.source).endswith("wines.toml") for fault in faults)


def test_ten_levels_are_too_many(tmp_path: Path) -> None:
    levels = ", ".join(f'{{label = "{letter}", low = {1 + number / 5}}}' for number, letter in enumerate("abcdefghij"))
    with pytest.raises(InputError, match="there are 10 levels; give 2 to 9"):
        wines(tmp_path, ('{label = "bad", low = 1}, {label = "fair", low = 2}, {label = "good", low = 3}', levels))


def test_the_built_in_files_hold_what_they_load_to() -> None:
    table = tomllib.loads(domain_source("movies"))["stream"]
    words = words_of(load_domain("movies"))
    assert words.header == table["header"] and words.fields == tuple(table["fields"])
    assert [level.rating for level in words.levels] == [1, 2, 3, 4, 5]


def test_a_field_average_of_the_domains_own_is_shown_as_any_other(tmp_path: Path) -> None:
    own = '[item.average]\nshow = ", {} yield"\n[item.cellar]'
    domain = wines(tmp_path, ("[item.cellar]", own))
    assert not domain.reads_averages and wines(tmp_path).reads_averages
    rioja, other = Item({"title": "Rioja", "average": "high"}), Item({"title": "Cava"})
    domain.check_item(rioja)
    text = write_stream(domain, User(), [Behavior(rioja, 3), Behavior(other, 1, average=2.5)], rioja)
    assert text.header == "Wines.\n"  # says nothing of others' means
    assert text.lines == (Line("Rioja, high yield", "good"), Line("Cava", "bad")) and text.target == "Rioja, high yield"
    with pytest.raises(InputError, match="field average is a number .'2.5'.; write it as text, in quotes"):
        domain.check_item(Item({"title": "Rioja", "average": 2.5}))


def test_a_long_field_average_of_the_domains_own_is_no_mean_rating(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the stream's fields name 'average'; some of title, cellar$"):
        wines(tmp_path, ("[item.cellar]", "[item.average]\nlong = true\n[item.cellar]"))


@pytest.mark.parametrize(
    ("levels", "finding"),
    [
        ('{label = "1", low = 1}, {label = "2", low = 2.5, value = 3}', "level '2' has ratings that are liked and"),
        ('{label = "1", low = 1, value = 2}, {label = "3", low = 3, value = 3.5}', "value of the level '3' is 3.5"),
        ('{label = "1", low = 1}, {label = "3", low = 3}, {label = "9", low = 99}', "low of the level '9' is 99"),
        ('{label = "1", low = 1, value = nan}, {label = "3", low = 3}', r"\[0\]: value is a number \('NaN'\)"),
        ('{label = "1", low = -inf}, {label = "3", low = 3}', r"low is a number \('-Infinity'\)"),
        ('{label = "1", low = 1, value = 3}, {label = "3", low = 3}', "levels do not ascend; give each a value above"),
        ('{label = "2", low = 1, value = 2}, {label = "3", low = 2.5, value = 3}', "'3' has ratings that are liked"),
    ],
)
def test_levels_that_do_not_cut_the_scale_are_refused(tmp_path: Path, levels: str, finding: str) -> None:
    known = '{label = "bad", low = 1}, {label = "fair", low = 2}, {label = "good", low = 3}'
    with pytest.raises(InputError, match=finding):
        wines(tmp_path, (known, levels))


def test_a_level_from_below_the_border_to_above_it_is_refused(tmp_path: Path) -> None:
    # Liked from 3 on; what is written "bad" would reach from 1 to 3.5.
    known = '{label = "fair", low = 2}, {label = "good", low = 3}'
    with pytest.raises(InputError, match="the level 'bad' has ratings that are liked and others"):
        wines(tmp_path, ("max = 3", "max = 5"), (known, '{label = "good", low = 3.5}'))


def test_a_faulty_scale_is_the_only_fault_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        wines(tmp_path, ("min = 1", "min = nan"))
    assert str(refused.value).count("\n") == 0 and "the rating scale goes from" in str(refused.value)
