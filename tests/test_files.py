"""Outputs appear whole, never over an input, and two processes do not mix theirs."""

import os
import threading
from pathlib import Path

import pytest

from rella_cpp.files import brief
from rella_gguf import InputError
from rella_gguf.files import check_output, new_file


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


def test_settings_are_written_briefly() -> None:
    adapter = {"name": "a.gguf", "fingerprint": "b" * 64, "scale": 0.5}
    assert brief([adapter]) == "a.gguf × 0.5 (bbbbbbbbbbbb)"
    assert brief("c" * 64) == "cccccccccccc" and brief(None) == "none" and brief(5) == "5"
    assert brief({"name": "ml-1m", "fingerprint": "d" * 64}) == "name ml-1m, fingerprint dddddddddddd"
