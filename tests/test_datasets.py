import json
import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from look_alikes import Rating, amazon, bookcrossing, ml_1m, ml_25m, random_ratings, write_files

from rella_cpp import DataSet, InputError, PrepareOptions, prepare, summarize
from rella_cpp.datasets import layout

RATINGS = random_ratings()


@pytest.fixture
def prepared(tmp_path: Path) -> DataSet:
    return prepare("ml-25m", write_files(tmp_path / "small.zip", ml_25m(RATINGS)), tmp_path / "out")


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_history_is_the_slice_before_the_target(prepared: DataSet) -> None:
    # By hand from the source: the same user's ratings in the order of time, then movie.
    samples = prepared.samples
    for row in range(len(samples.user)):
        user, position = int(samples.user[row]), int(samples.position[row])
        own = sorted((r.timestamp, r.item, r.rating) for r in RATINGS if str(r.user) == prepared.user_id(user))
        history = prepared.history(user, position)
        told = [(b.timestamp, int(str(b.item.fields["id"])), b.rating) for b in history]
        assert told == own[:position] and len(history) >= 5
        assert own[position][1] == int(prepared.item_id(int(samples.item[row])))
        assert samples.label[row] == (own[position][2] > 3)


def test_samples_and_interactions_have_their_types(prepared: DataSet) -> None:
    samples, known = prepared.samples, prepared.interactions
    kinds = [getattr(samples, name).dtype.name for name in ("user", "position", "item", "label", "split")]
    assert kinds == ["int32", "int32", "int32", "int8", "uint8"]
    assert known.rating is not None and known.timestamp is not None
    assert [a.dtype.name for a in (known.item, known.rating, known.timestamp, known.starts)] == [
        *("int32", "float32", "int64", "int64")
    ]
    assert len(known.starts) == len(prepared.users) + 1 and known.starts[-1] == len(RATINGS)
    assert sorted(np.concatenate([samples.rows(name) for name in layout.SPLITS])) == list(range(len(samples.user)))
    with pytest.raises(InputError, match="split is 'dev'"):
        samples.rows("dev")


def test_records_have_no_nulls_and_items_come_from_memory(prepared: DataSet) -> None:
    last = prepared.item(len(prepared.items) - 1)
    assert last.fields == {"id": "12", "title": "Babylon 5"}
    assert prepared.item(len(prepared.items) - 1) is last
    assert prepared.user(0).fields == {}
    assert prepared.item(0).fields == {"id": "1", "title": "The Matrix", "year": 1999, "genres": ["Comedy", "Drama"]}
    assert (prepared.name, prepared.domain) == ("ml-25m", "movies")


def test_preparing_twice_gives_the_same_bytes_from_a_zip_or_a_folder(tmp_path: Path) -> None:
    files = ml_1m(RATINGS)
    sources = {
        "zip": write_files(tmp_path / "a.zip", files),
        "flat": write_files(tmp_path / "flat.zip", ml_1m(RATINGS, folder="")),
        "folder": write_files(tmp_path / "unpacked", files),
        "inner": tmp_path / "unpacked/ml-1m",
    }
    outs = [prepare("ml-1m", source, tmp_path / f"out-{name}") for name, source in sources.items()]
    assert all(tables(out.folder) == tables(outs[0].folder) for out in outs)
    assert len({out.fingerprint for out in outs}) == 1


def test_an_output_that_is_there_is_kept_without_force(tmp_path: Path) -> None:
    source = write_files(tmp_path / "a.zip", ml_25m(RATINGS))
    first = prepare("ml-25m", source, tmp_path / "out")
    with pytest.raises(InputError, match="is there already; .*--force"):
        prepare("ml-25m", source, tmp_path / "out")
    fewer = write_files(tmp_path / "b.zip", ml_25m(RATINGS[:-1]))
    second = prepare("ml-25m", fewer, tmp_path / "out", force=True)
    assert second.fingerprint != first.fingerprint and sorted(p.name for p in tmp_path.iterdir()) == [
        *("a.zip", "b.zip", "out")
    ]
    other = write_files(tmp_path / "photos", {"cat.jpg": b"cat"})
    with pytest.raises(InputError, match="no prepared data set: it is not overwritten"):
        prepare("ml-25m", source, other, force=True)
    assert (other / "cat.jpg").exists()


