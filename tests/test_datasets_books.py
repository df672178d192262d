import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from look_alikes import amazon, bookcrossing, write_files

from rella_cpp import DataSet, InputError, PrepareOptions, prepare

BOOKS = ["0345", "B00", "034X", "0346", "0347", "0348", "0349", "0350"]
# Users 1 to 6 have more than 5 books, user 7 has exactly 5; user 8 has more only with what is not described.
RATINGS = [
    *(
        (user, book, (user * 3 + at * 2) % 11)
        for user in range(1, 7)
        for at, book in enumerate(BOOKS[: 5 + user % 3 + 1])
    ),
    *((7, book, 9) for book in BOOKS[:5]),
    *((8, book, 9) for book in [*BOOKS[:5], "no such book", "nor this"]),
]


def books(folder: Path, ratings: Sequence[tuple[int, str, int]] = RATINGS, **options: object) -> DataSet:
    source = write_files(folder / "books", bookcrossing(ratings, BOOKS))
    return prepare("bookcrossing", source, folder / "out", options=PrepareOptions(**options), force=True)  # type: ignore[arg-type]


def test_books_and_people_have_their_quirks_mended(tmp_path: Path) -> None:
    data = books(tmp_path)
    fields = {data.item_id(row): data.item(row).fields for row in range(len(data.items))}
    assert list(fields) == sorted(BOOKS)
    assert fields["0345"] == {
        "id": "0345",
        "title": '"Weiß" \\; and so on',
        "author": "A; B",
        "publisher": "Simon & Schuster",
    }
    assert fields["B00"] == {"id": "B00", "title": "Peter's book", "author": "Müller", "publisher": "Tor"}
    assert fields["034X"] == {"id": "034X", "title": "Plain", "year": 1999}
    people = [data.user(row).fields for row in range(3)]
    assert people[0] == {"location": "cernusco s, milan, italy"}
    assert people[1] == {"location": "dublin, ireland"}
    assert people[2] == {"location": "town 3, usa", "age": "23"}
    assert data.manifest["repaired"] == {
        "HTML entities read": 2,
        "ages outside 5 to 100, now absent": 1,
        "places given as n/a, now absent": 1,
        "years outside 1450 to 2005, now absent": 2,
    }
    assert data.manifest["left_out"] == {"BX-Book-Ratings.csv": {"a book that BX-Books.csv does not describe": 2}}


def check_one_sample_a_user(data: DataSet, ratings: Sequence[tuple[int, str, int]]) -> None:
    described = [entry for entry in ratings if entry[1] in BOOKS]
    counts = Counter(user for user, _, _ in described)
    samples = data.samples
    assert [int(data.user_id(int(u))) for u in samples.user] == sorted(u for u, n in counts.items() if n > 5)
    for row, user in enumerate(samples.user.tolist()):
        own = [(isbn, float(rating)) for name, isbn, rating in described if str(name) == data.user_id(user)]
        target = data.item_id(int(samples.item[row]))
        history = [(b.item.fields["id"], b.rating) for b in data.history(user, int(samples.position[row]))]
        assert history == [entry for entry in own if entry[0] != target] and len(history) == len(own) - 1
        assert samples.label[row] == (dict(own)[target] >= 5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.sets(st.tuples(st.integers(1, 9), st.sampled_from([*BOOKS, "unknown"])), min_size=1),
    dice=st.randoms(use_true_random=False),
)
def test_one_sample_a_user_with_the_others_in_the_files_order(
    tmp_path: Path, pairs: set[tuple[int, str]], dice: "object"
) -> None:
    ratings = [(user, isbn, dice.randint(0, 10)) for user, isbn in sorted(pairs)]  # type: ignore[attr-defined]
    dice.shuffle(ratings)  # type: ignore[attr-defined]
    check_one_sample_a_user(books(tmp_path, ratings), ratings)


