"""Exports of other services as histories and items: what is taken, counted and named."""

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import export_files as files
import pytest
from commands import runner
from export_files import write
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import InputError, Item, load_domain, read_history, read_items
from rella_cpp.exports.files import find_export
from rella_cpp.exports.formats import FORMATS
from rella_cpp.exports.inputs import is_item_title, read_target
from rella_cpp.exports.records import Reader

MOVIES, BOOKS = load_domain("movies"), load_domain("books")
DOMAINS = {"movies": MOVIES, "books": BOOKS}

pytestmark = pytest.mark.usefixtures("listening")

# Of 30 rows each: what is said of them as a history, and as items.
SAID = [
    ("ratings.csv", "movies", "(Letterboxd ratings): 30 rows, 28 behaviors; left out 2 without a rating"),
    (
        "diary.csv",
        "movies",
        "(Letterboxd diary): 30 rows, 21 behaviors; left out 4 without a rating, 5 rated again (the latest counts)",
    ),
    (
        "watched.csv",
        "movies",
        "(Letterboxd films): 30 rows, 30 behaviors; it has no ratings, which --layout stream needs; --layout question "
        "does without",
    ),
    (
        "imdb.csv",
        "movies",
        "(IMDb ratings): 30 rows, 27 behaviors; left out 2 TV series, 1 without a rating; ratings of 10 are halved",
    ),
    (
        "imdb-old.csv",
        "movies",
        "(IMDb ratings before 2017): 30 rows, 28 behaviors; left out 2 TV series; ratings of 10 are halved",
    ),
    (
        "goodreads_library_export.csv",
        "books",
        "(Goodreads): 30 rows, 16 behaviors; left out 10 on the shelf to-read, 2 on the shelf currently-reading, 2 "
        "without a rating; ratings of 5 are doubled",
    ),
    (
        "storygraph.csv",
        "books",
        "(StoryGraph): 30 rows, 19 behaviors; left out 10 on the shelf to-read, 1 without a rating; ratings of 5 are "
        "doubled",
    ),
    (
        "ratings-movies.json",
        "movies",
        "(Trakt ratings): 30 rows, 27 behaviors; left out 3 TV series; ratings of 10 are halved",
    ),
    (
        "watched-history-1.json",
        "movies",
        "(Trakt history): 30 rows, 27 behaviors; left out 3 TV series; it has no ratings, which",
    ),
    ("movielens-ratings.csv", "movies", "(MovieLens ratings): 30 rows, 30 behaviors"),
    (
        "NetflixViewingHistory.csv",
        "movies",
        "(Netflix viewing history): 30 rows, 19 behaviors; left out 10 TV episodes, 1 there again (the latest counts); "
        "it has no ratings, which --layout stream needs; --layout question does without",
    ),
    (
        "mine.csv",
        "movies",
        "(a table): 30 rows, 27 behaviors; left out 1 without a title (line 3), 2 without a rating; ratings of 10 are "
        "halved",
    ),
]


ITEMS_SAID = [
    ("watchlist.csv", "movies", "(Letterboxd watchlist): 30 rows, 30 items"),
    ("WATCHLIST.csv", "movies", "(IMDb list): 30 rows, 28 items; left out 2 TV miniseries"),
    (
        "goodreads_library_export.csv",
        "books",
        "(Goodreads): 30 rows, 10 items; left out 2 on the shelf currently-reading, 18 on the shelf read",
    ),
    ("storygraph.csv", "books", "(StoryGraph): 30 rows, 10 items; left out 20 on the shelf read"),
    ("diary.csv", "movies", "(Letterboxd diary): 30 rows, 25 items; left out 5 there again"),
    (
        "NetflixViewingHistory.csv",
        "movies",
        "(Netflix viewing history): 30 rows, 19 items; left out 10 TV episodes, 1 there again",
    ),
    ("lists-watchlist.json", "movies", "(Trakt watchlist): 30 rows, 27 items; left out 3 TV series"),
    ("mine.csv", "movies", "(a table): 30 rows, 29 items; left out 1 without a title (line 3)"),
]


@pytest.mark.parametrize(("name", "domain", "said"), SAID)
def test_a_history_of_each_format_is_counted(
    name: str, domain: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, name)
    history = read_history(path, DOMAINS[domain])
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{path} {said}")
    assert f" {len(history.behaviors)} behavior" in record.getMessage()
    assert history.user is None and history.places is not None and len(history.places.places) == len(history.behaviors)
    zipped = files.archive(tmp_path / "export.zip", {f"folder/{name}": path.read_text("utf-8")})
    assert read_history(zipped, DOMAINS[domain]).behaviors == history.behaviors
    assert caplog.records[-1].getMessage().startswith(f"{zipped}, {name} {said}")


