import io
import json
import logging
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import export_files as files
import pytest
from commands import runner
from hypothesis import example, given
from hypothesis import strategies as st

from rella_cpp import DataSet, InputError, Item, RatingScale, load_domain, read_history, read_items
from rella_cpp.exports.cells import is_episode, pattern_of, read_date, read_rating
from rella_cpp.exports.files import find_export
from rella_cpp.exports.formats import ANY_DATE, FORMATS
from rella_cpp.exports.inputs import is_item_title, read_target
from rella_cpp.exports.records import Reader, on_scale

MOVIES, BOOKS = load_domain("movies"), load_domain("books")
DOMAINS = {"movies": MOVIES, "books": BOOKS}


@pytest.fixture(autouse=True)
def _listening(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rella_cpp")


def write(folder: Path, name: str, text: str | None = None) -> Path:
    path = folder / name
    path.write_text(files.FILES[name]() if text is None else text, encoding="utf-8", newline="")
    return path


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


LETTERBOXD = "Date,Name,Year,Letterboxd URI,Rating\n2020-01-01,Alien,1979,x,"
IMDB = "Const,Your Rating,Date Rated,Title,Title Type,Year\n"
BAD = [
    (
        "x.csv",
        "Foo,Bar\n1,2\n3,4\n",
        "line 1: has a header that is not known: its columns are Foo, Bar; of a table of your own, call a column title",
    ),
    (
        "x.csv",
        "Const,Your Ratings,Titel\ntt1,9,Alien\ntt2,8,Heat\n",
        "columns are Const, 'Your Ratings', Titel; the nearest known is IMDb ratings, with Const, Your Rating, Title; ",
    ),
    ("x.csv", f"{LETTERBOXD}6\n", "line 2: rating is '6'; Letterboxd rates from 0.5 to 5"),
    ("x.csv", f"{IMDB}tt1,11,2020-01-01,Alien,Movie,1979\n", "line 2: rating is '11'; IMDb rates from 1 to 10"),
    ("x.csv", "title,rating\nAlien,5\nHeat,8\n", "line 3: rating is '8'; the domain movies rates from 0.5 to 5 stars"),
    ("x.csv", "title,rating\nAlien,11/10\n", "line 2: rating is '11/10'; give from 0 to 10"),
    ("x.csv", files.goodreads(), "is of books (Goodreads), but the domain movies is of movies; say --domain books"),
    ("watchlist.csv", files.letterboxd_films(), "is a list of movies to come (Letterboxd watchlist), not a history; "),
    ("x.csv", files.imdb_watchlist(), "is a list of movies to come (IMDb list), not a history; give it as --items"),
    ("x.csv", "user,title,rating\na,Alien,5\nb,Heat,4\n", "is of 2 people (column user: 'a', 'b'); keep one person's"),
    ("x.csv", "title,rating\nAlien\nHeat\nJaws,5\n", "2 of 3 rows are broken, the first on line 2: 1 fields in place"),
    ("x.csv", f"{IMDB}tt1,9,2020-01-01,Lost,TV Series,2004\n", "holds nothing to take: 1 row, 0 behaviors; left out 1"),
    ("x.csv", "title,rating\n", "the history is empty"),
    ("x.csv", 'title,rating\n"Alien,5\nHeat,4\n', "line 2: a quote opens and does not close; mend the row"),
    ("x.csv", "movieId,title,genres\n1,Alien,Horror\n", "is a table without ratings and dates, which is no history; "),
    ("x.csv", "hello there", "line 1, column 1: is not JSON"),
    ("x.csv", '{"title": "Heat",\n', "is not JSON"),
]


@pytest.mark.parametrize(("name", "text", "said"), BAD)
def test_what_is_wrong_with_an_export_is_one_line(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(InputError) as caught:
        read_history(path, MOVIES)
    message = str(caught.value)
    assert message.startswith(str(path)) and said in message and len(message.splitlines()) == 1 and len(message) < 500


def test_an_item_that_is_there_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "list.txt", "Aliens (1986)\nHeat (1995)\naliens  (1986)\n")
    with pytest.raises(InputError, match=r"line 3: 'aliens \(1986\)' is there twice, the first on line 1; leave one"):
        read_items(path, MOVIES)
    # Two films of one name and year are two where the service tells them apart.
    rows = ["tt1,,2020-01-01,Alien,Movie,1979", "tt2,,2020-01-01,Alien,Movie,1979"]
    assert len(read_items(write(tmp_path, "x.csv", IMDB + "\n".join(rows)), MOVIES)) == 2


def test_an_archive_without_an_export_is_refused(tmp_path: Path) -> None:
    whole = files.archive(tmp_path / "x.zip", {"a.txt": "Hello", "b.csv": "Foo,Bar\n1,2\n"})
    with pytest.raises(InputError, match=r"x\.zip: holds no history that is known; it has a\.txt, b\.csv; known are"):
        read_history(whole, MOVIES)
    with pytest.raises(InputError, match="holds no export"):
        read_items(files.archive(tmp_path / "e.zip", {}), MOVIES)
    with pytest.raises(InputError, match="holds no history"):
        read_history(files.archive(tmp_path / "w.zip", {"watchlist.csv": files.letterboxd_films()}), MOVIES)
    sheet = files.archive(tmp_path / "x.xlsx", {"[Content_Types].xml": "<xml/>", "xl/a.xml": "<xml/>"})
    with pytest.raises(InputError, match=r"is compressed \(zip, as an \.xlsx is, too\)"):
        read_history(sheet, MOVIES)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole.read_bytes()[:40])
    with pytest.raises(InputError, match=r"cut\.zip: is a zip archive cut short or damaged"):
        read_history(cut, MOVIES)


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