def test_splits_are_nine_to_one_and_drawn_by_the_seed(tmp_path: Path) -> None:
    many = [(user, book, 7) for user in range(1, 61) for book in BOOKS]
    source = write_files(tmp_path / "many", bookcrossing(many, BOOKS, users=60))

    def drawn(seed: int, valid: float = 0.0) -> DataSet:
        options = PrepareOptions(seed=seed, valid=valid)
        return prepare("bookcrossing", source, tmp_path / "out", options=options, force=True)

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    data = drawn(0)
    item, split = data.samples.item.copy(), data.samples.split.copy()
    assert [len(data.samples.rows(name)) for name in ("train", "valid", "test")] == [54, 0, 6]
    held = drawn(0, valid=0.1)
    # What becomes valid comes out of train; targets and the test split stay as they were.
    assert [len(held.samples.rows(name)) for name in ("train", "valid", "test")] == [49, 5, 6]
    assert (held.samples.item == item).all() and ((held.samples.split == 2) == (split == 2)).all()
    moved = drawn(1)
    assert (moved.samples.item != item).any() and (moved.samples.split != split).any()
    assert len(set(item.tolist())) > 4  # the target is drawn, not the first or the last


def test_explicit_only_leaves_zeros_out_before_the_filter(tmp_path: Path) -> None:
    ratings = [(1, book, 0 if at < 2 else 8) for at, book in enumerate(BOOKS)]
    ratings += [(2, book, 0 if at < 3 else 8) for at, book in enumerate(BOOKS)]
    assert len(books(tmp_path, ratings).samples.user) == 2
    data = books(tmp_path, ratings, explicit_only=True)
    assert [data.user_id(int(user)) for user in data.samples.user] == ["1"]
    assert data.samples.position.tolist() == [5] and 0 not in data.interactions.ratings()
    assert data.manifest["left_out"] == {
        "BX-Book-Ratings.csv": {"a book that BX-Books.csv does not describe": 0, "an implicit zero": 5}
    }
    assert data.manifest["rules"]["implicit_zeros"] == "left out"


BROKEN: list[tuple[str, bytes, bytes, str]] = [
    ("BX-Book-Ratings.csv", b'"7";"0345";"9"', b'"7";"0345"', "line 44: 2 fields in place of 3"),
    ("BX-Book-Ratings.csv", b'"7";"0345";"9"', b'"7";"0345";"11"', "line 44: a rating outside 0 to 10"),
    ("BX-Book-Ratings.csv", b'"7";"0345";"9"', b'"77";"0345";"9"', "line 44: an unknown user"),
    ("BX-Book-Ratings.csv", b'"7";"0345";"9"', b'"7";"";"9"', "line 44: an empty ISBN"),
    ("BX-Book-Ratings.csv", b'"7";"0345";"9"', b'"7";"B00";"9"', "line 44: a book that its user rates again"),
    ("BX-Books.csv", b'"B00"', b'"0345"', "line 2: a book that comes again"),
    ("BX-Books.csv", b'"Plain"', b'" "', "line 4: an empty title"),
    ("BX-Users.csv", b'"3";"town 3, usa"', b'"3"', "BX-Users.csv, line 5: 2 fields in place of 3"),
    ("BX-Users.csv", b'"4";', b'"3";', "line 5: a user that comes again"),
    ("BX-Users.csv", b'"Age"', b'"Years"', "has no column Age; its columns are User-ID, Location, Years"),
]


@pytest.mark.parametrize(("file", "old", "new", "said"), BROKEN)
def test_broken_rows_of_books_are_refused_by_their_line(
    tmp_path: Path, file: str, old: bytes, new: bytes, said: str
) -> None:
    files = bookcrossing(RATINGS, BOOKS)
    assert files[file].count(old) == 1
    source = write_files(tmp_path / "books.zip", files | {file: files[file].replace(old, new)})
    with pytest.raises(InputError) as caught:
        prepare("bookcrossing", source, tmp_path / "out")
    assert said in str(caught.value)


HISTORIES = {"10": [0, 1, 2], "9": [3, 1], "2": [4], "1": [], "3": [2, 0, 5, 1]}


def products(folder: Path, files: dict[str, bytes], skip_bad_rows: bool = False) -> DataSet:
    source = write_files(folder / "amazon", files)
    return prepare("amazon", source, folder / "out", options=PrepareOptions(skip_bad_rows), force=True)


