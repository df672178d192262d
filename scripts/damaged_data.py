"""Damaged tables, histories, items, domains, recipes and prepared data sets, and the commands that take them."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from mutations import ODD_JSON, damage_bytes, damage_json
from pyarrow import parquet

Command = tuple[str, ...]
Maker = Callable[[Path, Path, Random], list[Command]]
"""Makes a damaged input from the whole ones in a folder, in a folder of its own; gives the commands that take it."""

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
_COLUMNS = {"user": "uid", "item": "iid", "rating": "stars", "time": "when"}
_OPTIONS = (*(word for role, name in _COLUMNS.items() for word in (f"--{role}-column", name)), "--liked-above", "3")
_ODD_FIELDS = (
    *("", " ", "nan", "inf", "-1", "0", "1e999", "5,0", "NULL", '"', "a\nb", "\x00", "\ufeff", "x" * 200_000),
    *("2001-02-03", "99999999999999999999", "0x10", "\u202e", "☃", ";;;", "\t", "{}", "[1]", "true"),
)
_ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig", "latin-1", "utf-16-le", "utf-32")
_SHARED_TYPES = (pa.int8(), pa.int64(), pa.float64(), pa.string(), pa.large_string(), pa.bool_(), pa.binary())
_RECIPE = """domain = "movies"
[interactions]
file = "r.csv"
user = "uid"
item = "iid"
rating = "stars"
timestamp = "when"
[items]
file = "m.csv"
id = "iid"
title = "name"
separator = "|"
[rules]
liked_above = 3
min_history = 5
split = [8, 1, 1]
by = "time"
"""


def whole_inputs(folder: Path, dice: Random) -> Command:
    """Write what is damaged later; return the command that prepares the data set among it."""
    events = [
        {"uid": user, "iid": item, "stars": dice.randint(1, 5), "when": 1_000_000_000 + dice.randrange(10**6)}
        for user in range(1, 9)
        for item in dice.sample(range(1, 16), 9)
    ]
    films = [{"iid": n, "name": f"Film, {n}", "year": 1990 + n, "genres": "Drama|War"} for n in range(1, 16)]
    for name, rows in (("r", events), ("m", films)):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        (folder / f"{name}.csv").write_text(text.getvalue())
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / f"{name}.json").write_text(json.dumps(rows, indent=1))
        parquet.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    (folder / "recipe.toml").write_text(_RECIPE)
    return _prepare(folder / "r.csv", folder / "m.csv", folder / "prepared")


def _prepare(events: Path, films: Path, out: Path) -> Command:
    table = ("data", "prepare", "table", str(events), str(out), "--items", str(films), "--title-column", "name")
    return (*table, *_OPTIONS, "--skip-bad-rows", "--force", "--json")


def _table(whole: Path, folder: Path, dice: Random, ending: str) -> list[Command]:
    """Damage the interactions or the items, both of one ending."""
    for name in ("r", "m"):
        shutil.copy(whole / f"{name}{ending}", folder)
    path = folder / f"{dice.choice('rm')}{ending}"
    if dice.random() < 0.35:
        path.write_bytes(damage_bytes(path.read_bytes(), dice))
    else:
        _DAMAGES[ending](path, dice)
    return [_prepare(folder / f"r{ending}", folder / f"m{ending}", folder / "out")]


def _damage_csv(path: Path, dice: Random) -> None:
    rows = list(csv.reader(io.StringIO(path.read_text())))
    for _ in range(dice.choice((1, 1, 3))):
        row = dice.choice((rows[0], *rows))
        if not row or dice.random() < 0.1:
            row.append("x")
        elif dice.random() < 0.1:
            del row[dice.randrange(len(row))]
        else:
            row[dice.randrange(len(row))] = dice.choice(_ODD_FIELDS)
    text = io.StringIO()
    csv.writer(text, delimiter=dice.choice(",,,;\t|~"), lineterminator=dice.choice(("\n", "\r\n", "\r"))).writerows(
        rows
    )
    path.write_bytes(text.getvalue().encode(dice.choice(_ENCODINGS), errors="replace"))


def _damage_lines(path: Path, dice: Random) -> None:
    lines = path.read_text().splitlines()
    for at in dice.sample(range(len(lines)), dice.choice((1, 1, 3))):
        value = json.loads(lines[at])
        if dice.random() < 0.8:
            value[dice.choice([*value, "new"])] = dice.choice((*ODD_JSON, *_ODD_FIELDS))
        written = dice.choice((json.dumps(value), json.dumps(value), str(value), json.dumps([value]), lines[at] * 2))
        lines[at] = written
    path.write_bytes("\n".join(lines).encode(dice.choice(_ENCODINGS), errors="replace"))


def _damage_json_file(path: Path, dice: Random) -> None:
    path.write_bytes(damage_json(path.read_bytes(), dice))


def _damage_parquet(path: Path, dice: Random) -> None:
    parquet.write_table(damage_table(parquet.read_table(path), dice), path)


def damage_table(table: pa.Table, dice: Random) -> pa.Table:
    """Change one column: its name, its type, its order, some of its values; or leave it out, or add it again."""
    name = dice.choice(table.column_names)
    at, values = table.column_names.index(name), table[name].combine_chunks()
    match dice.randrange(8):
        case 0:
            return table.drop_columns([name])
        case 1:
            return table.append_column(dice.choice((name, "new")), values)
        case 2:
            return table.rename_columns([f"{n} " if n == name else n for n in table.column_names])
        case 3:
            return table.set_column(at, name, _as_type(values, dice.choice(_SHARED_TYPES)))
        case 4:
            return table.slice(dice.randrange(len(table)))
        case 5:
            return table.set_column(at, name, values.take(pa.array(dice.sample(range(len(values)), len(values)))))
        case 6:
            return pa.concat_tables([table, table.slice(0, dice.choice((1, len(table))))])
        case _:
            return table.set_column(at, name, _with_odd(values, dice))


def _as_type(values: Any, kind: pa.DataType) -> Any:
    try:
        return values.cast(kind, safe=False)
    except pa.ArrowException:
        return pa.array([[None, "x"]] * len(values))


def _with_odd(values: Any, dice: Random) -> Any:
    """Put odd values into some rows, of the column's own type where they fit; raw bytes into texts."""
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    listed = values.to_pylist()
    odd: tuple[object, ...] = (
        None,
        -1,
        0,
        2,
        5,
        127,
        2**31 - 1,
        1e30,
        float("inf"),
        float("nan"),
        "",
        "x",
        [],
        [None],
        b"\xff",
    )
    for _ in range(dice.choice((1, 1, 5))):
        listed[dice.randrange(len(listed))] = dice.choice(odd)
    texts = pa.types.is_string(kind)
    for wanted in (pa.binary() if texts else kind, kind, None):
        try:
            raw = [v.encode() if texts and isinstance(v, str) and wanted == pa.binary() else v for v in listed]
            made = pa.array(raw, wanted)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            continue
        made = made.view(pa.string()) if texts and wanted == pa.binary() else made
        return made.dictionary_encode() if pa.types.is_dictionary(values.type) and wanted is not None else made
    return pa.array([str(value) for value in listed])