@pytest.mark.parametrize(("name", "domain", "said"), ITEMS_SAID)
def test_items_of_each_format_are_counted(
    name: str, domain: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, name)
    items = read_items(path, DOMAINS[domain])
    (record,) = caplog.records
    assert record.getMessage() == f"{path} {said}" and f" {len(items)} item" in record.getMessage()
    assert not any({"rating", "timestamp"} & item.fields.keys() for item in items)


def first(name: str, domain: str, tmp_path: Path) -> tuple[dict[str, object], float | None, float | None]:
    behavior = read_history(write(tmp_path, name), DOMAINS[domain]).behaviors[0]
    return dict(behavior.item.fields), behavior.rating, behavior.timestamp


def test_columns_become_the_fields_of_the_domain(tmp_path: Path) -> None:
    sci_fi = {"title": "Harbor 0", "year": 1980, "director": ["Ada Example"], "average": 3.7}
    genres = {"genres": ["Drama", "Sci-Fi"]}
    assert first("imdb.csv", "movies", tmp_path) == (sci_fi | genres, 0.5, 1672531200.0)  # 2023-01-01, in UTC
    found = first("imdb-old.csv", "movies", tmp_path)
    assert found == (sci_fi | {"genres": ["drama", "sci_fi"]}, 0.5, 1364774400.0)  # 2013-04-01
    lighthouse = {"title": "The Lighthouse 0", "year": 1970, "average": 3.72}
    assert first("movielens-ratings.csv", "movies", tmp_path) == (lighthouse, 0.5, None)
    assert first("ratings-movies.json", "movies", tmp_path)[1:] == (0.5, 1672604100.0)
    book = {"title": "Saltmarsh 14 (The Tides, #14)", "author": ["Ada Example"], "year": 2004}
    found = first("goodreads_library_export.csv", "books", tmp_path)
    assert found == (book | {"publisher": "Small Press", "average": 7.8}, 10, 1652572800.0)  # 2022-05-15
    assert first("storygraph.csv", "books", tmp_path)[0]["author"] == ["Ada Example", "Bo Example"]
    assert first("mine.csv", "movies", tmp_path) == (
        {"title": "Harbor 0", "year": 1980, "genres": ["Drama", "Crime"]},
        4.5,
        1672531200.0,
    )
    ratings = [each.rating for each in read_history(tmp_path / "mine.csv", MOVIES).behaviors]
    assert set(ratings) == {4.5, 4, 3.5, 2}  # ★★★★½, 4/5 and 8/10, 3,5, 2


def test_a_domain_without_averages_gets_none(tmp_path: Path) -> None:
    assert MOVIES.reads_averages
    own = tmp_path / "own.toml"
    own.write_text(
        'noun = "movie"\nplural = "movies"\nverb = "saw"\nsystem = "s"\nquestion = "q"\n[rating]\nmin = 1\nmax = 10\n'
        "[item.title]\nrequired = true\n"
    )
    behaviors = read_history(write(tmp_path, "imdb.csv"), load_domain(own)).behaviors
    assert {name for each in behaviors for name in each.item.fields} == {"title"}
    assert behaviors[0].rating == 1 and max(each.rating or 0 for each in behaviors) == 10


def test_series_are_taken_when_they_are_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(read_history(write(tmp_path, "imdb.csv"), MOVIES, series=True).behaviors) == 29
    assert len(read_items(write(tmp_path, "WATCHLIST.csv"), MOVIES, series=True)) == 30
    assert len(read_history(write(tmp_path, "NetflixViewingHistory.csv"), MOVIES, series=True).behaviors) == 29
    assert not any("TV" in record.getMessage() for record in caplog.records)


def test_of_a_whole_export_the_richest_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("watched.csv", "diary.csv", "ratings.csv", "watchlist.csv")
    members = {name: files.FILES[name]() for name in names}
    members |= {"deleted/ratings.csv": members["ratings.csv"], "profile.csv": "Date Joined,Username\n2020-01-01,ada\n"}
    members |= {"likes/films.csv": members["watched.csv"], "readme.txt": "Hello"}
    whole = files.archive(tmp_path / "letterboxd.zip", members)
    assert len(read_history(whole, MOVIES).behaviors) == 28
    said = "ratings.csv (Letterboxd ratings; the richest of ratings.csv, diary.csv and watched.csv): 30 rows"
    assert caplog.records[-1].getMessage().startswith(f"{whole}, {said}")
    assert len(read_items(whole, MOVIES)) == 30
    assert f"{whole}, watchlist.csv (Letterboxd watchlist; the richest of" in caplog.records[-1].getMessage()
    del members["ratings.csv"]
    assert len(read_history(files.archive(whole, members), MOVIES).behaviors) == 21
    assert "diary.csv (Letterboxd diary" in caplog.records[-1].getMessage()