@pytest.mark.parametrize(
    ("name", "domain", "count"),
    [
        ("imdb.csv", "movies", 27),
        ("goodreads_library_export.csv", "books", 16),
        ("ratings-movies.json", "movies", 27),
        ("mine.csv", "movies", 27),
    ],
)
def test_an_export_is_prepared_without_naming_columns(
    name: str, domain: str, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rella, source = runner(capsys), write(tmp_path, name)
    done = rella("data", "prepare", "table", source, tmp_path / "out", "--domain", domain, "--json")
    assert done.code == 0 and f"30 rows, {count} behaviors" in done.err
    data, past = DataSet.open(tmp_path / "out"), read_history(source, DOMAINS[domain]).behaviors
    assert len(data.users) == 1 and data.domain == domain
    inner = data.interactions
    assert inner.rating is not None and sorted(inner.rating.tolist()) == sorted(each.rating or 0 for each in past)
    assert {item["title"] for item in data.items.to_pylist()} == {each.item.fields["title"] for each in past}
    zipped = files.archive(tmp_path / f"{source.stem}.zip", {name: source.read_text("utf-8")})
    again = rella("data", "prepare", "table", zipped, tmp_path / "again", "--domain", domain)
    assert again.code == 0
    for table in (tmp_path / "out").iterdir():
        assert table.read_bytes() == (tmp_path / "again" / table.name).read_bytes()


def test_a_table_of_several_people_keeps_them_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{user},Film {n},{n % 5 + 1},2020-01-{n + 1:02}" for user in ("ada", "bo") for n in range(12)]
    source = write(tmp_path, "mine.csv", "\n".join(["User ID,Title,Stars,Date", *rows]))
    done = runner(capsys)("data", "prepare", "table", source, tmp_path / "out", "--liked-above", 3)
    assert done.code == 0 and "24 rows, 24 behaviors" in done.err and "one person" not in done.err
    data = DataSet.open(tmp_path / "out")
    assert data.users["id"].to_pylist() == ["ada", "bo"] and len(data.items) == 12


def test_an_exports_items_are_found_in_a_catalog_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"Film {n},{1980 + n},{n % 5 + 1},2020-01-{n + 1:02}" for n in range(20)]
    mine = write(
        tmp_path, "mine.csv", "\n".join(["Title,Year,Rating,Date", *rows, "Heat,,4,2020-02-01", "X,1990,4,2020-02-02"])
    )
    names = [
        *(f"{n},film {n},{1980 + n},Drama" for n in range(20)),
        "50,Heat,1986,Crime",
        "51,Heat,1995,Crime",
        "52,Y,2000,",
    ]
    catalog = write(tmp_path, "films.csv", "\n".join(["id,title,year,genres", *names]))
    rella = runner(capsys)
    done = rella("data", "prepare", "table", mine, tmp_path / "out", "--items", catalog)
    assert done.code == 0
    assert "films.csv: found by title and year: 20 of 22 items; not there: 1 (the first: X (1990)); " in done.err
    assert (
        "not taken, since it may be several: 1 (the first: Heat, which may be Heat (1986) or Heat (1995))" in done.err
    )
    data = DataSet.open(tmp_path / "out")
    assert len(data.items) == 23 and len(data.interactions.item) == 20
    assert data.items.to_pylist()[1] == {"id": "1", "title": "film 1", "year": 1981, "genres": ["Drama"]}
    other = write(tmp_path, "other.csv", "id,title\n1,Nothing of it\n")
    none = rella("data", "prepare", "table", mine, tmp_path / "none", "--items", other)
    assert none.code == 2 and "other.csv: has none of these items" in none.err and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "Date,Name,Year,Letterboxd URI,Raiting",
            "line 1: the column Raiting is not known; did you mean Rating (Letter",
        ),
        ("Date,Name,Yaer,Letterboxd URI,Rating", "line 1: the column Yaer is not known; did you mean Year (Letterboxd"),
        (
            "Title,Author,My Ratng,Exclusive Shelf",
            "column 'My Ratng' is not known; did you mean My Rating (Goodreads)?",
        ),
        (
            "Const,Your Ratting,Title,Year,Title Type",
            "'Your Ratting' is not known; did you mean Your Rating (IMDb ratin",
        ),
        ("title,yaer,ratting,watched", "line 1: the column ratting is not known; did you mean rating?"),
    ],
)
def test_a_misspelt_column_is_refused(header: str, said: str, tmp_path: Path) -> None:
    cells = ",".join("1" for _ in header.split(","))
    with pytest.raises(InputError) as error:
        read_history(write(tmp_path, "x.csv", f"{header}\n{cells}\n"), MOVIES)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        'Year,Title\n1979,Alien\n1995,"Heat\n1996,Fargo\n',
        'Title,Year,Rating\nAlien,1979,"4\nHeat,1995,5\n',
        'Title,Year,Rating\n"Alien,1979,4\nHeat",1995,5\nBig,1988,3\n',
    ],
)
def test_an_open_quote_swallows_no_rows(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a quote opens"):
        read_items(write(tmp_path, "x.csv", text), MOVIES)


def test_of_two_services_in_a_zip_the_domains_is_taken(tmp_path: Path) -> None:
    both = {name: files.FILES[name]() for name in ("goodreads_library_export.csv", "ratings.csv")}
    zipped = files.archive(tmp_path / "both.zip", both)
    assert len(read_history(zipped, MOVIES).behaviors) == 28 and len(read_history(zipped, BOOKS).behaviors) == 16


def test_an_empty_watchlist_is_not_what_was_rated(tmp_path: Path) -> None:
    parts = {"ratings.csv": files.FILES["ratings.csv"](), "watchlist.csv": "Date,Name,Year,Letterboxd URI\n"}
    with pytest.raises(InputError, match=r"watchlist\.csv: holds no rows"):
        read_items(files.archive(tmp_path / "all.zip", parts), MOVIES)


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


def test_a_table_of_very_many_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 20,000 columns"):
        read_items(write(tmp_path, "x.csv", ",".join(map(str, range(20_000))) + "\n" + "," * 19_999), MOVIES)


def test_a_column_that_is_nearly_a_field_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_history(write(tmp_path, "x.csv", "title,yaer,rating,store\nAlien,1979,5,x\n"), MOVIES)
    assert caplog.messages[0].endswith("x.csv: the column yaer is not read; did you mean year?")
    assert len(caplog.messages) == 2


def test_a_title_without_its_year_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"Parasite: no such file; of a title, give its year, too: 'Parasite \(1999\)'"
    ):
        read_target("Parasite", MOVIES)
    with pytest.raises(InputError, match="no such file; check the path"):
        read_target("items.json", MOVIES)


