import csv
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from look_alikes import random_ratings
from pyarrow import parquet
from test_datasets_movielens import brute_force, told

from rella_cpp import (
    DataSet,
    EventColumns,
    FaultsError,
    InputError,
    PrepareOptions,
    Recipe,
    RecordColumns,
    SampleRules,
    prepare,
    read_recipe,
)

RATINGS = random_ratings(3)
EVENTS = [{"uid": r.user, "iid": r.item, "stars": float(r.rating), "when": r.timestamp} for r in RATINGS]
ITEMS = [{"iid": n, "name": f"Film {n}", "year": 1990 + n, "genres": ["Drama", "War"]} for n in range(1, 13)]
COLUMNS = EventColumns("uid", "iid", rating="stars", timestamp="when")
TITLE = RecordColumns("iid", fields={"title": "name"})
RULES = SampleRules(liked_above=3)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        joined = ({k: "|".join(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
        writer.writerows(joined)


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps(list(rows)))


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    parquet.write_table(pa.Table.from_pylist(list(rows)), path)


def write_saved(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from datasets import Dataset

    Dataset.from_list(list(rows)).save_to_disk(str(path))


WRITERS: list[tuple[str, Callable[[Path, Sequence[Mapping[str, Any]]], None]]] = [
    (".csv", write_csv),
    (".tsv", write_csv),
    (".jsonl", write_jsonl),
    (".json", write_json),
    (".parquet", write_parquet),
    ("", write_saved),
]


def make(source: Path, recipe: Recipe, *, skip_bad_rows: bool = False) -> DataSet:
    settings = PrepareOptions(skip_bad_rows, recipe=recipe)
    return prepare("table", source, source.parent / "out", options=settings, force=True)


@pytest.mark.parametrize(("ending", "write"), WRITERS)
def test_every_kind_of_file_gives_what_brute_force_gives(
    tmp_path: Path, ending: str, write: Callable[[Path, Sequence[Mapping[str, Any]]], None]
) -> None:
    write(tmp_path / f"events{ending}", EVENTS)
    write(tmp_path / f"films{ending}", ITEMS)
    items = RecordColumns("iid", f"films{ending}", {"title": "name"})
    data = make(
        tmp_path,
        Recipe("movies", EventColumns("uid", "iid", "stars", "when", file=f"events{ending}"), items, rules=RULES),
    )
    assert told(data) == brute_force(RATINGS)
    assert data.item(1).fields == {"id": "2", "title": "Film 2", "year": 1992, "genres": ["Drama", "War"]}
    assert data.manifest["rules"]["columns"] == {
        **{"user": "uid", "item": "iid", "rating": "stars", "timestamp": "when"}
    }


def test_the_source_may_be_the_file_and_its_rows_may_describe_the_items(tmp_path: Path) -> None:
    named = [row | {"name": f"Film {row['iid']}", "genres": "War|Drama"} for row in EVENTS]
    write_csv(tmp_path / "all.csv", named)
    data = make(tmp_path / "all.csv", Recipe("movies", COLUMNS, RecordColumns(fields={"title": "name"}), rules=RULES))
    assert told(data) == brute_force(RATINGS)
    assert data.item(0).fields == {"id": "1", "title": "Film 1", "genres": ["War", "Drama"]}


def test_the_splits_of_a_saved_dict_are_joined(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    named = [row | {"title": f"Film {row['iid']}"} for row in EVENTS]
    parts = {"train": Dataset.from_list(named[:20]), "test": Dataset.from_list(named[20:])}
    DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    data = make(tmp_path / "saved", Recipe("movies", COLUMNS, rules=RULES))
    assert told(data) == brute_force(RATINGS)


def test_times_may_be_iso_text_and_ids_any_text(tmp_path: Path) -> None:
    rows = [
        {"user": "ann", "item": f"tt{n}", "title": f"T{n}", "rating": 4, "at": f"2024-01-0{n}T00:00:0{n}"}
        for n in (3, 1, 2)
    ]
    rows.append({"user": "bob", "item": "tt1", "title": "T1", "rating": 2, "at": "2024-01-01T01:00:00+01:00"})
    rows.append({"user": "bob", "item": "tt2", "title": "T2", "rating": 2, "at": "1704153600"})
    write_jsonl(tmp_path / "a.jsonl", rows)
    columns = EventColumns(rating="rating", timestamp="at")
    data = make(tmp_path / "a.jsonl", Recipe("movies", columns, rules=SampleRules(liked_from=4, min_history=1)))
    assert [data.user_id(0), data.item_id(2)] == ["ann", "tt3"]
    assert data.interactions.timestamp is not None
    day = 86400
    start = 1704067200  # 2024-01-01, midnight UTC
    assert data.interactions.timestamp.tolist() == [start + 1, start + day + 2, start + 2 * day + 3, start, start + day]
    assert data.samples.label.tolist() == [1, 1, 0]


def test_rows_without_a_rating_stay_in_histories_and_are_no_samples(tmp_path: Path) -> None:
    rows = [{"user": 1, "item": n, "title": f"T{n}", "rating": "" if n % 2 else "5", "t": n} for n in range(1, 9)]
    write_csv(tmp_path / "a.csv", rows)
    columns = EventColumns(rating="rating", timestamp="t")
    data = make(tmp_path / "a.csv", Recipe("movies", columns, rules=SampleRules(liked_from=4)))
    assert data.samples.position.tolist() == [5, 7]
    assert [behavior.rating for behavior in data.history(0, 3)] == [None, 5.0, None]


def test_labels_stand_for_ratings_and_users_may_be_split(tmp_path: Path) -> None:
    rows = [{"user": u, "item": n, "title": f"T{n}", "click": (u + n) % 2} for u in range(10) for n in range(4)]
    write_parquet(tmp_path / "a.parquet", rows)
    rules = SampleRules(min_history=1, split=(8, 1, 1))
    data = make(tmp_path / "a.parquet", Recipe("news", EventColumns(label="click"), rules=rules))
    assert [len(data.samples.rows(name)) for name in ("train", "valid", "test")] == [24, 3, 3]
    assert data.samples.label.tolist() == [(u + n) % 2 for u in range(10) for n in range(1, 4)]
    of_user: dict[int, set[int]] = {int(user): set() for user in data.samples.user}
    for user, split in zip(data.samples.user, data.samples.split, strict=True):
        of_user[int(user)].add(int(split))
    assert all(len(splits) == 1 for splits in of_user.values()) and data.interactions.rating is None


def test_without_ratings_and_labels_the_last_item_is_the_sample(tmp_path: Path) -> None:
    rows = [{"user": u, "item": n, "title": f"T{n}", "t": -n} for u in range(24) for n in range(3)]
    write_csv(tmp_path / "a.csv", rows)
    data = make(tmp_path / "a.csv", Recipe("products", EventColumns(timestamp="t")))
    assert data.samples.label.tolist() == [1] * 24 and set(data.samples.item.tolist()) == {0}  # the latest by time
    assert [len(data.samples.rows(name)) for name in ("train", "valid", "test")] == [20, 2, 2]


def test_users_have_their_fields_and_may_be_unknown(tmp_path: Path) -> None:
    write_csv(tmp_path / "e.csv", [{"user": u, "item": 1, "title": "T"} for u in ("1", "2", "10")])
    write_jsonl(tmp_path / "u.jsonl", [{"user": 10, "age": 33, "job": "nurse"}, {"user": 4, "age": None, "job": " "}])
    users = RecordColumns(file="u.jsonl", fields={"occupation": "job"})
    data = make(tmp_path / "e.csv", Recipe("movies", users=users))
    assert [data.user_id(row) for row in range(4)] == ["1", "2", "4", "10"]
    assert [data.user(row).fields for row in range(4)] == [{}, {}, {}, {"age": 33, "occupation": "nurse"}]


def test_untitled_items_are_left_out_with_their_interactions(tmp_path: Path) -> None:
    write_csv(tmp_path / "e.csv", [{"user": 1, "item": n} for n in (1, 2, 3)])
    write_jsonl(
        tmp_path / "i.jsonl", [{"item": 1, "title": "One"}, {"item": 2, "title": " "}, {"item": 3, "title": "3"}]
    )
    data = make(tmp_path / "e.csv", Recipe("movies", items=RecordColumns(file="i.jsonl")))
    assert [data.item_id(row) for row in range(len(data.items))] == ["1", "3"]
    assert data.manifest["left_out"] == {
        "i.jsonl": {"an empty title": 1},
        "e.csv": {"an item without a required field": 1},
    }


RECIPE = """
domain = "movies"
[interactions]
file = "ratings.csv"
user = "uid"
item = "iid"
rating = "stars"
timestamp = "when"
[items]
file = "items.jsonl"
id = "iid"
title = "name"
[users]
[rules]
liked_above = 3
min_history = 5
split = [8, 1, 1]
by = "time"
"""


def test_a_recipe_says_all_of_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "ratings.csv", EVENTS)
    write_jsonl(tmp_path / "items.jsonl", ITEMS)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    data = make(tmp_path, read_recipe(tmp_path / "recipe.toml"))
    assert told(data) == brute_force(RATINGS)
    assert set(data.manifest["sources"]) == {"ratings.csv", "items.jsonl"}


BAD_RECIPES = [
    ('domian = "movies"', 'domain = "movies"', "unknown key domian; did you mean domain?"),
    ("[rulez]", "[rules]", "unknown key rulez; did you mean rules?"),
    ('ratting = "stars"', 'rating = "stars"', "recipe.toml, [interactions]: unknown key ratting; did you mean rating?"),
    ('titel = "name"', 'title = "name"', "recipe.toml, [items]: unknown key titel; did you mean title?"),
    ("liked_abov = 3", "liked_above = 3", "recipe.toml, [rules]: unknown key liked_abov"),
    ('domain = "films"', 'domain = "movies"', "unknown domain 'films'"),
    ('domain = "news"', 'domain = "movies"', "the domain news has no ratings"),
    ("domain = 3", 'domain = "movies"', "domain is a number ('3'); give text"),
    ("user = 3", 'user = "uid"', "[interactions]: user is a number ('3')"),
    ("title = 3", 'title = "name"', "title is a number ('3')"),
    ("", "liked_above = 3", "which ratings are liked is not said"),
    ("liked_from = 3\nliked_above = 3", "liked_above = 3", "both liked_above and liked_from"),
    ('liked_above = "3"', "liked_above = 3", "liked_above is text ('3'); give a rating"),
    ("liked_above = nan", "liked_above = 3", "liked_above is"),
    ("", 'rating = "stars"', "liked_above and liked_from need ratings"),
    ("min_history = -1", "min_history = 5", "min_history is a number ('-1')"),
    ("split = [8, 1]", "split = [8, 1, 1]", "split is a list ('[8, 1]'); give three whole numbers"),
    ("split = 8", "split = [8, 1, 1]", "split is a number ('8')"),
    ('by = "day"', 'by = "time"', "by is text ('day'); one of time, users"),
    ("items = 3\n[interactions]", "[interactions]", "items is a number ('3')"),
    ("[interactions", "[interactions]", "is no TOML"),
]


@pytest.mark.parametrize(("new", "old", "said"), BAD_RECIPES)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, new: str, old: str, said: str) -> None:
    text = RECIPE.replace(old, new, 1)
    if new.startswith("items = 3"):
        text = text.replace('[items]\nfile = "items.jsonl"\nid = "iid"\ntitle = "name"\n', "")
        text = text.replace("items = 3\n", "").replace('domain = "movies"', 'domain = "movies"\nitems = 3')
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipe(tmp_path / "recipe.toml")
    assert said in str(caught.value) and "recipe.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_faults_of_a_recipe_are_named_at_once(tmp_path: Path) -> None:
    text = 'domian = "movies"\nusers = 3\n[interactions]\nuser = ""\nratting = "stars"\n[items]\ntitle = 3\nid = 4\n'
    (tmp_path / "recipe.toml").write_text(text + '[rules]\nmin_history = -1\nby = "day"\nsplit = [8, 1]\n')
    with pytest.raises(FaultsError) as caught:
        read_recipe(tmp_path / "recipe.toml")
    start = f"{tmp_path / 'recipe.toml'}"
    assert str(caught.value).splitlines() == [
        f"{start}: unknown key domian; did you mean domain?",
        f"{start}: users is a number ('3'); give a table [users]",
        f"{start}, [interactions]: unknown key ratting; did you mean rating?",
        f"{start}, [interactions]: user is text (''); give text",
        f"{start}, [items]: title is a number ('3'); give the name of a column",
        f"{start}, [items]: id is a number ('4'); give text",
        f"{start}, [rules]: min_history is a number ('-1'); give a whole number from 0",
        f"{start}, [rules]: by is text ('day'); one of time, users",
        f"{start}, [rules]: split is a list ('[8, 1]'); give three whole numbers from 0, such as 8, 1, 1: "
        "train, valid, test",
    ]


def test_what_contradicts_itself_in_a_recipe_is_named_at_once(tmp_path: Path) -> None:
    text = 'domain = "news"\n[interactions]\nrating = "stars"\n[items]\ntitel = "name"\n'
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(FaultsError) as caught:
        read_recipe(tmp_path / "recipe.toml")
    said = ("[items]: unknown key titel; did you mean title?", "the domain news has no ratings", "which ratings")
    assert all(each in line for each, line in zip(said, str(caught.value).splitlines(), strict=True))


GOOD = [{"user": 1, "item": n, "title": "T", "rating": 4, "t": n} for n in range(1, 4)]
RATED = Recipe("movies", EventColumns(rating="rating", timestamp="t"), rules=SampleRules(liked_above=3))
BAD_TABLES: list[tuple[str, object, Recipe, str]] = [
    ("a.csv", [*GOOD, GOOD[0] | {"item": 9, "rating": "good"}], RATED, "a.csv, line 5: a rating that is no number"),
    ("a.csv", [*GOOD, GOOD[0] | {"item": 9, "rating": 7}], RATED, "a.csv, line 5: a rating outside 0.5 to 5"),
    (
        "a.csv",
        [*GOOD, GOOD[0] | {"item": 9, "t": "soon"}],
        RATED,
        "a.csv, line 5: 'soon' is no time; of 4 rows 1 is broken",
    ),
    ("a.csv", [*GOOD, GOOD[0] | {"item": ""}], RATED, "a.csv, line 5: an empty item"),
    ("a.csv", [*GOOD, GOOD[0] | {"user": " "}], RATED, "a.csv, line 5: an empty user"),
    ("a.csv", [*GOOD, GOOD[0]], RATED, "a.csv, line 2: an item that comes again with the same user"),
    ("a.jsonl", [*GOOD, GOOD[0] | {"item": 9, "rating": "good"}], RATED, "a.jsonl, line 4: a rating that is no number"),
    ("a.jsonl", "\n" + json.dumps(GOOD[0]) + "\n{oops\n", RATED, "a.jsonl, line 3: is not JSON"),
    ("a.jsonl", json.dumps(GOOD[0]) + "\n[1]\n", RATED, "a.jsonl, line 2: is no object"),
    ("a.jsonl", json.dumps(GOOD[0] | {"rating": [1]}), RATED, "column rating is of the type list"),
    ("a.json", json.dumps([GOOD[0], 3]), RATED, "a.json, row 2: is no object"),
    ("a.json", json.dumps(GOOD[0]), RATED, "; give a list of objects, one for each row"),
    ("a.json", json.dumps(GOOD[0]) + "\n{}", RATED, "a.json, line 2: an empty user"),
    (
        "a.json",
        json.dumps(GOOD)[:-1],
        RATED,
        "line 1, column 177: is not JSON (Expecting ',' delimiter); mend the file",
    ),
    ("a.parquet", [*GOOD, GOOD[0] | {"item": 9, "rating": 7}], RATED, "a.parquet, row 4: a rating outside"),
    ("a.parquet", b"PAR1 no", RATED, "a.parquet: is no whole Parquet file"),
    (
        "a.csv",
        GOOD,
        Recipe("movies", EventColumns("who")),
        "a.csv: has no column who; name others with --user-column, --item-column, …; its columns are user, item, title",
    ),
    ("a.csv", GOOD, Recipe("movies", items=RecordColumns(fields={"title": "name"})), "has no column name"),
    ("a.csv", [{"user": 1, "item": 2}], Recipe(), "has no column title; name the one to take as title"),
    ("a.csv", GOOD, Recipe(rules=SampleRules(by="time")), "a split by time needs times, and ratings or labels"),
    ("a.csv", GOOD, Recipe("movies", EventColumns(label="rating")), "a label not 0 or 1"),
    ("a.xlsx", b"PK", RATED, "a.xlsx: is of no known kind; save the sheet as CSV"),
    ("a.pkl", b"PK", RATED, "a.pkl: is of no known kind; give a file that ends in .csv, .tsv, "),
    ("a.csv", b"", RATED, "a.csv: is empty"),
    ("a.jsonl", b"", RATED, "a.jsonl: has no column user"),
]


@pytest.mark.parametrize(("name", "content", "recipe", "said"), BAD_TABLES)
def test_a_wrong_table_is_refused(tmp_path: Path, name: str, content: object, recipe: Recipe, said: str) -> None:
    path = tmp_path / name
    if isinstance(content, list):
        {".csv": write_csv, ".jsonl": write_jsonl, ".parquet": write_parquet}[path.suffix](path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    with pytest.raises(InputError) as caught:
        make(path, recipe)
    assert said in str(caught.value) and not (tmp_path / "out").exists()


def test_files_that_are_not_there_and_folders_without_a_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        make(tmp_path / "none.csv", Recipe())
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is a folder, and none that"):
        make(tmp_path / "folder", Recipe())
    write_csv(tmp_path / "a.csv", GOOD)
    with pytest.raises(InputError, match=r"items\.csv: no such file"):
        make(tmp_path / "a.csv", Recipe(items=RecordColumns(file="items.csv")))
    write_csv(tmp_path / "i.csv", [{"item": 1, "title": "T"}])
    with pytest.raises(
        InputError,
        match="line 3: an item that the file of items does not have: '2'; its ids are such as '1'; of 3 rows 2",
    ):
        make(tmp_path / "a.csv", Recipe(items=RecordColumns(file="i.csv")))
    data = make(tmp_path / "a.csv", Recipe(items=RecordColumns(file="i.csv")), skip_bad_rows=True)
    assert len(data.interactions.item) == 1


def test_odd_types_of_parquet_are_read(tmp_path: Path) -> None:
    moments = pa.array([1704067200_000, 1704070800_000], pa.timestamp("ms", tz="Europe/Berlin"))
    columns = {
        "user": pa.array([7.0, 8.0]),
        "item": pa.array(["a", "a"]).dictionary_encode(),
        "title": pa.array(["A", "A"], pa.large_string()),
        "rating": pa.array([Decimal(4), Decimal(5)]),
        "t": moments,
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    data = make(tmp_path / "a.parquet", RATED)
    assert [data.user_id(0), data.user_id(1), data.item_id(0)] == ["7", "8", "a"]
    known = data.interactions
    assert known.timestamp is not None and known.timestamp.tolist() == [1704067200, 1704070800]
    assert known.ratings().tolist() == [4, 5]
    parquet.write_table(pa.table(columns | {"t": moments.cast(pa.time32("s"))}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet, row 1: "):
        make(tmp_path / "b.parquet", RATED)


def test_half_a_surrogate_pair_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"user": "\\ud800", "item": 1, "title": "A \\udc00"}\n')
    data = make(tmp_path / "a.jsonl", Recipe())
    assert (data.user_id(0), data.item(0).fields["title"]) == ("?", "A ?")


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder, rows in (("events", GOOD), ("films", [{"item": n, "title": f"T{n}"} for n in range(1, 4)])):
        (tmp_path / folder).mkdir()
        write_csv(tmp_path / folder / "data.csv", rows)
    recipe = Recipe("movies", EventColumns(file="events/data.csv"), RecordColumns(file="films/data.csv"))
    data = prepare("table", tmp_path, tmp_path / "out", options=PrepareOptions(recipe=recipe))
    sources = data.manifest["sources"]
    assert isinstance(sources, dict) and set(sources) == {"events/data.csv", "films/data.csv"}
