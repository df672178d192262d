"""What is wrong with an export is one line: file, place, finding, remedy."""

from pathlib import Path
from tempfile import TemporaryDirectory

import export_files as files
import pytest
from export_files import write
from hypothesis import example, given
from hypothesis import strategies as st

from rella_cpp import InputError, load_domain, read_history, read_items
from rella_cpp.exports.inputs import read_target

MOVIES, BOOKS = load_domain("movies"), load_domain("books")
DOMAINS = {"movies": MOVIES, "books": BOOKS}

pytestmark = pytest.mark.usefixtures("listening")

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


def test_an_empty_watchlist_is_not_what_was_rated(tmp_path: Path) -> None:
    parts = {"ratings.csv": files.FILES["ratings.csv"](), "watchlist.csv": "Date,Name,Year,Letterboxd URI\n"}
    with pytest.raises(InputError, match=r"watchlist\.csv: holds no rows"):
        read_items(files.archive(tmp_path / "all.zip", parts), MOVIES)


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
