import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_model import write_model

from rella_cpp import Cache, InputError

VECTOR = np.array([1.5, -2, 1e-30], dtype=np.float32)


def test_vectors_come_back_to_the_bit_by_model_and_text(own_cache: Path) -> None:
    with Cache.default() as cache:
        cache.add_vectors("m1", {"Heat": VECTOR})
    with Cache(own_cache) as cache:
        assert list(cache.vectors("m1", ["Heat", "Alien"], 3)) == ["Heat"]
        np.testing.assert_array_equal(cache.vectors("m1", ["Heat"], 3)["Heat"], VECTOR)
        assert cache.vectors("m2", ["Heat"], 3) == {}


def test_only_its_user_may_read_the_cache_and_texts_are_not_in_it(own_cache: Path) -> None:
    with Cache.default() as cache:
        cache.add_vectors("m", {"A very secret film": VECTOR})
        assert own_cache.stat().st_mode & 0o777 == 0o700
        for file in own_cache.iterdir():
            assert file.stat().st_mode & 0o077 == 0
            assert b"secret" not in file.read_bytes()


@pytest.mark.parametrize("blob", [b"", b"abc", b"\0" * 12, b"\xff" * 12, b"\0" * 16, "text", 5])
def test_a_damaged_vector_counts_as_not_known(own_cache: Path, blob: object) -> None:
    with Cache.default() as cache:
        cache.add_vectors("m", {"a": VECTOR})
    with sqlite3.connect(own_cache / "rella.sqlite") as database:
        database.execute("UPDATE vectors SET vector = ?", (blob,))
    database.close()
    with Cache.default() as cache:
        assert cache.vectors("m", ["a"], 3) == {}


def test_clearing_forgets_and_counts(own_cache: Path) -> None:
    with Cache.default() as cache:
        cache.add_vectors("m", {"a": VECTOR, "b": VECTOR})
        assert cache.info().vectors == 2 and cache.info().models == 1 and cache.info().bytes > 0
        cache.clear()
        assert cache.info().vectors == 0
        assert cache.info().folder == str(own_cache)


def test_a_cache_in_memory_leaves_nothing(own_cache: Path) -> None:
    with Cache(None) as cache:
        cache.add_vectors("m", {"a": VECTOR})
        assert "a" in cache.vectors("m", ["a"], 3)
    assert not own_cache.exists()


def test_a_fingerprint_is_the_files_sha256_and_is_read_once(tmp_path: Path, own_cache: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"abc")
    calls: list[int] = []
    with Cache.default() as cache:
        first = cache.fingerprint(file, lambda _task, done, _total: calls.append(done))
        assert first == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert cache.fingerprint(file, lambda _task, done, _total: calls.append(done)) == first
        assert calls == [0]
        file.write_bytes(b"abd")
        os.utime(file, ns=(1, 1))
        assert cache.fingerprint(file) != first


def test_a_split_models_fingerprint_is_of_all_its_parts(tmp_path: Path) -> None:
    parts = [tmp_path / f"m-0000{i}-of-00002.gguf" for i in (1, 2)]
    for part in parts:
        write_model(part)
    with Cache(None) as cache:
        before = cache.fingerprint(parts[0])
        parts[1].write_bytes(parts[1].read_bytes() + b"x")
        assert cache.fingerprint(parts[0]) != before


def test_two_processes_share_a_cache(own_cache: Path) -> None:
    code = (
        "import sys, numpy as np\nfrom rella_cpp import Cache\n"
        "with Cache.default() as c:\n"
        "    for i in range(100):\n"
        "        c.add_vectors('m', {f'{sys.argv[1]} {i}': np.ones(4, np.float32)})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("a", "b")]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    with Cache.default() as cache:
        assert cache.info().vectors == 200


def test_a_cache_that_cannot_be_used_says_so(own_cache: Path) -> None:
    own_cache.write_text("a file in the folder's place")
    with pytest.raises(InputError, match="cannot be used.*RELLA_CACHE"), Cache.default() as cache:
        cache.info()
    own_cache.unlink()
    own_cache.mkdir()
    (own_cache / "rella.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="cannot be used.*delete"), Cache.default() as cache:
        cache.info()