def test_what_one_person_has_may_be_too_little_to_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rella = runner(capsys)
    few = write(tmp_path, "few.csv", "\n".join(["title,rating", *(f"Film {n},4" for n in range(8))]))
    done = rella("data", "prepare", "table", few, tmp_path / "few")
    assert done.code == 0 and "one person's 8 behaviors are few: too few to train a model or to measure one" in done.err
    seen = write(tmp_path, "watched.csv")
    done = rella("data", "prepare", "table", seen, tmp_path / "seen")
    assert done.code == 0 and "one person's 30 behaviors without ratings are one sample" in done.err


def test_tables_with_users_and_items_are_taken_as_they_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rella = runner(capsys)
    rows = [f"{user},i{n},Film {n}" for user in "ab" for n in range(3)]
    plain = write(tmp_path, "mine.csv", "\n".join(["user,item,title", *rows]))
    done = rella("data", "prepare", "table", plain, tmp_path / "out")
    assert done.code == 0 and not done.err
    catalog = files.archive(tmp_path / "ml.zip", {"movies.csv": "movieId,title,genres\n1,Alien,Horror\n"})
    assert "ml.zip: is of no known kind; unpack it" in rella("data", "prepare", "table", catalog, tmp_path / "z").err
    unknown = rella("data", "prepare", "table", write(tmp_path, "x.csv", "a,b\n1,2\n"), tmp_path / "x")
    assert unknown.code == 2 and "x.csv: has no column user and no column item; name others" in unknown.err
    named = rella("data", "prepare", "table", write(tmp_path, "imdb.csv"), tmp_path / "y", "--user-column", "Const")
    assert named.code == 2 and "has no column item" in named.err


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


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1), min_size=1, max_size=8))
def test_titles_come_out_of_a_table_as_they_went_in(titles: list[str]) -> None:
    wanted = [title.strip() for title in titles if title.strip()]
    text = files.table("Date,Name,Year,Letterboxd URI", [["", title, at, ""] for at, title in enumerate(titles)])
    export = find_export(text, "x.csv", "x.csv", MOVIES)
    assert export is not None
    taken = Reader(export.format, MOVIES, "x.csv", "items").take(export.rows)
    assert [entry.value["title"] for entry in taken.entries] == wanted  # type: ignore[index]


_PIECES = st.sampled_from(
    [
        "title",
        "Name",
        "Letterboxd URI",
        "Rating",
        "Title",
        "Date",
        "Const",
        "Your Rating",
        ",",
        ",",
        ";",
        "\t",
        '"',
        "\n",
    ]
    + ["\n", "\r\n", "Alien", "Alien (1979)", "★★½", "8/10", "7", "2020-01-01", "\v", "\x85", "\xa0", "|", "{", "é"]
)


@given(
    st.lists(_PIECES, max_size=40).map("".join) | st.text(max_size=60),
    st.sampled_from(["x.csv", "x.tsv", "x.txt", "watchlist.csv"]),
    st.booleans(),
)
@example("\v", "x.txt", True)
def test_any_text_is_read_or_refused_in_a_line(text: str, name: str, history: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8", errors="replace", newline="")
        try:
            found = read_history(path, MOVIES) if history else read_items(path, MOVIES)
        except InputError as error:
            assert str(error).startswith(str(path)) and len(error.finding.splitlines()) <= 1
        else:
            assert found


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


def test_formats_are_told_apart() -> None:
    marks = [(each.known, each.stem) for each in FORMATS]
    assert len(set(marks)) == len(marks)  # else one of two would never be found