def test_of_trakt_the_films_are_taken_not_the_shows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ratings = json.loads(files.trakt_ratings())
    members = {
        "u/ratings-episodes.json": json.dumps([each for each in ratings if each["type"] == "show"]),
        "u/ratings-movies.json": json.dumps([each for each in ratings if each["type"] == "movie"]),
        "u/lists-watchlist.json": files.trakt_watchlist(),
        "u/user-profile.json": '{"username": "ada"}',
    }
    whole = files.archive(tmp_path / "trakt.zip", members)
    assert len(read_history(whole, MOVIES).behaviors) == 27 and len(read_items(whole, MOVIES)) == 27
    assert "ratings-movies.json (Trakt ratings; the richest of" in caplog.records[0].getMessage()
    lines = "\n".join(map(json.dumps, ratings))
    assert len(read_history(write(tmp_path, "lines.json", lines), MOVIES).behaviors) == 27


def test_titles_one_a_line_are_items_and_no_history(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "titles.txt")
    items = read_items(path, MOVIES)
    assert len(items) == 30 and items[1].fields == {"title": 'The "Quiet" Lake, Part 1', "year": 1981}
    assert not caplog.records  # all of them, as they stand
    with pytest.raises(InputError, match=r"is a list of titles, and no history: it says nothing of ratings \(30 lines"):
        read_history(path, MOVIES)
    plain = write(tmp_path, "plain.txt", "Alien\n\nHeat, or Cold\n")
    assert [item.fields for item in read_items(plain, MOVIES)] == [{"title": "Alien"}, {"title": "Heat, or Cold"}]
    with pytest.raises(InputError, match="is not JSON"):
        read_items(write(tmp_path, "plain", "Alien\nHeat\n"), MOVIES)


def test_standard_input_may_be_an_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(files.letterboxd_ratings().encode())))
    assert len(read_history("-", MOVIES).behaviors) == 28