_DAMAGES = {
    ".csv": _damage_csv,
    ".jsonl": _damage_lines,
    ".json": _damage_json_file,
    ".parquet": _damage_parquet,
}


def _tables(whole: Path, folder: Path, dice: Random) -> list[Command]:
    return _table(whole, folder, dice, dice.choice(tuple(_DAMAGES)))


def _records(whole: Path, folder: Path, dice: Random) -> list[Command]:
    """Damage a history, an item or a list of items."""
    name = dice.choice(("history", "item", "items"))
    path = folder / f"{name}.json"
    data = (EXAMPLES / path.name).read_bytes()
    path.write_bytes(damage_json(data, dice) if dice.random() < 0.6 else damage_bytes(data, dice))
    if dice.random() < 0.2:
        path.write_bytes(path.read_bytes().decode(errors="replace").encode(dice.choice(_ENCODINGS), errors="replace"))
    given = {"history": EXAMPLES / "history.json", name: path}
    command = "score" if name == "item" else "rank"
    items = given.get("item") or given.get("items") or EXAMPLES / "items.json"
    model = ("--model", str(whole / "spm.gguf"), "--threads", "1", "--json", "--allow-empty-history")
    return [(command, "--history", str(given["history"]), "--item", str(items), *model)]


def _toml(text: str, dice: Random) -> bytes:
    """Damage a TOML file by bytes, or give one of its values another, or its keys another name."""
    if dice.random() < 0.3:
        return damage_bytes(text.encode(), dice)
    lines = text.splitlines()
    at = dice.choice([number for number, line in enumerate(lines) if line.strip()])
    odd = (
        "1",
        "-1",
        "true",
        '""',
        "[]",
        "{}",
        "nan",
        "2001-01-01",
        '"{{ 1/0 }}"',
        '"{% for %}"',
        "[1, 'a']",
        '"x\\u0000"',
    )
    match dice.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines[at] = lines[at].partition("=")[0] + f"= {dice.choice(odd)}"
        case _:
            lines[at] = lines[at].replace("e", "", 1)
    return "\n".join(lines).encode(dice.choice(_ENCODINGS), errors="replace")


