"""Exports as data sets: `rella data prepare table`."""

from pathlib import Path

import export_files as files
import pytest
from commands import runner
from export_files import write

from rella_cpp import DataSet, load_domain, read_history

MOVIES, BOOKS = load_domain("movies"), load_domain("books")
DOMAINS = {"movies": MOVIES, "books": BOOKS}


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
