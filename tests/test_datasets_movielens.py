from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from look_alikes import Rating, ml_1m, ml_25m, random_ratings, write_files

from rella_cpp import DataSet, InputError, PrepareOptions, prepare
from rella_cpp.datasets.formats.titles import split_title

RATINGS = random_ratings()


def prepare_files(name: str, folder: Path, files: dict[str, bytes], skip_bad_rows: bool = False) -> DataSet:
    source = write_files(folder / "source", files)
    return prepare(name, source, folder / "out", options=PrepareOptions(skip_bad_rows), force=True)


def brute_force(ratings: list[Rating]) -> list[tuple[int, int, int, int, str]]:
    """Every sample as (user, position, movie, label, split), in plain Python and with no index at all."""
    samples = []
    for rating in ratings:
        own = sorted((r.timestamp, r.item) for r in ratings if r.user == rating.user)
        position = own.index((rating.timestamp, rating.item))
        if position >= 5:
            samples.append((rating.timestamp, rating.user, rating.item, position, int(rating.rating > 3)))
    samples.sort()
    train, valid = int(0.8 * len(samples)), int(0.1 * len(samples))
    split = ["train"] * train + ["valid"] * valid + ["test"] * (len(samples) - train - valid)
    told = zip(samples, split, strict=True)
    return sorted((user, position, movie, label, name) for (_, user, movie, position, label), name in told)


def told(data: DataSet) -> list[tuple[int, int, int, int, str]]:
    samples = data.samples
    names = ["train", "valid", "test"]
    return [
        (int(data.user_id(int(u))), int(p), int(data.item_id(int(i))), int(label), names[s])
        for u, p, i, label, s in zip(
            samples.user, samples.position, samples.item, samples.label, samples.split, strict=True
        )
    ]


@pytest.mark.parametrize(("name", "layout"), [("ml-1m", ml_1m), ("ml-25m", ml_25m)])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), users=st.integers(1, 7))
def test_samples_labels_and_splits_are_those_of_brute_force(
    tmp_path: Path, name: str, layout: Callable[..., dict[str, bytes]], seed: int, users: int
) -> None:
    ratings = random_ratings(seed, users)
    assert told(prepare_files(name, tmp_path, layout(ratings))) == brute_force(ratings)


def test_ml_1m_has_its_people_and_all_its_movies(tmp_path: Path) -> None:
    data = prepare_files("ml-1m", tmp_path, ml_1m(RATINGS[:3], movies=15, users=40))
    assert (len(data.users), len(data.items)) == (40, 15)
    assert data.user(0).fields == {"age": "18-24", "gender": "male", "occupation": "academic/educator"}
    assert data.user(20).fields == {"age": "under 18", "gender": "male"}  # occupation 0: other, or not told
    assert data.user(5).fields["age"] == "56 or older"
    assert data.item(2).fields == {
        **{"id": "3", "title": "Les Misérables", "year": 1995, "genres": ["Animation", "Children's"]}
    }


def test_ids_are_numbered_as_numbers_not_as_text(tmp_path: Path) -> None:
    data = prepare_files("ml-25m", tmp_path, ml_25m([Rating(10, 12, 4, 1), Rating(9, 2, 4, 1)]))
    assert [data.user_id(0), data.user_id(1)] == ["9", "10"]
    assert [data.item_id(row) for row in (0, 1, 9, 11)] == ["1", "2", "10", "12"]


TITLES = [
    ("Matrix, The (1999)", ("The Matrix", 1999)),
    ("American in Paris, An (1951)", ("An American in Paris", 1951)),
    ("Postino, Il (The Postman) (1994)", ("Il Postino (The Postman)", 1994)),
    ("Avventura, L' (Adventure, The) (1960)", ("L'Avventura (The Adventure)", 1960)),
    ("Pom Poko (a.k.a. Raccoon War, The) (Heisei) (1994)", ("Pom Poko (a.k.a. The Raccoon War) (Heisei)", 1994)),
    ("Paris, Texas (1984)", ("Paris, Texas", 1984)),
    ("Babylon 5", ("Babylon 5", None)),
    ("Assembly (Ji jie hao) (2007) ", ("Assembly (Ji jie hao)", 2007)),
    ("Death Note: Desu nôto (2006–2007)", ("Death Note: Desu nôto (2006–2007)", None)),
    ("1984 (1956)", ("1984", 1956)),
    ("(500) Days of Summer (2009)", ("(500) Days of Summer", 2009)),
    ("Dracula: Dead and Loving It (1995)", ("Dracula: Dead and Loving It", 1995)),
]


