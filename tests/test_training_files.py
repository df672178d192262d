"""Which rows the example that trains LoRA reads, and how it refuses what is damaged. Without torch."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

LEVELS = [{"label": str(level + 1), "liked": level > 2, "value": level + 1.0} for level in range(5)]
STREAM = {"form": "text", "layout": "stream", "levels": LEVELS, "answers": None}
QUESTION = {"form": "text", "answers": ["Yes", "No"]}
ROW: dict[str, Any] = {
    "text": "Heat: 4\nBig: 2\n",
    "answers": [{"start": 6, "end": 7, "level": 3}, {"start": 13, "end": 14, "level": 1}],
}


@pytest.fixture(scope="module")
def files() -> Any:
    return importlib.import_module("rella_train.files")


def refusal(read: Any) -> str:
    """Return the one line that is said, which ends with what to do."""
    with pytest.raises(SystemExit) as refused:
        read()
    said = refused.value.code
    assert isinstance(said, str) and "\n" not in said and "; " in said and len(said) < 400
    return said


def manifest_of(files: Any, folder: Path, data: bytes) -> Any:
    (folder / "x.jsonl").write_bytes(b"{}\n")
    (folder / "x.manifest.json").write_bytes(data)
    return files.read_manifest(folder / "x.jsonl")


def rows_of(files: Any, folder: Path, manifest: dict[str, Any], *lines: bytes) -> list[Any]:
    path = folder / "x.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return list(files.read_rows(path, files.Layout.of(manifest)))


def coded(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("manifest", [STREAM, QUESTION])
def test_a_manifest_is_read_as_it_stands(files: Any, tmp_path: Path, manifest: dict[str, Any]) -> None:
    assert manifest_of(files, tmp_path, coded(manifest)) == manifest
    layout = files.Layout.of(manifest)
    words = (["1", "2", "3", "4", "5"], [False] * 3 + [True] * 2) if layout.stream else (["Yes", "No"], [True, False])
    assert (layout.labels, layout.liked) == words


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "'' is no manifest"),
        (coded(STREAM)[:50], 'is no manifest, a JSON object with "form"'),
        (b"[]", "'[]' is no manifest"),
        (b"{}", "'{}' is no manifest"),
        (b"[" * 100000, "is no manifest"),
        (b'{"form": "caf\xe9"}', "byte 14 is not UTF-8"),
        (coded({**STREAM, "form": 3}), "holds rows of the form 3"),
        (coded({**STREAM, "levels": None}), "rella_train.soft_prompt reads them"),
        (coded({**QUESTION, "answers": None, "levels": LEVELS}), "rella_train.soft_prompt reads them"),
    ],
)
def test_what_is_no_manifest_is_refused(files: Any, tmp_path: Path, data: bytes, said: str) -> None:
    assert said in refusal(lambda: manifest_of(files, tmp_path, data))


@pytest.mark.parametrize(
    "levels",
    [
        [],
        3,
        "12345",
        {"label": "1"},
        LEVELS[:1],
        [1, 2],
        [{"liked": True}] * 2,
        [{"label": "1"}] * 2,
        [{"label": 1, "liked": True}] * 2,
        [{"label": "", "liked": True}] * 2,
        [{"label": "\ud800", "liked": True}] * 2,
        [{"label": "1", "liked": "no"}] * 2,
    ],
)
def test_levels_that_are_none_are_refused(files: Any, tmp_path: Path, levels: Any) -> None:
    said = refusal(lambda: manifest_of(files, tmp_path, coded({**STREAM, "levels": levels})))
    assert said.startswith(f'{tmp_path / "x.manifest.json"}: its "levels" are {json.dumps(levels)[:9]}')


@pytest.mark.parametrize("answers", [[], 3, "Yes", ["Yes"], ["Yes", 3], ["Yes", ""], ["Yes", "No", "Maybe"]])
def test_answers_that_are_none_are_refused(files: Any, tmp_path: Path, answers: Any) -> None:
    said = refusal(lambda: manifest_of(files, tmp_path, coded({**QUESTION, "answers": answers})))
    assert f'its "answers" are {json.dumps(answers)}, not two words' in said


def test_rows_are_read_with_the_places_of_their_answers(files: Any, tmp_path: Path) -> None:
    found = rows_of(files, tmp_path, STREAM, coded(ROW), coded({"text": "", "answers": []}))
    assert found == [(1, ROW["text"], [(6, 3), (13, 1)]), (2, "", [])]
    rows = [{"text": "Good? Yes", "label": 1}, {"text": "Bad? No", "label": False}]
    assert rows_of(files, tmp_path, QUESTION, *map(coded, rows)) == [
        (1, "Good? Yes", [(6, 0)]),
        (2, "Bad? No", [(5, 1)]),
    ]


def answer(**facts: Any) -> dict[str, Any]:
    """The row with its first answer changed."""
    changed = {**ROW["answers"][0], **facts}
    return {**ROW, "answers": [{name: value for name, value in changed.items() if value != "gone"}]}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"", "'' is no row with answers and text"),
        (b'{"text": "A', "is no row with answers and text"),
        (b"[]", "'[]' is no row with"),
        (b"5", "'5' is no row with"),
        (b"[" * 100000, "is no row with"),
        (coded({"text": "A"}), "is no row with"),
        (b'{"text": "caf\xe9", "answers": []}', "byte 14 is not UTF-8"),
        (coded({**ROW, "text": None}), 'its "text" is null'),
        (coded({**ROW, "text": 5}), 'its "text" is 5'),
        (coded({**ROW, "text": "a\ud800"}), r'its "text" is "a\ud800", not a text of whole characters'),
        (coded({**ROW, "answers": 3}), 'its "answers" are 3, not a list'),
        (coded({**ROW, "answers": None}), 'its "answers" are null'),
        (coded({**ROW, "answers": [3]}), 'answer 1 has the "level" null, not one of 0 to 4'),
        *[
            (coded(answer(level=level)), f'answer 1 has the "level" {json.dumps(level)}, not one of 0 to 4')
            for level in (9, "4", -1, True, 3.0, None)
        ],
        (coded(answer(level="gone")), 'answer 1 has the "level" null, not one of 0 to 4'),
        *[
            (coded(answer(**facts)), ", not one behind the other in 0 to 15")
            for facts in (
                {"start": "gone"},
                {"end": "gone"},
                {"start": "4"},
                {"start": -1},
                {"start": 15, "end": 16},
                {"start": 99, "end": 100},
                {"end": 16},
                {"start": 7, "end": 6},
                {"start": 6, "end": 6},
            )
        ],
        (
            coded({**ROW, "answers": ROW["answers"][::-1]}),
            'answer 2 has "start" 6 and "end" 7, not one behind the other in 14 to 15',
        ),
    ],
)
def test_a_row_that_is_none_is_named(files: Any, tmp_path: Path, row: bytes, said: str) -> None:
    found = refusal(lambda: rows_of(files, tmp_path, STREAM, coded(ROW), row))
    assert found.startswith(f"{tmp_path / 'x.jsonl'}, row 2: ") and said in found


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "Good? Yes"}, "is no row with label and text"),
        ({"text": "Good? Yes", "label": "1"}, 'its "label" is "1", not 0 or 1'),
        ({"text": "Good? Yes", "label": None}, 'its "label" is null'),
        ({"text": "Good? Yes", "label": 0}, """its "text" ends with "es", not with 'No'"""),
        ({"text": "", "label": 1}, """its "text" ends with "", not with 'Yes'"""),
    ],
)
def test_a_row_with_no_word_at_its_end_is_named(files: Any, tmp_path: Path, row: dict[str, Any], said: str) -> None:
    found = refusal(lambda: rows_of(files, tmp_path, QUESTION, coded(row)))
    assert found.startswith(f"{tmp_path / 'x.jsonl'}, row 1: ") and said in found


def test_a_file_without_rows_is_refused(files: Any, tmp_path: Path) -> None:
    assert "holds no rows; export some" in refusal(lambda: rows_of(files, tmp_path, STREAM))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 20) | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("text", "answers", "label", "start", "end", "level")), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=40) | ANYTHING.map(coded), st.sampled_from((STREAM, QUESTION)))
def test_any_line_is_a_row_or_refused(
    files: Any, tmp_path_factory: pytest.TempPathFactory, line: bytes, manifest: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        found = rows_of(files, folder, manifest, line.replace(b"\n", b" "))
    except SystemExit as refused:
        assert isinstance(refused.code, str) and "\n" not in refused.code
    else:
        assert all(0 <= start < len(row.text) for row in found for start, _ in row.spans)
