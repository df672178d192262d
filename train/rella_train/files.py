"""The rows that `rella export` wrote and their manifest: read, and what is damaged refused in one line. No torch."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

AGAIN = "export the rows again"
SHOWN = 40  # characters of what is refused
HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair


class Row(NamedTuple):
    """A row: its number in the file, its text, and the character at which each answer begins, and which it is."""

    number: int
    text: str
    spans: list[tuple[int, int]]


class Layout(NamedTuple):
    """The answers that rows may have: their words, and which of them mean that the item is liked."""

    stream: bool
    labels: list[str]
    liked: list[bool]

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> "Layout":
        """Take it from a manifest that `read_manifest` has checked."""
        if manifest.get("layout") != "stream":
            return cls(False, list(manifest["answers"]), [True, False])
        levels = manifest["levels"]
        return cls(True, [level["label"] for level in levels], [level["liked"] for level in levels])


def read_manifest(rows: Path) -> dict[str, Any]:
    """Read what rows come from; refuse such as have no answers to choose from."""
    path = rows.with_name(f"{rows.stem}.manifest.json")
    for file in (rows, path):
        if not file.is_file():
            raise SystemExit(f"{file}: no such file; rella export writes rows and their manifest")
    data = path.read_bytes()
    manifest = _parse(data, str(path))
    if not isinstance(manifest, dict) or "form" not in manifest:
        raise SystemExit(f'{path}: {_shown(data)} is no manifest, a JSON object with "form"; {AGAIN}')
    if manifest["form"] != "text":
        raise SystemExit(f"{rows}: holds rows of the form {manifest['form']!r}; export them with --format text")
    key, check, wanted = (
        ("levels", _are_levels, 'at least two like {"label": "5", "liked": true}')
        if manifest.get("layout") == "stream"
        else ("answers", _are_answers, 'two words like ["Yes", "No"]')
    )
    if manifest.get(key) is None:
        raise SystemExit(f"{rows}: holds rows that no yes or no answers; rella_train.soft_prompt reads them")
    if not check(manifest[key]):
        raise SystemExit(f'{path}: its "{key}" are {_shown(manifest[key])}, not {wanted}; {AGAIN}')
    return manifest


def read_rows(path: Path, layout: Layout) -> Iterator[Row]:
    """Yield the rows of a file; refuse what is none, by its number."""
    number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield _row(line, number, f"{path}, row {number}", layout)
    if not number:
        raise SystemExit(f"{path}: holds no rows; export some")


def _row(line: bytes, number: int, where: str, layout: Layout) -> Row:
    row = _parse(line, where)
    wanted = ("answers" if layout.stream else "label", "text")
    if not isinstance(row, dict) or not row.keys() >= set(wanted):
        raise SystemExit(f"{where}: {_shown(line)} is no row with {' and '.join(wanted)}; {AGAIN}")
    text = row["text"]
    if not _is_text(text) and text != "":
        raise SystemExit(f'{where}: its "text" is {_shown(text)}, not a text of whole characters; {AGAIN}')
    found = _stream_spans(row["answers"], text, layout) if layout.stream else _word_span(row["label"], text, layout)
    if isinstance(found, str):
        raise SystemExit(f"{where}: {found}; {AGAIN}")
    return Row(number, text, found)


def _stream_spans(answers: Any, text: str, layout: Layout) -> list[tuple[int, int]] | str:
    """Return where the answers of a stream begin, and their levels; or what is wrong with them."""
    if not isinstance(answers, list):
        return f'its "answers" are {_shown(answers)}, not a list'
    spans, free = [], 0  # where the answer before ends
    for number, answer in enumerate(answers, start=1):
        known = answer if isinstance(answer, dict) else {}
        start, end, level = (known.get(name) for name in ("start", "end", "level"))
        if not _is_within(level, 0, len(layout.labels) - 1):
            return f'answer {number} has the "level" {_shown(level)}, not one of 0 to {len(layout.labels) - 1}'
        if not (_is_within(start, free, len(text) - 1) and _is_within(end, start + 1, len(text))):
            place = f'"start" {_shown(start)} and "end" {_shown(end)}'
            return f"answer {number} has {place}, not one behind the other in {free} to {len(text)}"
        spans.append((start, level))
        free = end
    return spans


def _word_span(label: Any, text: str, layout: Layout) -> list[tuple[int, int]] | str:
    """Return where the word at the end of a text begins, and which it is; or what is wrong."""
    if label not in (0, 1):
        return f'its "label" is {_shown(label)}, not 0 or 1'
    answer = 0 if label else 1
    word = layout.labels[answer]
    if not text.endswith(word):
        return f'its "text" ends with {_shown(text[-len(word) :])}, not with {word!r} as its "label" says'
    return [(len(text) - len(word), answer)]


def _are_levels(value: Any) -> bool:
    """Tell whether these are the levels of a stream."""
    many = isinstance(value, list) and len(value) > 1
    return many and all(
        isinstance(level, dict) and _is_text(level.get("label")) and isinstance(level.get("liked"), bool)
        for level in value
    )


def _are_answers(value: Any) -> bool:
    """Tell whether these are the words for yes and no."""
    return isinstance(value, list) and len(value) == 2 and all(map(_is_text, value))


def _is_text(value: Any) -> bool:
    """Tell whether a value is a text, and one that has an encoding: JSON may hold half a surrogate pair."""
    return isinstance(value, str) and value != "" and not HALF.search(value)


def _is_within(value: Any, low: int, high: int) -> bool:
    """Tell whether a value is a whole number between two; true is none."""
    return type(value) is int and low <= value <= high


def _parse(data: bytes, where: str) -> Any:
    """Parse JSON; return None for what is none."""
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SystemExit(f"{where}: byte {error.start + 1} is not UTF-8; {AGAIN}") from None
    except (ValueError, RecursionError):
        return None


def _shown(value: Any) -> str:
    """Write the bytes of a file, or a value of its JSON, in short."""
    if isinstance(value, bytes):
        text = value.decode("utf-8").strip()
        return repr(text[:SHOWN]) + "…" * (len(text) > SHOWN)
    text = json.dumps(value)
    return text[:SHOWN] + "…" * (len(text) > SHOWN)