@pytest.mark.parametrize(("text", "wanted"), TITLES)
def test_titles_lose_the_year_and_get_their_article_back(text: str, wanted: tuple[str, int | None]) -> None:
    assert split_title(text) == wanted


# A file, how it is changed, and what is said of it. Small files: one broken row is more than 0.1 %.
def line(number: int, text: bytes) -> Callable[[bytes], bytes]:
    """Put a line in place of another, counted from 1."""

    def change(data: bytes) -> bytes:
        lines = data.split(b"\n")
        lines[number - 1] = text
        return b"\n".join(lines)

    return change


def renamed(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new)


BROKEN: list[tuple[str, str, Callable[[bytes], bytes], str]] = [
    ("ml-25m", "ratings.csv", line(5, b"1,2,4.0"), "ratings.csv, line 5: 3 fields in place of 4"),
    ("ml-25m", "ratings.csv", line(5, b"1,2,4.0,5,6"), "line 5: 5 fields in place of 4"),
    ("ml-25m", "ratings.csv", line(2, b"1,2,four,9"), "line 2: rating is no number"),
    ("ml-25m", "ratings.csv", line(2, b"1,2,,9"), "line 2: rating is no number"),
    ("ml-25m", "ratings.csv", line(3, b"1.5,2,4,9"), "line 3: userId is no whole number"),
    ("ml-25m", "ratings.csv", line(3, b",2,4,9"), "line 3: userId is no whole number"),
    ("ml-25m", "ratings.csv", line(3, b"99999999999,2,4,9"), "line 3: userId is no whole number"),
    ("ml-25m", "ratings.csv", line(3, b"1,2,4,yesterday"), "line 3: timestamp is no whole number"),
    ("ml-25m", "ratings.csv", line(4, b"1,2,5.5,9"), "line 4: a rating outside 0.5 to 5"),
    ("ml-25m", "ratings.csv", line(4, b"1,2,nan,9"), "line 4: "),
    ("ml-25m", "ratings.csv", line(4, b"1,2,0,9"), "line 4: a rating outside 0.5 to 5"),
    ("ml-25m", "ratings.csv", line(6, b"1,77,4,9"), "line 6: an unknown movie"),
    (
        "ml-25m",
        "ratings.csv",
        line(1, b"userId,movieId,stars,timestamp"),
        "has no column rating; its columns are userId,",
    ),
    ("ml-25m", "ratings.csv", lambda data: b"", "ratings.csv: is empty"),
    ("ml-25m", "ratings.csv", lambda data: data.split(b"\n")[0] + b"\n", "ratings.csv: holds no rows"),
    ("ml-25m", "movies.csv", line(3, b'2,"Open, The (1999),Drama'), "movies.csv"),
    ("ml-25m", "movies.csv", line(3, b"2,\xff\xfe (1999),Drama"), "line 3: title is not in the file's encoding"),
    ("ml-25m", "movies.csv", line(3, b"1,Again (1999),Drama"), "line 2: an id that comes again"),
    ("ml-25m", "movies.csv", line(3, b"2, ,Drama"), "movies.csv, line 3: an empty title"),
    (
        "ml-25m",
        "movies.csv",
        renamed(b"genres\r", b"tags\r"),
        "has no column genres; its columns are movieId, title, tags",
    ),
    ("ml-1m", "ratings.dat", line(1, b"1::2::4"), "ratings.dat, line 1: 3 fields in place of 4"),
    ("ml-1m", "ratings.dat", line(2, b"99::2::4::9"), "line 2: an unknown user"),
    ("ml-1m", "ratings.dat", line(2, b"1::2::9::9"), "line 2: a rating outside"),
    ("ml-1m", "ratings.dat", line(2, b"1;2;9;9"), "line 2: 1 fields in place of 4"),
    ("ml-1m", "users.dat", line(2, b"2::F::19::3::1"), "users.dat, line 2: an unknown code of age"),
    ("ml-1m", "users.dat", line(2, b"2::F::18::33::1"), "users.dat, line 2: an unknown code of occupation"),
    ("ml-1m", "users.dat", line(2, b"2::X::18::3::1"), "users.dat, line 2: a gender not M or F"),
    ("ml-1m", "users.dat", line(2, b"1::M::18::3::1"), "users.dat, line 1: an id that comes again"),
    ("ml-1m", "movies.dat", line(2, b"2:Jumanji"), "movies.dat, line 2: 1 fields in place of 3"),
]