def _domain(_whole: Path, folder: Path, dice: Random) -> list[Command]:
    source = dice.choice(sorted((ROOT / "rella_cpp/domains").glob("*.toml")))
    path = folder / "own.toml"
    path.write_bytes(_toml(source.read_text(encoding="utf-8"), dice))
    return [("domains", str(path), "--json")]


def _recipe(whole: Path, folder: Path, dice: Random) -> list[Command]:
    path = folder / "recipe.toml"
    path.write_bytes(_toml((whole / "recipe.toml").read_text(), dice))
    return [("data", "prepare", "table", str(whole), str(folder / "out"), "--recipe", str(path), "--json")]


def _prepared(whole: Path, folder: Path, dice: Random) -> list[Command]:
    """Damage a file of a prepared data set, most often with its checksum made right again."""
    damaged = folder / "data"
    shutil.copytree(whole / "prepared", damaged)
    path = dice.choice(sorted(damaged.iterdir()))
    if path.suffix == ".json":
        path.write_bytes(
            damage_json(path.read_bytes(), dice) if dice.random() < 0.8 else damage_bytes(path.read_bytes(), dice)
        )
    elif dice.random() < 0.8:
        _damage_parquet(path, dice)
    else:
        path.write_bytes(damage_bytes(path.read_bytes(), dice))
    if dice.random() < 0.9:
        seal_again(damaged)
    judge = ("--model", str(whole / "spm.gguf"), "--threads", "1", "--limit", "1", "--json")
    return [("data", "info", str(damaged)), ("evaluate", str(damaged), "--out", str(folder / "run"), *judge)]


def seal_again(folder: Path, name: str = "manifest.json") -> None:
    """Let a damaged folder's checksums be right, so that what reads its files is tried, too."""
    from rella_cpp.storage.artifacts import read_json, sha256, write_json

    try:
        facts = read_json(folder / name, "", sealed=False)
        facts["files"] = {file: sha256(folder / file) for file in facts["files"]}
        facts.pop("sha256", None)
        write_json(folder / name, facts)
    except Exception:  # the manifest itself is what was damaged
        return


DATA_MAKERS: dict[str, Maker] = {
    "table": _tables,
    "records": _records,
    "domain": _domain,
    "recipe": _recipe,
    "prepared": _prepared,
}
