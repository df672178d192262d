"""The cache where it cannot be used, and where it goes away while it is in use."""

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, runner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft_folder import write_peft, write_soft

import rella_gguf
from rella_cpp import Adapter, Cache, InputError, Rella
from rella_cpp.recommender.attachments import Attachments
from rella_cpp.storage.cache import default_folder
from rella_gguf import Conversion

EXAMPLES = Path(__file__).parent.parent / "examples"
VECTORS = {f"text {number}": np.full(8, number + 1, dtype=np.float32) for number in range(40)}


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def fill(folder: Path) -> Path:
    """Make a cache with something in it; return its file."""
    with Cache(folder) as cache:
        cache.add_vectors("m", VECTORS)
    return folder / "rella.sqlite"


def check(cache: Cache) -> None:
    """What is put into it comes back."""
    cache.add_vectors("m", VECTORS)
    assert cache.vectors("m", ["text 3", "other"], 8)["text 3"].tolist() == [4.0] * 8
    cache.add_texts("m", {"prompt": "told"})
    assert cache.texts("m", ["prompt"]) == {"prompt": "told"}
    cache.add_gap("m", "prompt", 0.5)
    assert cache.gap("m", "prompt") == 0.5
    assert cache.fingerprint(__file__) == cache.known_fingerprint(__file__)
    assert cache.folder_for("adapters").is_dir()


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def garble(file: Path) -> None:
    file.write_bytes(b"no database at all" * 1000)


def remove(file: Path) -> None:
    file.unlink()


def remove_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def become_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def become_a_file(file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.write_text("a file in the folder's place", encoding="utf-8")


def lie_below_a_file(file: Path) -> None:
    become_a_file(file)
    file.parent.rename(file.parent.with_suffix(".file"))
    file.parent.symlink_to(file.parent.with_suffix(".file") / "below")


@pytest.mark.parametrize("trouble", [garble, halve, become_a_folder, become_a_file, lie_below_a_file])
@pytest.mark.parametrize("in_use", [False, True])
def test_a_cache_that_cannot_be_used_is_one_warning(
    own_cache: Path, caplog: pytest.LogCaptureFixture, trouble: Callable[[Path], None], in_use: bool
) -> None:
    file = fill(own_cache)
    with Cache(own_cache) as cache:
        if in_use:
            cache.vectors("m", ["text 1"], 8)
        trouble(file)
        check(cache)
        check(cache)
    (record,) = caplog.records
    assert record.name == "rella_cpp" and record.levelno == logging.WARNING
    assert str(own_cache) in record.getMessage() and "RELLA_CACHE" in record.getMessage()


@pytest.mark.parametrize("trouble", [empty, remove, remove_folder])
@pytest.mark.parametrize("in_use", [False, True])
def test_a_cache_cleared_while_it_is_in_use_is_made_anew(
    own_cache: Path, caplog: pytest.LogCaptureFixture, trouble: Callable[[Path], None], in_use: bool
) -> None:
    file = fill(own_cache)
    with Cache(own_cache) as cache:
        if in_use:
            cache.vectors("m", ["text 1"], 8)
        trouble(file)
        assert cache.vectors("m", ["text 1"], 8) == {}
        check(cache)
    assert not caplog.records
    with Cache(own_cache) as cache:  # what came afterwards is kept
        assert len(cache.vectors("m", list(VECTORS), 8)) == len(VECTORS)
    assert file.stat().st_mode & 0o077 == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 40_000), junk=st.binary(max_size=100), in_use=st.booleans())
def test_whatever_happens_to_the_file_what_is_put_in_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, length: int, junk: bytes, in_use: bool
) -> None:
    caplog.clear()
    file = fill(tmp_path / "own")
    with Cache(file.parent) as cache:
        if in_use:
            cache.vectors("m", ["text 1"], 8)
        whole = file.read_bytes()
        end = whole[length + len(junk) :] if len(junk) > 50 else b""  # written over, or cut
        file.write_bytes(whole[:length] + junk + end)
        check(cache)
    assert len(caplog.records) <= 1
    shutil.rmtree(file.parent)


