"""The real files, as users download them: RELLA_TEST_DATA names the folder of the archives."""

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from look_alikes import write_large_ml_25m

from rella_cpp import DataSet, PrepareOptions, prepare


def real(name: str) -> Path:
    folder = os.environ.get("RELLA_TEST_DATA")
    if not folder:
        pytest.skip("RELLA_TEST_DATA names no folder of real data sets")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def sizes(data: DataSet) -> list[int]:
    return [len(data.samples.rows(name)) for name in ("train", "valid", "test")]


def test_ml_1m_has_the_papers_counts(tmp_path: Path) -> None:
    source = real("ml-1m.zip")
    data = prepare("ml-1m", source, tmp_path / "out")
    assert (len(data.users), len(data.items), len(data.interactions.item)) == (6040, 3883, 1_000_209)
    assert len(data.samples.user) == 970_009 and sizes(data) == [776_007, 97_000, 97_002]
    assert len(set(data.interactions.item.tolist())) == 3706
    assert data.manifest["left_out"] == {}


def test_ml_1m_takes_the_overviews_of_its_movies(tmp_path: Path) -> None:
    source, texts = real("ml-1m.zip"), real("ml-1m-overviews.zip")
    data = prepare("ml-1m", source, tmp_path / "out", options=PrepareOptions(texts=texts))
    there = data.items["overview"].is_valid().to_numpy()
    # 3,799 rows have a text, seven of them only to say that there is none.
    assert there.sum() == 3792 and data.manifest["rules"]["texts"] == {"overview": "3,792 of 3,883 items"}
    assert data.manifest["left_out"] == {
        "items.jsonl": {"an empty overview": 84, '"No overview found" and the like': 7}
    }
    assert round(100 * there[data.interactions.item].mean(), 2) == 99.63
    plain = prepare("ml-1m", source, tmp_path / "plain")
    assert data.items.drop_columns(["overview"]) == plain.items and "texts" not in plain.manifest["rules"]
    unchanged = ("users.parquet", "interactions.parquet", "samples.parquet")
    assert all(data.manifest["files"][name] == plain.manifest["files"][name] for name in unchanged)


def test_ml_latest_small_matches_brute_force(tmp_path: Path) -> None:
    source = real("ml-latest-small.zip")
    data = prepare("ml-25m", source, tmp_path / "out")
    assert (len(data.users), len(data.items), len(data.interactions.item)) == (610, 9742, 100_836)
    assert sizes(data) == [78_228, 9_778, 9_780]
    with zipfile.ZipFile(source) as archive:
        text = archive.read("ml-latest-small/ratings.csv").decode()
    rows = [
        (int(r["userId"]), int(r["timestamp"]), int(r["movieId"]), float(r["rating"]))
        for r in csv.DictReader(io.StringIO(text))
    ]
    rows.sort()
    seen: Counter[int] = Counter()
    samples = []
    for user, moment, movie, rating in rows:
        if seen[user] >= 5:
            samples.append((moment, user, movie, seen[user], int(rating > 3)))
        seen[user] += 1
    samples.sort()
    assert len(samples) == 97_786
    wanted = {(u, m): (p, label, (at >= 78_228) + (at >= 88_006)) for at, (_, u, m, p, label) in enumerate(samples)}
    known = data.samples
    for user, position, item, label, split in zip(
        known.user.tolist(), known.position.tolist(), known.item.tolist(), known.label, known.split, strict=True
    ):
        assert wanted[int(data.user_id(user)), int(data.item_id(item))] == (position, label, split)


def test_bookcrossing_has_the_papers_counts(tmp_path: Path) -> None:
    data = prepare("bookcrossing", real("BX-CSV-Dump.zip"), tmp_path / "out")
    assert (len(data.users), len(data.items)) == (278_858, 271_379)
    # Of 1,149,780 ratings 118,605 are of books not described: without them the paper's filter gives its counts.
    assert data.manifest["left_out"] == {"BX-Book-Ratings.csv": {"a book that BX-Books.csv does not describe": 118_605}}
    assert len(data.interactions.item) == 1_031_175 and sizes(data) == [15_942, 0, 1_772]
    repaired = data.manifest["repaired"]
    assert isinstance(repaired, dict) and repaired["HTML entities read"] == 21_371 + 40  # &amp; and &lt;
    by_id = {data.user_id(row): row for row in range(len(data.users))}
    assert data.user(by_id["275081"]).fields["location"] == "cernusco s, milan, italy"
    title = next(data.item(row) for row in range(len(data.items)) if data.item_id(row) == "0195153448")
    assert title.fields == {
        **{"id": "0195153448", "title": "Classical Mythology", "author": "Mark P. O. Morford"},
        **{"publisher": "Oxford University Press", "year": 2002},
    }


def test_bookcrossing_without_its_zeros_is_much_smaller(tmp_path: Path) -> None:
    options = PrepareOptions(explicit_only=True, valid=0.1)
    data = prepare("bookcrossing", real("BX-CSV-Dump.zip"), tmp_path / "out", options=options)
    assert len(data.interactions.item) == 383_852 and sizes(data) == [8_735, 970, 1_079]


def test_amazon_scientific_is_split_ten_one_one(tmp_path: Path) -> None:
    data = prepare("amazon", real("amazon-scientific.zip"), tmp_path / "out")
    assert (len(data.users), len(data.items), len(data.interactions.item)) == (8317, 4344, 58_492)
    assert sizes(data) == [6930, 693, 694] and data.samples.label.all()
    lengths = (data.interactions.starts[1:] - data.interactions.starts[:-1]).tolist()
    assert (min(lengths), max(lengths)) == (5, 78)
    long = [text for text in data.items["description"].to_pylist() if text and len(text) > 20]
    assert len(long) == 3886


@pytest.mark.parametrize(
    "size",
    [
        {"ratings": 20_000, "users": 300, "movies": 997},
        pytest.param(
            {"ratings": 25_000_095, "users": 162_541, "movies": 62_423},
            marks=pytest.mark.skipif(
                not os.environ.get("RELLA_TEST_LARGE"), reason="takes a minute and 3 GB: set RELLA_TEST_LARGE"
            ),
        ),
    ],
)
def test_a_set_of_the_size_of_ml_25m_fits(tmp_path: Path, size: dict[str, int]) -> None:
    source = write_large_ml_25m(tmp_path / "large.zip", **size)
    code = (
        "import json, resource, sys\nfrom rella_cpp import prepare\n"
        "data = prepare('ml-25m', sys.argv[1], sys.argv[2])\n"
        "used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform == 'linux' else 1024)\n"
        "print(json.dumps([used, data.manifest['counts'], data.manifest['left_out']]))"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kib, counts, left_out = json.loads(done.stdout)
    assert kib < 6 << 20, kib
    assert (counts["interactions"], counts["users"], left_out) == (size["ratings"], size["users"], {})
    # Every user has 20 ratings or more, so five of each are no samples.
    samples = size["ratings"] - 5 * size["users"]
    train, valid = samples * 8 // 10, samples // 10
    assert counts["samples"] == {"train": train, "valid": valid, "test": samples - train - valid}