def test_files_are_read_however_they_were_saved(tmp_path: Path) -> None:
    plain = read_history(write(tmp_path, "imdb.csv"), MOVIES).behaviors
    text = files.imdb_ratings()
    for name, data in {
        "mark.csv": b"\xef\xbb\xbf" + text.encode(),
        "utf16.csv": text.encode("utf-16"),
        "unix.csv": text.replace("\r\n", "\n").encode(),
        "blank.csv": text.replace("\r\n", "\r\n\r\n").encode(),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert read_history(tmp_path / name, MOVIES).behaviors == plain
    quoted = "\n".join(f'"{line}"' if at == 0 else line for at, line in enumerate(["title", "Alien", "Heat"]))
    assert len(read_items(write(tmp_path, "tabs.tsv", "TITLE\tYear\nAlien\t1979\n"), MOVIES)) == 1
    with pytest.raises(InputError, match="an item is an object"):  # JSON Lines, as ever
        read_items(write(tmp_path, "one.csv", quoted.replace("Alien", '"Alien"').replace("Heat", '"Heat"')), MOVIES)


def test_rows_that_are_broken_are_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = ["title,rating,date", "Alien,5,2020-01-01", "Heat,4", "Jaws,good,2020-01-02", "Tron,3,someday", "Up,2,"]
    path = write(tmp_path, "mine.csv", "\n".join(rows))
    assert [each.item.fields["title"] for each in read_history(path, MOVIES).behaviors] == ["Alien", "Up"]
    said = caplog.records[-1].getMessage()
    assert "5 rows, 2 behaviors; left out 1 broken (line 3: 2 fields in place of 3)" in said
    assert "1 with a rating that is no number (line 4: 'good')" in said
    assert "1 with a date that cannot be read (line 5: 'someday'; give Unix seconds" in said
    assert said.endswith("1 without a date, so no dates are read: the order is the file's")
    assert all(each.timestamp is None for each in read_history(path, MOVIES).behaviors)


def test_of_what_was_rated_again_the_latest_in_time_counts(tmp_path: Path) -> None:
    def rating_of(*rows: str) -> float | None:
        (behavior,) = read_history(write(tmp_path, "mine.csv", "\n".join(rows)), MOVIES).behaviors
        return behavior.rating

    assert rating_of("title,year,rating,date", "Alien,1979,1,2021-01-01", "ALIEN,1979,5,2020-01-01") == 1
    assert rating_of("title,year,rating,date", "Alien,1979,1,2020-01-01", "Alien,1979,5,2020-01-01") == 5
    assert rating_of("title,year,rating", "Alien,1979,1", "Alien,1979,5") == 5


@pytest.mark.parametrize("text", ["Aliens (1986)", "Face/Off (1997)", "The Matrix", "Mr. Nobody", "Monsters, Inc."])
def test_a_title_stands_for_an_item(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    items, places = read_target(text, MOVIES)
    assert len(items) == len(places.places) == 1 and MOVIES.show_item(items[0]) == text
    if "/" not in text:
        (tmp_path / text).write_text('{"title": "Heat"}')
        assert read_target(text, MOVIES)[0] == (Item({"title": "Heat"}),)  # a file that is there is a file


@pytest.mark.parametrize(
    "text", ["item.json", "my films.csv", "lists/my films", "Aliens", "-", "", " ", r"C:\my films"]
)
def test_what_looks_like_a_file_is_one(text: str) -> None:
    assert not is_item_title(text)


def test_the_command_line_takes_exports_and_titles(
    tmp_path: Path, roomy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history, rella = write(tmp_path, "imdb.csv"), runner(capsys)
    score = ("score", "--model", roomy_model, "--history")
    done = rella(*score, history, "--item", "Aliens (1986)", "--json")
    assert done.code == 0 and done.lines()[0]["item"] == {"title": "Aliens", "year": 1986}
    assert done.err.count("30 rows, 27 behaviors; left out 2 TV series, 1 without a rating; ratings of 10 are ha") == 1
    assert "30 rows, 29 behaviors" in rella(*score, history, "--item", "Aliens (1986)", "--series").err
    for item in ("none.json", "my films.csv"):
        missing = rella(*score, history, "--item", item)
        assert missing.code == 2 and missing.err.endswith(f"{item}: no such file; check the path\n")
    wrong = rella(*score, write(tmp_path, "x.csv", "Foo,Bar\n1,2\n"), "--item", "A B")
    assert wrong.code == 2 and wrong.err.count("\n") == 1 and "has a header that is not known" in wrong.err


def test_of_two_services_in_a_zip_the_domains_is_taken(tmp_path: Path) -> None:
    both = {name: files.FILES[name]() for name in ("goodreads_library_export.csv", "ratings.csv")}
    zipped = files.archive(tmp_path / "both.zip", both)
    assert len(read_history(zipped, MOVIES).behaviors) == 28 and len(read_history(zipped, BOOKS).behaviors) == 16


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("[REC] (2007)\nAlien (1979)\n", ["[REC]", "Alien"]),
        ('"Alien" (1979)\n"Heat (1995)"\n', ['"Alien"', "Heat"]),
        ("1. Alien (1979)\n2. 12 Monkeys (1995)\n", ["Alien", "12 Monkeys"]),
        ("- Alien (1979)\n- Heat (1995)\n", ["Alien", "Heat"]),
        ("12 Monkeys (1995)\nHeat (1995)\n", ["12 Monkeys", "Heat"]),
        ("sep=;\ntitle;year\nAlien;1979\n", ["Alien"]),
    ],
)
def test_titles_are_read_as_people_list_them(text: str, titles: list[str], tmp_path: Path) -> None:
    found = read_items(write(tmp_path, "mine.txt", text), MOVIES)
    assert [item.fields["title"] for item in found] == titles


def test_a_year_is_a_date(tmp_path: Path) -> None:
    history = read_history(
        write(tmp_path, "x.csv", "title,rating,date\nAlien,5 Stars,2021\nHeat,4,1999-05-01\n"), MOVIES
    )
    first, second = (each.timestamp or 0 for each in history.behaviors)
    assert datetime.fromtimestamp(max(first, second), UTC).year == 2021


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1), min_size=1, max_size=8))
def test_titles_come_out_of_a_table_as_they_went_in(titles: list[str]) -> None:
    wanted = [title.strip() for title in titles if title.strip()]
    text = files.table("Date,Name,Year,Letterboxd URI", [["", title, at, ""] for at, title in enumerate(titles)])
    export = find_export(text, "x.csv", "x.csv", MOVIES)
    assert export is not None
    taken = Reader(export.format, MOVIES, "x.csv", "items").take(export.rows)
    assert [entry.value["title"] for entry in taken.entries] == wanted  # type: ignore[index]


def test_formats_are_told_apart() -> None:
    marks = [(each.known, each.stem) for each in FORMATS]
    assert len(set(marks)) == len(marks)  # else one of two would never be found