def test_the_last_item_of_a_user_is_the_sample(tmp_path: Path) -> None:
    data = products(tmp_path, amazon(HISTORIES, 6))
    assert [data.user_id(row) for row in range(5)] == ["1", "2", "3", "9", "10"]
    told = {
        data.user_id(int(u)): [*(b.item.fields["id"] for b in data.history(int(u), int(p))), data.item_id(int(i))]
        for u, p, i in zip(data.samples.user, data.samples.position, data.samples.item, strict=True)
    }
    assert told == {user: [str(n) for n in items] for user, items in HISTORIES.items() if len(items) > 1}
    assert data.samples.label.tolist() == [1, 1, 1] and data.domain == "products"
    assert (data.interactions.rating, data.interactions.timestamp) == (None, None)
    assert data.history(4, 1)[0].rating is None
    assert data.item(1).fields == {
        "id": "1",
        "title": "Staple 1",
        "description": "Good & sharp.",
        "categories": ["Industrial & Scientific", "Tapes, Adhesives & Sealants", "Staples"],
    }


def test_users_are_split_ten_one_one(tmp_path: Path) -> None:
    data = products(tmp_path, amazon({str(n): [0, 1] for n in range(49)}, 2))
    assert [len(data.samples.rows(name)) for name in ("train", "valid", "test")] == [40, 4, 5]


def test_items_without_a_title_are_left_out_with_what_was_done_to_them(tmp_path: Path) -> None:
    data = products(tmp_path, amazon(HISTORIES, 6, untitled=[1]))
    assert data.manifest["left_out"] == {
        "Tiny.item.json": {"an empty title": 1},
        "Tiny.inter.json": {"an item without a title": 3},
    }
    assert [data.item_id(row) for row in range(5)] == ["0", "2", "3", "4", "5"] and len(data.interactions.item) == 7


def entry(file: str, change: Callable[[dict[str, object]], object]) -> dict[str, bytes]:
    files = amazon(HISTORIES, 6)
    value = json.loads(files[f"amazon/Tiny.{file}.json"])
    return files | {f"amazon/Tiny.{file}.json": json.dumps(change(value)).encode()}


SHAPES = [
    (entry("inter", lambda v: v | {"9": [3, 77]}), "Tiny.inter.json, user '9': an item that is not described"),
    (entry("inter", lambda v: v | {"9": [3, 3]}), "user '9': an item that comes again"),
    (entry("inter", lambda v: v | {"9": 3}), "Tiny.inter.json: '9' is a number ('3'); give an object: user"),
    (entry("inter", lambda v: v | {"9": [None]}), "'9' is a list"),
    (entry("inter", lambda v: [v]), "Tiny.inter.json: is a list"),
    (entry("inter", lambda v: {}), "Tiny.inter.json: holds nothing"),
    (entry("inter", lambda v: {"1": []}), "Tiny.inter.json: holds no rows"),
    (entry("item", lambda v: v | {"0": "Staple"}), "Tiny.item.json: '0' is text"),
    (entry("item", lambda v: v | {"0": {"title": 5}}), "Tiny.item.json, item '0': title is a number ('5'); give text"),
    (amazon(HISTORIES, 6) | {"amazon/Tiny.item.json": b'{"0": {"tit'}, "Tiny.item.json: is not JSON"),
    (amazon(HISTORIES, 6) | {"amazon/Tiny.item.json": b"\xff\xfe{"}, "Tiny.item.json: is not JSON"),
]


@pytest.mark.parametrize(("files", "said"), SHAPES)
def test_products_of_another_shape_are_refused(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    with pytest.raises(InputError) as caught:
        products(tmp_path, files)
    assert said in str(caught.value)


def test_half_a_surrogate_pair_does_no_harm(tmp_path: Path) -> None:
    files = amazon(HISTORIES, 6)
    odd = files["amazon/Tiny.inter.json"].replace(b'"9"', b'"9\\ud800"')
    data = products(tmp_path, files | {"amazon/Tiny.inter.json": odd})
    assert "9?" in data.users["id"].to_pylist()


def test_what_is_not_described_may_be_skipped(tmp_path: Path) -> None:
    data = products(tmp_path, entry("inter", lambda v: v | {"9": [3, 77, 1]}), skip_bad_rows=True)
    assert data.manifest["left_out"] == {"Tiny.inter.json": {"an item that is not described": 1}}
    assert len(data.interactions.item) == 10


def test_two_sets_of_products_in_one_folder_are_refused(tmp_path: Path) -> None:
    files = amazon(HISTORIES, 6)
    with pytest.raises(InputError, match=r"holds several \*\.item\.json: Other\.item\.json and Tiny\.item\.json"):
        products(tmp_path, files | {"amazon/Other.item.json": b"{}"})
