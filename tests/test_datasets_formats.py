"""One table, written as people's programs write it in every format, prepares to the same bytes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rella_cpp import EventColumns, PrepareOptions, Recipe, RecordColumns, SampleRules, prepare
from rella_cpp.datasets.layout import TABLES

RECIPE_RULES = SampleRules(liked_above=3, min_history=1)


def flat(table: pd.DataFrame) -> pd.DataFrame:
    joined = {name: table[name].map(lambda v: "|".join(v) if isinstance(v, list) else v) for name in table.columns}
    return pd.DataFrame(joined)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    flat(table).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


def write_dumps(table: pd.DataFrame, path: Path) -> None:
    """Write as `json.dumps` does, which writes NaN as it is; dates as milliseconds, as pandas did for long."""
    rows = table.map(lambda v: round(v.timestamp() * 1000) if isinstance(v, pd.Timestamp) else v).to_dict("records")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_saved(table: pd.DataFrame, path: Path) -> None:
    from datasets import Dataset

    Dataset.from_pandas(table, preserve_index=False).save_to_disk(str(path))


FORMATS: Mapping[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": write_csv,
    ".tsv": write_csv,
    ".json": lambda table, path: table.to_json(path, orient="records", date_format="iso"),
    ".jsonl": lambda table, path: table.to_json(path, orient="records", lines=True, date_format="iso"),
    ".ndjson": write_dumps,
    ".parquet": lambda table, path: table.to_parquet(path),
    "": write_saved,
}


def outcome(folder: Path, ending: str, events: pd.DataFrame, films: pd.DataFrame, people: pd.DataFrame) -> object:
    """Prepare the tables in one format: the bytes of what is written, and the manifest but for the files' names."""
    source = folder / f"as{ending.replace('.', '-')}"
    source.mkdir()
    for name, table in (("events", events), ("films", films), ("people", people)):
        if len(table):
            FORMATS[ending](table, source / f"{name}{ending}")
    items = RecordColumns("iid", f"films{ending}", {"title": "name"})
    recipe = Recipe(
        "movies",
        EventColumns("uid", "iid", "stars", "when", file=f"events{ending}"),
        items if len(films) else RecordColumns(fields={"title": "name"}),
        RecordColumns("uid", f"people{ending}", {"occupation": "job"}),
        RECIPE_RULES,
    )
    data = prepare("table", source, source / "out", options=PrepareOptions(skip_bad_rows=True, recipe=recipe))
    manifest = {key: value for key, value in data.manifest.items() if key not in ("sources", "left_out", "sha256")}
    left_out = {name.partition(".")[0]: kinds for name, kinds in data.manifest["left_out"].items()}
    return {name: (data.folder / name).read_bytes() for name in TABLES} | {"rules": manifest, "left out": left_out}


TITLES = st.sampled_from(
    [
        "nan",
        "None",
        "NaN",
        "null",
        "NA",
        "300.0",
        "1984",
        "007",
        "1e5",
        "Amélie",
        "日本",
        'A "B", C',
        "A & B",
        "İ",
        "x\ny",
    ]
) | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)

IDS: Mapping[str, Callable[[int], object]] = {
    "numbers": lambda n: 100 + n,
    "large numbers": lambda n: 2**53 + 1 + n,
    "leading zeros": lambda n: f"{n:04}",
    "ISBNs": lambda n: f"08044295{n}X",
    "powers": lambda n: f"{n + 1}e5",
    "versions": lambda n: f"{n}.{n % 2}",
    "texts": lambda n: f"tt{n}.0a" if n % 2 else f"{n}.0",
    "words": lambda n: ["nan", "None", "null", "NaN", "true"][n] if n < 5 else f"w{n}",
}

SECONDS = 1_600_000_000
TIMES: Mapping[str, Callable[[int], object]] = {
    "seconds": lambda n: SECONDS + n,
    "float seconds": lambda n: SECONDS + n / 4,
    "text seconds": lambda n: str(SECONDS + n),
    "ms": lambda n: SECONDS * 1000 + n * 250,
    "us": lambda n: SECONDS * 1_000_000 + n,
    "ns": lambda n: SECONDS * 1_000_000_000 + n,
    "ISO": lambda n: f"2020-09-13T13:{n % 60:02}:22",
    "ISO with zones": lambda n: f"2020-09-13 13:{n % 60:02}:22.5+0{n % 3}:00",
    "dates": lambda n: pd.Timestamp(SECONDS * 1000 + n * 250, unit="ms"),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Draw interactions, items and users; rows without an id make a column of numbers one of floats.

    Without items the interactions have their fields.
    """
    item_id, user_id = (IDS[draw(st.sampled_from(sorted(IDS)))] for _ in range(2))
    time = TIMES[draw(st.sampled_from(sorted(TIMES)))]
    count, users = draw(st.integers(3, 7)), draw(st.integers(1, 3))
    pairs = draw(st.lists(st.tuples(st.integers(0, users - 1), st.integers(0, count - 1)), min_size=12, max_size=20))
    moments = draw(st.lists(st.integers(0, 50), min_size=len(pairs), max_size=len(pairs)))
    stars = st.sampled_from([1, 2.5, 4, 5, None]) if draw(st.booleans()) else st.sampled_from(["4.5", "3", " 2 ", None])
    events = [
        {"uid": user_id(user), "iid": item_id(item), "stars": draw(stars), "when": time(at)}
        for (user, item), at in zip(pairs, moments, strict=True)
    ]
    for lacking in draw(st.sets(st.sampled_from(["uid", "iid"]))):
        events.append(events[0] | {lacking: None})
    years = st.sampled_from([1991, 2004, None]) if draw(st.booleans()) else st.sampled_from(["1991.0", "c. 1990", "07"])
    films = [
        {
            "iid": item_id(n),
            "name": "Heat" if n < 2 else draw(TITLES | st.none()),
            "year": draw(years),
            "genres": draw(st.lists(st.sampled_from(["Drama", "nan", "1.0", "Sci-Fi"]), max_size=2) | st.none()),
        }
        for n in range(count)
    ]
    ages = st.sampled_from([30, 41, None]) if draw(st.booleans()) else st.sampled_from(["25-34", "30.0", "None"])
    people = [{"uid": user_id(n), "age": draw(ages), "job": draw(TITLES | st.none())} for n in range(users)]
    if draw(st.booleans()):
        described = [films[item] for _, item in pairs] + [films[0]] * (len(events) - len(pairs))
        events = [film | row for film, row in zip(described, events, strict=True)]
        films = []
    elif draw(st.booleans()):
        films.append(films[0] | {"iid": None})
    return pd.DataFrame(events), pd.DataFrame(films), pd.DataFrame(people)


@given(drawn=tables())
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
def test_a_table_prepares_to_the_same_bytes_in_every_format(
    drawn: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    found = {ending: outcome(folder, ending, *drawn) for ending in FORMATS}
    assert all(known == found[".csv"] for known in found.values())
