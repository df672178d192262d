"""Let processes write one output at once, with random pauses, and count what is broken.

Each time two processes build one index, two prepare one data set, and one searches an index while another adds to it.
A folder is whole if it holds the bytes that one process writes by itself, with nothing left beside it.

    python scripts/races.py --times 20
"""

import argparse
import random
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rella_cpp import (
    Cache,
    IndexSettings,
    InputError,
    Item,
    ItemIndex,
    ModelIdentity,
    add_to_index,
    build_index,
    load_domain,
    prepare,
)

CATALOG = [Item({"id": str(number), "title": f"Movie {number}"}) for number in range(60)]
FIRST = 30
"""How many items an index has that others are added to."""
REFUSALS = ("is being written by another process", "is there already")


class Pauses:
    """Waits for a moment now and then; progress, as far as the library knows."""

    def __init__(self, seed: str, most: float) -> None:
        self._random, self._most = random.Random(seed), most

    def __call__(self, *_progress: object) -> None:
        """Wait."""
        time.sleep(self._random.uniform(0, self._most))


class Embedder:
    """Embeds a title as numbers drawn by its checksum; no model is loaded."""

    domain, base, width, engine_key = load_domain("movies"), ModelIdentity("none", "0" * 64), 16, "none"

    def embed(self, items: Sequence[Item], *, pool: str = "prompt", progress: object = None) -> npt.NDArray[np.float32]:
        """Return vectors, float32 of shape (n, 16)."""
        if callable(progress):
            progress("embedding items", len(items), len(items))
        seeds = [zlib.crc32(str(item.fields["title"]).encode()) for item in items]
        return np.stack([np.random.default_rng(seed).standard_normal(16) for seed in seeds]).astype(np.float32)


def attempt(work: Callable[..., None], *arguments: object) -> str:
    """Do what one process does; return what it was refused with or failed with, "" if nothing."""
    try:
        work(*arguments)
    except InputError as error:
        return str(error)
    except Exception as error:  # whatever a damaged folder does to a library
        return repr(error)
    return ""


def build(out: Path, items: int, pauses: Pauses, force: bool) -> None:
    """Build an index."""
    pauses()
    build_index(Embedder(), CATALOG[:items], out, settings=IndexSettings(8), force=force, progress=pauses)


def prepare_data(source: Path, out: Path, pauses: Pauses, force: bool) -> None:
    """Prepare a data set."""
    pauses()
    prepare("ml-25m", source, out, force=force, progress=pauses)


def add(folder: Path, pauses: Pauses) -> None:
    """Add the rest of the catalog, a few items at a time."""
    for end in range(FIRST, len(CATALOG) + 1, 5):
        add_to_index(ItemIndex.open(folder), Embedder(), CATALOG[:end], progress=pauses)
        pauses()


def search(folder: Path, pauses: Pauses) -> None:
    """Search in an index until all of the catalog is there."""
    found = 0
    while found < len(CATALOG):
        index = ItemIndex.open(folder, cache=Cache(None))
        pauses()
        rows, _ = index.search(index.vectors([0])[0], 10)
        pauses()
        if rows[0] != 0 or len(index.ids()) != len(index) or index.item(int(rows[9])) not in CATALOG:
            raise InputError("found other neighbors", source=folder)
        found = len(index)


def write_ratings(folder: Path) -> Path:
    """Write ratings in the layout of MovieLens-25M; return the folder."""
    chance = random.Random(0)
    folder.mkdir()
    rows = [
        f"{user},{movie},{chance.randint(1, 5)},{chance.randint(1, 10**9)}"
        for user in range(1, 31)
        for movie in range(1, 13)
    ]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows, ""]))
    titles = [f"{movie},Film {movie} (1999),Drama" for movie in range(1, 13)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *titles, ""]))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of a folder's files, by name; none where there is no folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def judged(out: Path, alone: Path, said: Iterable[str]) -> str:
    """Say how two processes ended that wrote one folder: `broken`, or what became of the second."""
    refused = [text for text in said if text]
    known = all(any(refusal in text for refusal in REFUSALS) for text in refused)
    if not known or contents(out) != contents(alone) or list(out.parent.iterdir()) != [out]:
        print(out, *refused, sep="\n", file=sys.stderr)
        return "broken"
    return "one refused" if refused else "both done"


def race(times: int, seed: int, scratch: Path) -> Counter[tuple[str, str]]:
    """Let processes meet so many times; count how it ended, by what they did."""
    source, ended = write_ratings(scratch / "ratings"), Counter[tuple[str, str]]()
    none = Pauses("", 0)
    build(scratch / "index", len(CATALOG), none, False)
    prepare_data(source, scratch / "data", none, False)
    chance = random.Random(seed)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        for number in range(times):
            here = scratch / str(number)
            index, data, growing = (here / name / "out" for name in ("index", "data", "growing"))
            growing.parent.mkdir(parents=True)
            build(growing, FIRST, none, False)
            most, force = chance.choice([0.002, 0.02, 0.1]), chance.random() < 0.5
            pauses = [Pauses(f"{seed} {number} {process}", most) for process in range(6)]
            builds = [pool.submit(attempt, build, index, len(CATALOG), pause, force) for pause in pauses[:2]]
            prepared = [pool.submit(attempt, prepare_data, source, data, pause, force) for pause in pauses[2:4]]
            ended["builds", judged(index, scratch / "index", [each.result() for each in builds])] += 1
            ended["prepares", judged(data, scratch / "data", [each.result() for each in prepared])] += 1
            both = [pool.submit(attempt, add, growing, pauses[4]), pool.submit(attempt, search, growing, pauses[5])]
            failed = [text for each in both if (text := each.result())]
            if failed:
                print(growing, *failed, sep="\n", file=sys.stderr)
            ended["add and search", "broken" if failed else "both done"] += 1
    return ended


def main() -> None:
    """Race as the command line says; exit with 1 where something is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rella-") as scratch:
        ended = race(chosen.times, chosen.seed, Path(scratch))
    for (what, how), count in sorted(ended.items()):
        print(f"{what}: {how} {count}")
    broken = sum(count for (_, how), count in ended.items() if how == "broken")
    print(f"broken: {broken}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
