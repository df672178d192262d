"""Outputs appear whole, never over an input, and two processes do not mix theirs."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rella_cpp.storage.artifacts import brief, new_folder, write_json
from rella_cpp.storage.journal import Journal, JournalFiles
from rella_cpp.tuning.features import FeatureFile
from rella_gguf import InputError
from rella_gguf.files import check_output, locked, new_file


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with new_file(path) as file:
        file.write(b"....")
        assert not path.exists()
        file.seek(0)  # a header is filled in at the end
        file.write(b"head")
    assert path.read_bytes() == b"head"
    with pytest.raises(ZeroDivisionError), new_file(path) as file:
        file.write(b"other")
        _ = 1 / 0
    assert path.read_bytes() == b"head" and os.listdir(tmp_path) == ["x.bin"]


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "x.bin.part").write_bytes(b"a long rest of something")
    with new_file(tmp_path / "x.bin") as file:
        file.write(b"new")
    assert (tmp_path / "x.bin").read_bytes() == b"new" and os.listdir(tmp_path) == ["x.bin"]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path, refused = tmp_path / "x.bin", []

    def other() -> None:
        try:
            with new_file(path) as file:
                file.write(b"other")
        except InputError as error:
            refused.append(str(error))

    with new_file(path) as file:
        file.write(b"mine")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert path.read_bytes() == b"mine"
    assert len(refused) == 1 and "another process" in refused[0]


@pytest.mark.parametrize("name", [".", "", "/", "folder", "x" * 253, "pipe"])
def test_what_is_no_name_for_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    path = Path(name) if name in (".", "", "/") else tmp_path / name
    with pytest.raises(InputError), new_file(path):
        pass
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_an_output_that_is_read_is_refused_through_links_too(tmp_path: Path) -> None:
    read = tmp_path / "read"
    read.write_text("x")
    for name, link in (("soft", os.symlink), ("hard", os.link)):
        link(read, tmp_path / name)
    for name in ("read", "soft", "hard"):
        with pytest.raises(InputError, match="is one of the inputs"):
            check_output(tmp_path / name, [read], force=True)
    os.link(read, tmp_path / "out.part")  # it would be written under that name first
    with pytest.raises(InputError, match=r"out\.part: is one of the inputs"):
        check_output(tmp_path / "out", [read], force=True)
    check_output(tmp_path / "new", [read], force=False)
    (tmp_path / "old").write_text("y")
    check_output(tmp_path / "old", [read], force=True)
    with pytest.raises(InputError, match="is there already"):
        check_output(tmp_path / "old", [read], force=False)


def write_folder(out: Path) -> None:
    with new_folder(out, "mark", "folder of tests", force=False) as part:
        (part / "manifest.json").write_text('{"mark": 1}')


@contextmanager
def another_process(code: str, *arguments: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run code in a process that says when it has come far enough, and then waits to be killed."""
    wait = "print(flush=True); time.sleep(600)"
    command = [sys.executable, "-c", code.replace("WAIT", wait), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        try:
            yield process
        finally:
            process.kill()


WRITES_A_FOLDER = """
import pathlib, sys, time
from rella_cpp.storage.artifacts import new_folder
with new_folder(pathlib.Path(sys.argv[1]), "mark", "folder of tests", force=False) as part:
    (part / "half").touch()
    WAIT
"""


def test_a_folder_is_written_by_one_process_and_a_killed_one_holds_nobody_up(tmp_path: Path) -> None:
    out, said = tmp_path / "out", "out: is being written by another process; wait for it, or name another folder"
    with another_process(WRITES_A_FOLDER, out) as process:
        with pytest.raises(InputError, match=said):
            write_folder(out)
        assert (tmp_path / ".out.rella-part/half").exists() and not out.exists()
        process.kill()
        process.wait()
    assert sorted(os.listdir(tmp_path)) == [".out.rella-lock", ".out.rella-part"]
    write_folder(out)
    assert os.listdir(tmp_path) == ["out"] and os.listdir(out) == ["manifest.json"]


def test_a_folder_that_is_overwritten_is_not_lost_before_the_new_one_stands(tmp_path: Path) -> None:
    out, old = tmp_path / "out", tmp_path / ".out.rella-old"
    write_folder(out)
    (out / "kept").touch()
    out.rename(old)  # as a kill between the two renames leaves it
    with pytest.raises(InputError, match="out: is there already"):
        write_folder(out)
    assert (out / "kept").exists() and os.listdir(tmp_path) == ["out"]
    with suppress(KeyError), new_folder(out, "mark", "folder of tests", force=True):
        raise KeyError
    assert (out / "kept").exists()
    with new_folder(out, "mark", "folder of tests", force=True) as part:
        (part / "new").touch()
        assert (out / "kept").exists()
    assert os.listdir(out) == ["new"] and os.listdir(tmp_path) == ["out"]


def test_what_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    write_folder(tmp_path / "out")
    with pytest.raises(InputError, match="out: is there already"):
        write_folder(tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with (
        pytest.raises(InputError, match="mine: is there already, and no folder of tests"),
        new_folder(tmp_path / "mine", "mark", "folder of tests", force=True),
    ):
        pass
    assert (tmp_path / "mine/thesis.txt").exists() and len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize(("number", "left"), [(errno.EACCES, True), (errno.ENOLCK, False)])
def test_a_lock_that_cannot_be_had_is_removed_only_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, left: bool
) -> None:
    lock = tmp_path / ".out.rella-lock"
    lock.touch()  # another user's, in use, perhaps

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    with pytest.raises(InputError, match=rf"cannot be written \({os.strerror(number)}"), locked(tmp_path / "out"):
        pass
    assert lock.exists() is left


def test_all_names_of_a_folder_have_one_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    monkeypatch.chdir(tmp_path / "folder")
    with locked(tmp_path / "link"):
        for name in (tmp_path / "folder", Path("."), Path("../link")):
            with pytest.raises(InputError, match="another process"), locked(name):
                pass
    assert sorted(os.listdir(tmp_path)) == ["folder", "link"]


def test_the_lock_is_in_a_folder_that_nothing_can_be_made_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)
    with locked(tmp_path / "folder"):
        assert os.listdir(tmp_path) == ["folder"] and len(os.listdir(tmp_path / "folder")) == 1
        with pytest.raises(InputError, match="another process"), locked(tmp_path / "folder"):
            pass
    assert os.listdir(tmp_path / "folder") == []