@pytest.mark.parametrize(("name", "file", "change", "said"), BROKEN)
def test_broken_rows_are_refused_by_their_line(
    tmp_path: Path, name: str, file: str, change: Callable[[bytes], bytes], said: str
) -> None:
    files = (ml_1m if name == "ml-1m" else ml_25m)(RATINGS)
    key = next(path for path in files if path.endswith(file))
    with pytest.raises(InputError) as caught:
        prepare_files(name, tmp_path, files | {key: change(files[key])})
    assert said in str(caught.value) and not (tmp_path / "out").exists()


def test_a_second_rating_of_a_movie_is_broken_and_the_last_one_counts(tmp_path: Path) -> None:
    ratings = [Rating(1, item, 2, item) for item in range(1, 8)]
    again = [*ratings, Rating(1, 3, 5, 3)]
    with pytest.raises(InputError, match="line 4: a movie that its user rates again; of 8 rows 1 is broken"):
        prepare_files("ml-25m", tmp_path, ml_25m(again))
    data = prepare_files("ml-25m", tmp_path, ml_25m(again), skip_bad_rows=True)
    assert data.interactions.ratings().tolist() == [2, 2, 5, 2, 2, 2, 2]


def test_skip_bad_rows_leaves_out_every_kind_and_keeps_the_rest(tmp_path: Path) -> None:
    files = ml_25m(RATINGS)
    extra = b"1,2\nx,1,1,1\n\n1,99,4,1\n3,1,9,1\n"
    key = "ml-25m/ratings.csv"
    header, rest = files[key].split(b"\n", 1)
    data = prepare_files("ml-25m", tmp_path, files | {key: header + b"\n" + extra + rest}, skip_bad_rows=True)
    assert data.manifest["left_out"] == {
        "ratings.csv": {
            "2 fields in place of 4": 1,
            "a rating outside 0.5 to 5": 1,
            "an unknown movie": 1,
            "userId is no whole number": 1,
        }
    }
    assert told(data) == brute_force(RATINGS)


def test_the_first_broken_line_is_right_behind_line_breaks_in_fields_and_empty_lines(tmp_path: Path) -> None:
    files = ml_25m(RATINGS)
    movies = b'\xef\xbb\xbfmovieId,title,genres\n1,"A\nmovie\r\nof lines (1999)",Drama\n\n2,"B ""b"" (1999)",Drama\n'
    movies += b"three,C,Drama\n"
    with pytest.raises(InputError) as caught:
        prepare_files("ml-25m", tmp_path, files | {"ml-25m/movies.csv": movies})
    assert "movies.csv, line 7: movieId is no whole number; of 3 rows 1 is broken" in str(caught.value)


def test_columns_may_stand_in_another_order_with_others_between(tmp_path: Path) -> None:
    files = ml_25m([])
    rows = [b"timestamp,rating,note,movieId,userId", *(b"%d,4,x,%d,1" % (item, item) for item in range(1, 8))]
    data = prepare_files("ml-25m", tmp_path, files | {"ml-25m/ratings.csv": b"\r\n".join(rows)})
    assert data.interactions.item.tolist() == list(range(7)) and data.samples.position.tolist() == [5, 6]
