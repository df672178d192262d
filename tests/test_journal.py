import json
from pathlib import Path

import pytest

from rella_cpp import InputError
from rella_cpp.storage.journal import Journal, JournalFiles, groups_of

LAYOUT = JournalFiles("a list", "list.json", "lines.jsonl", (), "make it again")
LINES = [{"n": number} for number in range(20)]


def begin(folder: Path, settings: dict[str, object] | None = None) -> Journal:
    return Journal(folder, LAYOUT, settings or {"of": "lines"}, LINES, groups=groups_of(len(LINES), 8))


@pytest.mark.parametrize(
    ("whole", "part", "done"),
    [
        (18, b'{"n": 1', 16),  # the example in the module's docstring: a kill while line 19 was written
        (20, b"", 20),  # killed before the rename: the last group is whole, though it is shorter
        (16, b"", 16),
        (7, b"{", 0),
        (0, b'{"n": 0}', 0),  # without its line break a line is none
    ],
)
def test_a_killed_run_goes_on_behind_its_last_whole_group(tmp_path: Path, whole: int, part: bytes, done: int) -> None:
    with begin(tmp_path) as journal:
        assert journal.done == 0
    text = b"".join(json.dumps(line).encode() + b"\n" for line in LINES[:whole])
    (tmp_path / "lines.jsonl.part").write_bytes(text + part)
    with begin(tmp_path) as journal:
        assert journal.done == done and journal.complete == (done == 20)
        for start in range(done, 20, 8):
            journal.write(LINES[start : start + 8])
        journal.publish()
    assert [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()] == LINES
    assert not (tmp_path / "lines.jsonl.part").exists()


def test_other_settings_are_refused_once_there_are_lines(tmp_path: Path) -> None:
    with begin(tmp_path):
        pass
    with begin(tmp_path, {"of": "others"}) as journal:  # nothing was written: it stands in nobody's way
        journal.write(LINES[:8])
    with pytest.raises(InputError, match="is a list with another of: others, not lines"):
        begin(tmp_path)