def write_file(out: Path) -> None:
    with new_file(out) as file:
        file.write(b"new")


def write_lines(out: Path) -> None:
    layout = JournalFiles("a run", "settings.json", "lines.jsonl", (), "do it again")
    with Journal(out, layout, {}, [{"n": 1}], groups=[range(1)]) as journal:
        journal.write([{"n": 1}])
        journal.publish()


def write_features(out: Path) -> None:
    with FeatureFile(out, {}, width=1, most=1):
        pass


LINKS: list[tuple[Callable[[Path], None], str]] = [
    (write_file, "out.part"),
    (write_file, ".out.rella-lock"),
    (write_folder, ".out.rella-part"),
    (write_folder, ".out.rella-old"),
    (write_folder, ".out.rella-lock"),
    (write_lines, ".out.rella-lock"),
    (write_lines, "out/lines.jsonl.part"),
    (write_features, ".out.rella-lock"),
    (write_features, "out/features.part"),
    (write_features, "out"),
]


@pytest.mark.parametrize(("write", "name"), LINKS)
@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_link_where_a_part_is_to_stand_is_refused_and_not_followed(
    tmp_path: Path, write: Callable[[Path], None], name: str, kind: str
) -> None:
    victim, link = tmp_path / "victim", tmp_path / "here" / name
    link.parent.mkdir(parents=True)
    if link.parent.name == "out":
        write_json(link.parent / "settings.json", {})
    if kind == "file":
        victim.write_text('{"n": 1}\n{"n":')
    elif kind == "folder":
        victim.mkdir()
        (victim / "thesis.txt").write_text("x")
    link.symlink_to(victim)
    with pytest.raises(InputError, match=rf"{name}: is a symbolic link, and is to be written; remove it") as caught:
        write(tmp_path / "here" / "out")
    assert len(str(caught.value).splitlines()) == 1 and link.is_symlink()
    if kind == "file":
        assert victim.read_text() == '{"n": 1}\n{"n":'
    elif kind == "folder":
        assert os.listdir(victim) == ["thesis.txt"]
    else:
        assert not victim.exists()


def test_settings_are_written_briefly() -> None:
    adapter = {"name": "a.gguf", "fingerprint": "b" * 64, "scale": 0.5}
    assert brief([adapter]) == "a.gguf × 0.5 (bbbbbbbbbbbb)"
    assert brief("c" * 64) == "cccccccccccc" and brief(None) == "none" and brief(5) == "5"
    assert brief({"name": "ml-1m", "fingerprint": "d" * 64}) == "name ml-1m, fingerprint dddddddddddd"