def test_a_damaged_cache_is_mended_by_clearing_it(own_cache: Path, rella: Run) -> None:
    garble(fill(own_cache))
    refused = rella("cache", "info")
    assert refused.code == 2 and refused.err.count("\n") == 1 and "cannot be used" in refused.err
    assert rella("cache", "clear").code == 0
    assert json.loads(rella("cache", "info", "--json").out)["vectors"] == 0


def test_a_full_disk_is_one_warning(tmp_path: Path) -> None:
    # What a limit of a file's size refuses, SQLite takes for a full disk.
    code = (
        "import resource, sys, numpy as np\nfrom pathlib import Path\nfrom rella_cpp import Cache\n"
        "with Cache(Path(sys.argv[1])) as cache:\n"
        "    cache.info()\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "    vectors = {str(i): np.ones(100, np.float32) for i in range(1000)}\n"
        "    cache.add_vectors('m', vectors)\n"
        "    assert len(cache.vectors('m', list(vectors), 100)) == 1000\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "cache"], capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 1 and "cannot be used" in done.stderr


def test_a_busy_cache_is_waited_for_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, opened = sqlite3.connect, []

    def connect(*arguments: object, **more: object) -> sqlite3.Connection:
        opened.append(arguments[0])
        return real(*arguments, **(more | {"timeout": 0.05}))  # type: ignore[call-overload, no-any-return]

    file = fill(own_cache)
    monkeypatch.setattr(sqlite3, "connect", connect)
    other = real(file)
    other.execute("BEGIN EXCLUSIVE")
    with Cache(own_cache) as cache:
        check(cache)
    other.close()
    assert opened == [file, ":memory:"]


def test_a_command_goes_on_without_its_cache(
    rella: Run, roomy_model: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("score", "--history", EXAMPLES / "history.json", "--item", EXAMPLES / "item.json", "--json", "-k", "2")
    usual = rella(*given, "--model", roomy_model)
    become_a_file(own_cache / "rella.sqlite")
    result = rella(*given, "--model", roomy_model)
    assert (result.code, result.out) == (0, usual.out)
    assert sum("the cache in" in line for line in result.err.splitlines()) == 1 and "WARNING" not in usual.err


@pytest.mark.parametrize("variable", ["RELLA_CACHE", "RELLA_STATE"])
def test_a_folder_of_nobody_is_one_line(
    rella: Run, roomy_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "~nobody-of-that-name/x")
    given = ("score", "--history", EXAMPLES / "history.json", "--item", EXAMPLES / "item.json")
    result = rella(*given, "--model", roomy_model)
    assert (result.code, result.out) == (2, "") and not list(tmp_path.glob("~*"))
    assert result.err == (
        f"rella: {variable} is '~nobody-of-that-name/x', and there is no such user; name a folder in {variable}\n"
    )


def nobody(number: int) -> None:
    raise KeyError(number)


def test_without_a_home_a_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELLA_CACHE")
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with monkeypatch.context() as unknown:
        unknown.setattr("pwd.getpwuid", nobody)
        with pytest.raises(InputError, match=r"there is no home folder.*name a folder in RELLA_CACHE"):
            default_folder()
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("RELLA_CACHE", "~/own")
    assert default_folder() == Path("/somewhere/own")


@pytest.fixture
def peft(tmp_path: Path) -> Path:
    return write_peft(tmp_path / "carol", seed=13)


def converted(folder: Path) -> list[Path]:
    return sorted(folder.glob("adapters/*/*.gguf"))


@pytest.mark.parametrize("trouble", [empty, halve, remove, lambda file: file.write_bytes(b"x" * file.stat().st_size)])
def test_a_damaged_conversion_is_made_again(
    own_cache: Path, peft: Path, roomy_model: Path, trouble: Callable[[Path], None]
) -> None:
    with Rella.from_gguf(roomy_model, lora=[peft]):
        (file,) = converted(own_cache)
    whole = file.read_bytes()
    trouble(file)
    with Rella.from_gguf(roomy_model, lora=[peft]):
        assert converted(own_cache) == [file] and file.read_bytes() == whole


@pytest.mark.parametrize("trouble", [remove, empty])
def test_a_conversion_that_goes_before_it_is_loaded_is_made_again(
    own_cache: Path, peft: Path, roomy_model: Path, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[Path], None]
) -> None:
    gone: list[str] = []

    def go(_self: Attachments, _kind: str, path: Path, *_more: object) -> None:
        if not gone:
            trouble(path)
        gone.append(path.name)

    with Rella.from_gguf(roomy_model) as rella:
        monkeypatch.setattr(Attachments, "_try_out", go)
        rella.adapters = [peft]
        assert gone == ["carol.gguf"] * 2 and [each.path for each in rella.adapters] == converted(own_cache)


def test_what_was_converted_serves_when_the_cache_is_cleared(own_cache: Path, peft: Path, roomy_model: Path) -> None:
    history, items = [{"title": "Heat", "rating": 4}], [{"title": "Alien"}]
    with Rella.from_gguf(roomy_model, lora=[peft]) as rella:
        before = rella.rank(history, items)
        adapters = rella.adapters
        shutil.rmtree(own_cache)
        assert rella.rank(history, items) == before
        rella.adapters = []
        rella.adapters = adapters  # files in the cache, which is gone: they are made again
        assert rella.rank(history, items) == before and converted(own_cache)
        shutil.rmtree(own_cache)
        rella.use_soft(write_soft(peft.parent / "soft"), allow_mismatch=True)
        rella.adapters = [Adapter(peft, 0.5)]
        assert converted(own_cache)


def test_adapters_are_converted_where_the_cache_cannot_be_used(
    own_cache: Path, peft: Path, roomy_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_cache.write_text("a file in the folder's place", encoding="utf-8")
    history, items = [{"title": "Heat", "rating": 4}], [{"title": "Alien"}]
    with Rella.from_gguf(roomy_model, lora=[peft]) as rella, Rella.from_gguf(roomy_model, cache=Cache(None)) as other:
        other.adapters = [peft]
        assert rella.rank(history, items) == other.rank(history, items)
        lent = rella.adapters[0].path
    assert not lent.exists()  # it goes with the object
    assert sum("cannot be used" in record.getMessage() for record in caplog.records) == 1


def test_a_cache_that_fails_in_the_middle_of_a_conversion_is_given_up(
    own_cache: Path, peft: Path, roomy_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The folder of the conversion is there, as a file.
    with Rella.from_gguf(roomy_model, lora=[peft]):
        (file,) = converted(own_cache)
    shutil.rmtree(file.parent)
    file.parent.write_text("", encoding="utf-8")
    with Rella.from_gguf(roomy_model, lora=[peft]) as rella:
        assert rella.adapters[0].path.name == "carol.gguf"
    assert sum("cannot be used" in record.getMessage() for record in caplog.records) == 1


def test_a_cache_that_is_cleared_in_the_middle_of_a_conversion_is_made_anew(
    own_cache: Path, peft: Path, roomy_model: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = rella_gguf.convert_adapter, []

    def convert(given: Path, out: Path, **more: Any) -> Conversion:
        calls.append(out)
        if len(calls) == 1:
            shutil.rmtree(own_cache)
        return real(given, out, **more)

    monkeypatch.setattr(rella_gguf, "convert_adapter", convert)
    with Rella.from_gguf(roomy_model, lora=[peft]) as rella:
        assert [each.path for each in rella.adapters] == converted(own_cache) and len(calls) == 2
    assert not [record for record in caplog.records if "cannot be used" in record.getMessage()]


def test_a_folder_that_is_no_adapter_is_not_the_caches_fault(
    own_cache: Path, tmp_path: Path, roomy_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="adapter_config.json"), Rella.from_gguf(roomy_model, lora=[tmp_path / "none"]):
        pass
    assert not [record for record in caplog.records if "cannot be used" in record.getMessage()]
