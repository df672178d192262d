"""JSON tables are read an entry at a time, and give what json.loads gives."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rella_cpp import InputError
from rella_cpp.datasets.tables import json_rows, streams
from rella_cpp.datasets.tables.sources import SourceFile

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def rows(folder: Path, text: str, name: str = "a.json") -> list[json_rows.Row]:
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    file = SourceFile(name, str(folder / name))
    return list((json_rows.json_rows if name.endswith(".json") else json_rows.json_lines)(file))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(values=st.lists(VALUES), block=st.integers(1, 40), indent=st.none() | st.integers(0, 3), ascii=st.booleans())
def test_a_list_gives_its_entries_wherever_blocks_end(
    tmp_path: Path, values: list[object], block: int, indent: int | None, ascii: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_BLOCK", block)
        found = rows(tmp_path, json.dumps(values, indent=indent, ensure_ascii=ascii))
    assert found == [
        (f"row {n}", value if isinstance(value, dict) else "is no object") for n, value in enumerate(values, 1)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(values=st.lists(VALUES, min_size=1), cut=st.integers(0, 200), block=st.integers(1, 40))
def test_a_list_cut_short_is_refused_where_json_loads_says(
    tmp_path: Path, values: list[object], cut: int, block: int
) -> None:
    text = json.dumps(values, indent=1)
    text = text[: 1 + cut % (len(text) - 1)]
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InputError) as caught:
        patch.setattr(json_rows, "_BLOCK", block)
        rows(tmp_path, text)
    assert f"line {expected.value.lineno}, column {expected.value.colno}: is not JSON" in str(caught.value)


def test_a_file_of_objects_by_line_is_read_whatever_its_ending(tmp_path: Path) -> None:
    text = '{"a": 1}\n\n{"a": 2}\n7\n'
    expected = [("line 1", {"a": 1}), ("line 3", {"a": 2}), ("line 4", "is no object")]
    assert rows(tmp_path, text) == rows(tmp_path, text, "a.jsonl") == expected


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{"a": 1}', "a.json: is an object ('{\"a\": 1}'); give a list of objects"),
        ("a.json", '{"a":\n 1}', "a.json: is an object ('{\"a\": 1}'); give a list of objects"),
        ("a.json", "", "line 1, column 1: is not JSON"),
        ("a.json", "[{}] 7", "line 1, column 6: is not JSON (Extra data)"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", str([{"a": None}]), "what Python prints"),
        ("a.json", str({"a": None}), "what Python prints"),
        ("a.json", f"{ {'a': 1} }\n{ {'a': 2} }\n", "line 1: is what Python prints, not JSON"),
        ("a.jsonl", f"{ {'a': 1} }\n", "line 1: is what Python prints, not JSON"),
        ("a.jsonl", '{"a": "' + "x" * (1 << 24) + '"}\n', "line 1: is longer than 16 MiB"),
        ("a.json", '[{"a": "' + "x" * (1 << 25) + '"}]', "row 1: is longer than 16 MiB"),
        ("a.json", '{"a": "' + "x" * (1 << 24) + '"}\n{}', "line 1: is longer than 16 MiB"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        rows(tmp_path, text, name)
    assert said in str(caught.value)


def test_a_line_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "\xe9"}\n{"a": 1}\n')
    file = SourceFile("a.jsonl", str(tmp_path / "a.jsonl"))
    assert list(json_rows.json_lines(file)) == [("line 1", "is not in UTF-8"), ("line 2", {"a": 1})]
    assert streams.LONGEST_LINE == 1 << 24
