from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import (
    Behavior,
    Domain,
    FaultsError,
    Field,
    InputError,
    Item,
    User,
    builtin_domains,
    domain_source,
    load_domain,
)
from rella_cpp.domains.domain import flatten

MINIMAL = """
noun = "wine"
plural = "wines"
verb = "drank"
system = "You judge wines."
question = "Good?"
[item.title]
required = true
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "wines.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_built_in_domains_are_there_and_load() -> None:
    assert builtin_domains() == ("books", "default", "games", "movies", "news", "products")
    for name in builtin_domains():
        domain = load_domain(name)
        assert domain.name == name and domain.answers == ("Yes", "No")
        assert "id" not in [field.name for field in domain.item]


def test_an_item_is_shown_by_the_fields_it_has() -> None:
    movies = load_domain("movies")
    item = Item({"title": "Heat", "year": 1995, "genres": ["Action", "Crime"], "id": 6, "url": {"x": 1}})
    assert movies.show_item(item) == "Heat (1995), Action, Crime"
    assert movies.show_item(Item({"title": "Heat", "year": None, "genres": []})) == "Heat"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "has no title"),
        ({"title": ""}, "has no title"),
        ({"title": " \n\t"}, "has no title"),
        ({"title": 300}, "field title is a number ('300')"),
        ({"title": ["Heat"]}, "field title is a list"),
        ({"title": "Heat", "year": True}, "field year is true/false ('true')"),
        ({"title": "Heat", "genres": {"a": 1}}, "field genres is an object"),
        ({"title": "Heat", "genres": [["a"]]}, "field genres is a list"),
        ({"title": "a" * 4001}, "field title has 4001 characters without a blank"),
    ],
)
def test_items_that_do_not_fit_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_domain("movies").item_fields(Item(fields))
    assert str(caught.value).startswith(said)
    assert caught.value.remedy


@pytest.mark.parametrize("rating", [0, 0.4, 5.1, -1, 1e300])
def test_a_rating_outside_the_scale_is_refused(rating: float) -> None:
    with pytest.raises(InputError, match=r"rates from 0\.5 to 5 stars"):
        load_domain("movies").check_behavior(Behavior(Item({"title": "Heat"}), rating))


def test_a_rating_in_a_domain_without_ratings_is_refused() -> None:
    with pytest.raises(InputError, match="has no ratings"):
        load_domain("news").check_behavior(Behavior(Item({"title": "x"}), 3))


@given(text=st.text())
def test_flattened_text_is_one_printable_line(text: str) -> None:
    flat = flatten(text)
    assert len(flat.splitlines()) <= 1
    assert flat == flat.strip() == flatten(flat)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in flat)
    flat.encode("utf-8")


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert flatten("a\ud800b") == "a?b"


def test_items_are_the_same_by_id_else_by_what_is_shown() -> None:
    identity = load_domain("movies").identity

    def same(one: Item, other: Item) -> bool:
        return identity(one).same(identity(other))

    assert same(Item({"id": 1, "title": "Heat"}), Item({"id": 1, "title": "HEAT"}))
    assert not same(Item({"id": 1, "title": "Heat"}), Item({"id": 2, "title": "Heat"}))
    assert same(Item({"id": 1, "title": "Heat"}), Item({"title": "Heat "}))
    assert not same(Item({"title": "Heat", "year": 1995}), Item({"title": "Heat", "year": 1986}))


def test_a_users_own_domain_is_a_toml_file(tmp_path: Path) -> None:
    domain = load_domain(write(tmp_path, MINIMAL))
    assert (domain.name, domain.noun, domain.rating) == ("wines", "wine", None)
    assert domain.show_item(Item({"title": "Barolo"})) == "Barolo"


def test_a_built_in_domain_can_be_copied_and_loads_alike(tmp_path: Path) -> None:
    path = tmp_path / "movies.toml"
    path.write_text(domain_source("movies"), encoding="utf-8")
    assert load_domain(str(path)) == load_domain("movies")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("noun = ", "is no TOML"),
        (MINIMAL.replace('verb = "drank"', ""), "has no verb"),
        ("vreb = 1\n" + MINIMAL, "unknown key vreb; did you mean verb?"),
        (MINIMAL.replace('"drank"', "3"), "verb is a number ('3')"),
        (MINIMAL.replace("required = true", 'shwo = "{}"'), "[item.title]: unknown key shwo; did you mean show?"),
        (MINIMAL.replace("required = true", 'show = "x"'), "[item.title]: show is 'x'; it needs {} once"),
        (MINIMAL.replace("required = true", 'type = "colour"'), "[item.title]: type is 'colour'; one of"),
        (MINIMAL.replace("required = true", "required = 1"), "[item.title]: required is a number"),
        (MINIMAL.replace("required = true", ""), "no field of an item is required"),
        (MINIMAL + "[rating]\nmin = 5\nmax = 1\n", "[rating]: the rating scale goes from '5' to '1'"),
        (MINIMAL + '[rating]\nmin = "a"\nmax = 1\n', "[rating]: min is text"),
        ('answers = ["Yes"]\n' + MINIMAL, "answers is"),
        ('answers = "YN"\n' + MINIMAL, "answers is text"),
        ("answers = [1, 2]\n" + MINIMAL, "answers is"),
        ("item = 3\n" + MINIMAL.split("[item")[0], "item is a number"),
        ('item = {title = "x"}\n' + MINIMAL.split("[item")[0], "[item]: title is text"),
        ("template = 3\n" + MINIMAL, "[template]: is a number"),
        (MINIMAL + '[template]\nlead = ["a"]\n', "[template]: lead is a list"),
        (MINIMAL + "[rating]\nmin = 1\nmax = inf\n", "[rating]: the rating scale goes from '1' to 'Infinity'"),
        (MINIMAL + "x = " + "[" * 5000 + "]" * 5000, "is no TOML"),
        ("x = " + "9" * 5000 + "\n" + MINIMAL, "is no TOML"),
    ],
)
def test_a_domain_file_that_is_wrong_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_domain(path)
    assert str(caught.value).startswith(str(path)) and said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_domain_file_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_domain(tmp_path / "none.toml")
    with pytest.raises(InputError, match=r"unknown domain 'movie'; did you mean movies\?"):
        load_domain("movie")


def test_users_are_shown_by_known_fields() -> None:
    movies = load_domain("movies")
    assert movies.user_fields(User({"age": 25, "gender": "female", "zip": "12345"})) == {
        "age": "25",
        "gender": "female",
    }


def test_a_domain_needs_two_answers() -> None:
    with pytest.raises(InputError, match="answers"):
        Domain("x", "x", "x", "x", "", "?", (Field("title", required=True),), answers=("Yes", " "))


FINGERPRINTS = {  # of version 0.1: an index, an adapter or a calibration made then still fits
    "books": ("9fbf0bc622c4", "e269a1fac3f1"),
    "default": ("f4438b9dd76b", "38c3db2865cc"),
    "games": ("7613b60525e5", "f3fd29428e31"),
    "movies": ("556b43993af7", "e58c4779cc15"),
    "news": ("6d5e1f9f3882", "60935c29331a"),
    "products": ("628a1a328480", "151ffbf29284"),
}


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_long_fields_and_words_for_summaries_age_no_artefact(name: str) -> None:
    domain = load_domain(name)
    assert (domain.fingerprint[:12], domain.item_fingerprint[:12]) == FINGERPRINTS[name]
    assert domain.summary is not None


def test_a_long_field_is_shown_only_where_it_is_asked_for(tmp_path: Path) -> None:
    text = MINIMAL + '[item.notes]\nlong = true\nshow = ": {}"\n[item.year]\nshow = " ({})"\ntype = "value"\n'
    wines = load_domain(write(tmp_path, text))
    item = Item({"title": "Rioja", "notes": "oak and\ncherries", "year": 2011})
    assert wines.show_item(item) == "Rioja (2011)"
    assert wines.show_item(item, long=True) == "Rioja (2011): oak and cherries"
    assert wines.show_item(Item({"title": "Rioja", "notes": " . "}), long=True) == "Rioja"
    assert wines.unshown([item]) == ("notes",) and wines.unshown([item], long=True) == ()
    other = load_domain(write(tmp_path, text.replace("long = true\n", 'long = true\nlabel = "Notes"\n')))
    assert wines.fingerprint == other.fingerprint and wines.summary_fingerprint != other.summary_fingerprint


SUMMARY = '[summary]\nsystem = ""\nblock = "Say it."\nupdate = "Say it anew."\nmerge = "Say it once."\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SUMMARY.replace("update", "upgrade"), r"\[summary\]: unknown key upgrade; did you mean update"),
        (SUMMARY.replace('merge = "Say it once."\n', ""), r"\[summary\]: has no merge; add it"),
        (SUMMARY.replace('"Say it."', '" "'), r"\[summary\]: block is empty"),
        (SUMMARY.replace('"Say it."', "3"), r"\[summary\]: block is a number \('3'\); give text"),
        ("[item.notes]\nlong = true\nrequired = true\n", r"\[item.notes\]: a long field is required"),
        ('[item.notes]\nlong = "yes"\n', r"long is text \('yes'\); give true or false"),
    ],
)
def test_wrong_words_for_summaries_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_domain(write(tmp_path, MINIMAL + text))


FAULTY = """
noun = "wine"
plural = 3
vreb = "drank"
system = ""
question = "Good?"
answers = ["Yes"]
[item.Title]
requird = true
type = "txt"
show = "x"
[item.year]
long = "no"
[rating]
min = 5
max = 1
liked = "x"
[template]
history = "{% if"
target = "{{ x"
lead = 3
[summary]
system = ""
block = " "
update = "Say it anew."
"""


def test_all_faults_of_a_domain_file_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, FAULTY)
    with pytest.raises(FaultsError) as caught:
        load_domain(path)
    lines = str(caught.value).splitlines()
    said = [
        "[item.Title]: unknown key requird; did you mean required?",
        "[item.Title]: type is 'txt'; one of text, value, list",
        "[item.Title]: show is 'x'; it needs {} once, where the value stands",
        "[item.year]: long is text ('no'); give true or false",
        "[rating]: liked is text ('x'); give a number",
        "[rating]: the rating scale goes from '5' to '1'; give min < max",
        "[summary]: has no merge; add it",
        "[summary]: block is empty; say what to write",
        "[template]: lead is a number ('3'); give text",
        "[template]: the template history fails: ",
        "[template]: the template target fails: ",
        "plural is a number ('3'); give text",
        "unknown key vreb; did you mean verb?",
        """answers is a list ('["Yes"]'); give two texts, such as ["Yes", "No"]""",
    ]
    found = [line.removeprefix(f"{path}, ").removeprefix(f"{path}: ") for line in lines]
    assert all(line.startswith(str(path)) for line in lines)
    assert [line[: len(each)] for line, each in zip(found, said, strict=True)] == said
    assert [str(fault) for fault in caught.value.faults] == lines


def test_faults_that_are_located_keep_their_own_places() -> None:
    faults = FaultsError([InputError("is bad", place="[a]"), InputError("is worse", source="own")])
    assert str(faults.located("file", "[b]")) == "file, [a]: is bad\nown, [b]: is worse"


def test_a_table_called_templates_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown key templates; did you mean template"):
        load_domain(write(tmp_path, MINIMAL + '[templates]\nhistory = "x"\n'))


@pytest.mark.parametrize("liked", ["true", "nan", "inf", '"3"', "[3]"])
def test_a_liked_that_is_no_rating_is_refused(tmp_path: Path, liked: str) -> None:
    with pytest.raises(InputError, match=r"\[rating\]: liked is "):
        load_domain(write(tmp_path, MINIMAL + f"[rating]\nmin = 1\nmax = 5\nliked = {liked}\n"))


def test_domains_made_in_python_are_checked_likewise() -> None:
    with pytest.raises(FaultsError) as caught:
        Field("plot", show="x", type="txt", long=True, required=True)  # type: ignore[arg-type]
    assert len(caught.value.faults) == 3
    with pytest.raises(FaultsError, match="no field of an item is required\n?.*\n?.*answers is"):
        Domain("x", "x", "x", "x", "", "?", (), answers=("Yes", " "))