def test_a_killed_run_leaves_nothing_that_looks_finished_and_runs_again(tmp_path: Path) -> None:
    source = write_files(tmp_path / "a.zip", ml_25m(RATINGS))
    # The process dies, without any clean-up, when half of the tables are written.
    code = (
        "import os, sys\nfrom rella_cpp import prepare\n"
        "def die(task, done, total):\n    if task == 'writing tables' and done == 2: os._exit(9)\n"
        "prepare('ml-25m', sys.argv[1], sys.argv[2], progress=die)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(source), str(tmp_path / "out")], check=False)
    assert done.returncode == 9
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".out.rella-lock", ".out.rella-part", "a.zip"]
    assert not (tmp_path / ".out.rella-part/manifest.json").exists()
    prepare("ml-25m", source, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_an_interrupted_run_cleans_up(tmp_path: Path) -> None:
    def interrupt(task: str, done: int, _total: int) -> None:
        if task == "writing tables" and done == 3:
            raise KeyboardInterrupt

    source = write_files(tmp_path / "a.zip", ml_25m(RATINGS))
    with pytest.raises(KeyboardInterrupt):
        prepare("ml-25m", source, tmp_path / "out", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_the_manifest_says_rules_counts_and_digests(prepared: DataSet, tmp_path: Path) -> None:
    manifest = json.loads((prepared.folder / "manifest.json").read_text())
    assert manifest["rules"]["liked_above"] == 3 and manifest["rules"]["split_shares"] == [8, 1, 1]
    assert set(manifest["files"]) == set(layout.TABLES) and set(manifest["sources"]) == {"ratings.csv", "movies.csv"}
    assert sum(manifest["counts"]["samples"].values()) == len(prepared.samples.user)
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_summary_counts_what_brute_force_counts(prepared: DataSet) -> None:
    found = summarize(prepared)
    assert found.ratings == {str(n): sum(r.rating == n for r in RATINGS) for n in range(1, 6)}
    assert sum(part.samples for part in found.lengths) == sum(part.samples for part in found.splits)
    lengths = [len(prepared.history(int(u), int(p))) for u, p in zip(*_pairs(prepared), strict=True)]
    assert (found.history["least"], found.history["greatest"]) == (min(lengths), max(lengths))
    for split in found.splits:
        labels = prepared.samples.label[prepared.samples.rows(split.name)]
        assert split.label_rate == (labels.mean() if len(labels) else None)


def _pairs(data: DataSet) -> tuple[list[int], list[int]]:
    return data.samples.user.tolist(), data.samples.position.tolist()


def test_a_set_without_samples_is_summed_up_too(tmp_path: Path) -> None:
    few = [Rating(1, item, 4, item) for item in (1, 2)]
    found = summarize(prepare("ml-25m", write_files(tmp_path / "a.zip", ml_25m(few)), tmp_path / "out"))
    assert found.lengths == () and [split.label_rate for split in found.splits] == [None] * 3


def damage(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return act


def flipped(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


DAMAGED: list[tuple[Callable[[Path], None], str]] = [
    (lambda folder: (folder / "manifest.json").unlink(), "out: is no prepared data set; make one: rella data prepare"),
    (damage("manifest.json", lambda data: data[:50]), "manifest.json: is damaged"),
    (damage("manifest.json", lambda data: b"[]"), "manifest.json: is damaged (it is no JSON object)"),
    (damage("manifest.json", lambda data: data.replace(b'"rella_data": 1', b'"rella_data": 9')), "is of version 9"),
    (
        damage("manifest.json", lambda data: b'{"rella_data": 1}'),
        "manifest.json: is damaged (its contents",
    ),
    (lambda folder: (folder / "samples.parquet").unlink(), "samples.parquet: no such file"),
    (damage("items.parquet", lambda data: data[:-9]), "items.parquet: is not as it was written"),
    (damage("interactions.parquet", flipped), "interactions.parquet: is not as it was written"),
]


@pytest.mark.parametrize(("act", "said"), DAMAGED)
def test_a_damaged_data_set_is_refused(prepared: DataSet, act: Callable[[Path], None], said: str) -> None:
    act(prepared.folder)
    with pytest.raises(InputError) as caught:
        DataSet.open(prepared.folder)
    assert said in str(caught.value)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        DataSet.open(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is no folder"):
        DataSet.open(tmp_path / "file")


def test_what_is_no_source_is_refused_by_name(tmp_path: Path) -> None:
    good = write_files(tmp_path / "good.zip", ml_25m(RATINGS))
    whole = good.read_bytes()
    middle = len(whole) // 4
    sources = {
        "cut.zip": (whole[:-200], "cut.zip: is a zip archive cut short or damaged"),
        "flipped.zip": (
            whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
            "ratings.csv in it is damaged",
        ),
        "text.zip": (b"not found", "is neither a zip archive nor a folder"),
        "empty.zip": (b"", "is neither a zip archive nor a folder"),
    }
    for name, (data, said) in sources.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=said):
            prepare("ml-25m", tmp_path / name, tmp_path / "out")
    with pytest.raises(InputError, match="no such file or folder"):
        prepare("ml-25m", tmp_path / "none.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


FOREIGN = [
    ("ml-1m", ml_25m(RATINGS), "does not hold ratings.dat, movies.dat and users.dat; it looks like ml-25m: rella data"),
    ("ml-25m", ml_1m(RATINGS), "it looks like ml-1m"),
    ("amazon", bookcrossing([], ["1"]), "it looks like bookcrossing"),
    ("bookcrossing", amazon({"1": [0]}, 2), "it looks like amazon"),
    ("ml-1m", {"m/ratings.dat": b"", "m/movies.dat": b"", "m/tags.dat": b""}, "looks like ml-10m: there is no format"),
    ("ml-25m", {"readme.txt": b"hello"}, "give the archive as downloaded"),
    ("ml-25m", {"a/ratings.csv": b"", "b/movies.csv": b""}, "does not hold ratings.csv and movies.csv"),
]


@pytest.mark.parametrize(("name", "files", "said"), FOREIGN)
def test_another_data_set_is_told(tmp_path: Path, name: str, files: dict[str, bytes], said: str) -> None:
    with pytest.raises(InputError) as caught:
        prepare(name, write_files(tmp_path / "a.zip", files), tmp_path / "out")
    assert said in str(caught.value) and "a.zip" in str(caught.value)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = write_files(tmp_path / "a.zip", ml_25m(RATINGS))
    data = bytearray(path.read_bytes())
    for at in range(len(data) - 4):  # the flag of encryption, in the local headers and in the directory
        if data[at : at + 4] == b"PK\x03\x04":
            data[at + 6] |= 1
        elif data[at : at + 4] == b"PK\x01\x02":
            data[at + 8] |= 1
    path.write_bytes(bytes(data))
    with zipfile.ZipFile(path) as archive, pytest.raises(RuntimeError):
        archive.read("ml-25m/ratings.csv")
    with pytest.raises(InputError, match="damaged .*encrypted"):
        prepare("ml-25m", path, tmp_path / "out")


OPTIONS = [
    ({"valid": 1.0}, "ml-25m", "valid is 1.0"),
    ({"valid": float("nan")}, "ml-25m", "valid is nan"),
    ({"valid": True}, "ml-25m", "valid is True"),
    ({"seed": -1}, "ml-25m", "seed is -1"),
    ({"seed": 2**70}, "ml-25m", "seed is"),
    ({"valid": 0.1}, "ml-25m", "--valid is for bookcrossing"),
    ({"explicit_only": True}, "amazon", "--explicit-only is for bookcrossing"),
    ({}, "table", "the format table needs a recipe"),
    ({}, "ml-1", "unknown format 'ml-1'; did you mean ml-1m?"),
    ({}, "nothing", "there are ml-1m, ml-25m, bookcrossing, amazon, table"),
]


@pytest.mark.parametrize(("settings", "name", "said"), OPTIONS)
def test_options_are_checked_before_any_file(tmp_path: Path, settings: dict[str, object], name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        prepare(name, tmp_path / "none", tmp_path / "out", options=PrepareOptions(**settings))  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_broken_rows_below_one_in_a_thousand_are_left_out_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    many = [Rating(user, item, 4, user * item) for user in range(1, 151) for item in range(1, 13)]
    files = ml_25m(many)
    lines = files["ml-25m/ratings.csv"].split(b"\n")
    lines.insert(9, b"1,2,4")
    files["ml-25m/ratings.csv"] = b"\n".join(lines)
    with caplog.at_level(logging.WARNING, "rella_cpp"):
        data = prepare("ml-25m", write_files(tmp_path / "a.zip", files), tmp_path / "out")
    assert data.manifest["left_out"] == {"ratings.csv": {"3 fields in place of 4": 1}}
    assert len(data.interactions.item) == 1800
    said = "ratings.csv, line 10: 3 fields in place of 4; of 1,801 rows 1 is broken; left out"
    assert [record.getMessage() for record in caplog.records] == [said]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = write_files(tmp_path / "a.zip", ml_25m(RATINGS))
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match="locked"):
        prepare("ml-25m", source, tmp_path / "locked/out")


def test_progress_tells_what_is_read(tmp_path: Path) -> None:
    tasks: dict[str, int] = {}
    source = write_files(tmp_path / "a.zip", ml_25m(RATINGS))
    prepare("ml-25m", source, tmp_path / "out", progress=lambda task, done, total: tasks.update({task: total}))
    assert list(tasks) == [
        *(f"checking {name}, MiB" for name in ("ratings.csv", "movies.csv")),
        *(f"reading {name}, MiB" for name in ("movies.csv", "ratings.csv")),
        "writing tables",
    ]


def test_ratings_of_many_values_are_counted_in_ten_spans(prepared: DataSet) -> None:
    known = prepared.interactions
    wide = np.linspace(1, 100, len(known.item)).astype(np.float32)
    prepared.__dict__["interactions"] = replace(known, rating=wide)
    ratings = summarize(prepared).ratings
    assert ratings is not None and len(ratings) == 10 and sum(ratings.values()) == len(known.item)
    assert next(iter(ratings)) == "1 to 10.9"
