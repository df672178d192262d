"""Small data sets with the quirks of the real ones, as zip archives or folders; and one as large as MovieLens-25M."""

import io
import json
import random
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv


@dataclass(frozen=True)
class Rating:
    user: int
    item: int
    rating: float
    timestamp: int


def write_files(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a zip archive where the path ends so, else a folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def random_ratings(seed: int = 0, users: int = 7, movies: int = 12, most: int = 11) -> list[Rating]:
    """Rate: every pair once at most, whole stars, few moments in time, so that ties abound."""
    dice = random.Random(seed)
    return [
        Rating(user, movie, dice.randint(1, 5), 978300000 + dice.randint(0, 40))
        for user in dice.sample(range(1, users + 1), users)
        for movie in dice.sample(range(1, movies + 1), dice.randint(1, min(most, movies)))
    ]


def movie_titles(movies: int) -> dict[int, str]:
    """Titles with every quirk first, then plain ones."""
    quirks = ["Matrix, The (1999)", "Postino, Il (The Postman) (1994)", "Misérables, Les (1995)", "Toy Story (1995)"]
    return {n: quirks[n - 1] if n <= len(quirks) else f"Movie {n} ({1950 + n % 50})" for n in range(1, movies + 1)}


def ml_1m(ratings: Sequence[Rating], *, movies: int = 12, users: int = 7, folder: str = "ml-1m/") -> dict[str, bytes]:
    """Return the files of a MovieLens-1M: `::` between fields, Latin-1."""
    codes = (1, 18, 25, 35, 45, 50, 56)
    lines = {
        "ratings": [f"{r.user}::{r.item}::{r.rating:g}::{r.timestamp}" for r in ratings],
        "movies": [f"{n}::{title}::Animation|Children's" for n, title in movie_titles(movies).items()],
        "users": [f"{n}::{'FM'[n % 2]}::{codes[n % 7]}::{n % 21}::{48000 + n}" for n in range(1, users + 1)],
    }
    return {
        f"{folder}{name}.dat": "".join(f"{line}\n" for line in rows).encode("latin-1") for name, rows in lines.items()
    }


def ml_25m(ratings: Sequence[Rating], *, movies: int = 12, folder: str = "ml-25m/") -> dict[str, bytes]:
    """Return the files of a MovieLens-25M: CSV, quotes where a title has commas."""
    titles = {**movie_titles(movies), movies: "Babylon 5"}
    rows = ["movieId,title,genres"]
    for number, title in titles.items():
        shown = f'"{title}"' if "," in title else title
        rows.append(f"{number},{shown},{'(no genres listed)' if number == movies else 'Comedy|Drama'}")
    rated = ["userId,movieId,rating,timestamp", *(f"{r.user},{r.item},{r.rating},{r.timestamp}" for r in ratings)]
    return {
        f"{folder}ratings.csv": "\n".join([*rated, ""]).encode(),
        f"{folder}movies.csv": "\r\n".join([*rows, ""]).encode(),
        f"{folder}tags.csv": b"userId,movieId,tag,timestamp\n",
    }


BOOKS_HEADER = (
    '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"'
)


def bookcrossing(ratings: Sequence[tuple[int, str, int]], books: Sequence[str], users: int = 9) -> dict[str, bytes]:
    """Return the files of a BookCrossing: `;`, Latin-1, CRLF, escaped quotes, a line break in a field, entities."""
    quirks = [
        (r"\"Wei\337\" \\; and so on".replace(r"\337", "ß"), "A; B", "0", "Simon &amp; Schuster"),
        ("Peter&#39;s\tbook", "Müller", "2099", "Tor"),
        ("Plain", "", "1999", ""),
    ]
    rows = [BOOKS_HEADER]
    for number, isbn in enumerate(books):
        fields = quirks[number] if number < len(quirks) else (f"Book {isbn}", "Ann Author", "2001", "House")
        rows.append(";".join(f'"{text}"' for text in (isbn, *fields, *["http://x"] * 3)))
    people = [
        '"User-ID";"Location";"Age"',
        '"1";"cernusco s\r\n, milan, italy";NULL',
        '"2";"dublin, n/a, ireland";"244"',
    ]
    people += [f'"{n}";"town {n}, usa";"{20 + n}"' for n in range(3, users + 1)]
    rated = ['"User-ID";"ISBN";"Book-Rating"', *(f'"{user}";"{isbn}";"{rating}"' for user, isbn, rating in ratings)]
    return {
        f"{name}.csv": "\r\n".join([*lines, ""]).encode("latin-1")
        for name, lines in (("BX-Users", people), ("BX-Books", rows), ("BX-Book-Ratings", rated))
    }


def amazon(histories: Mapping[str, Sequence[int]], items: int, untitled: Sequence[int] = ()) -> dict[str, bytes]:
    """Return the files of an Amazon set: items with their texts, users with the ids of items in order."""
    described = {
        str(number): {
            "title": "" if number in untitled else f"Staple {number}",
            "description": "Good &amp; sharp.",
            "brand": "" if number == 1 else "Stanley",
            "categories": "Industrial & Scientific,Tapes, Adhesives & Sealants,Staples",
        }
        for number in range(items)
    }
    return {
        "amazon/Tiny.item.json": json.dumps(described).encode(),
        "amazon/Tiny.inter.json": json.dumps(dict(histories)).encode(),
    }


def write_large_ml_25m(
    path: Path, ratings: int = 25_000_095, users: int = 162_541, movies: int = 62_423, seed: int = 0
) -> Path:
    """Write a zip archive of the size of MovieLens-25M: every pair once, 20 ratings a user at least."""
    dice = np.random.default_rng(seed)
    counts = np.full(users, 20)
    counts += dice.multinomial(ratings - counts.sum(), dice.dirichlet(np.full(users, 0.5)))
    counts = np.minimum(counts, movies)
    counts[0] += min(ratings - counts.sum(), movies - counts[0])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        titles = "".join(f'{n},"Movie {n}, The ({1920 + n % 100})",Comedy|Drama\n' for n in range(1, movies + 1))
        archive.writestr("ml-25m/movies.csv", "movieId,title,genres\n" + titles)
        with archive.open("ml-25m/ratings.csv", "w", force_zip64=True) as file:
            file.write(b"userId,movieId,rating,timestamp\n")
            for start in range(0, users, 5000):
                file.write(_large_part(counts[start : start + 5000], start, movies, dice))
    return path


def _large_part(counts: np.ndarray, start: int, movies: int, dice: np.random.Generator) -> bytes:
    """Give users their movies by steps that share no divisor with the number of movies: none comes twice."""
    owner = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    steps = np.flatnonzero(np.gcd(np.arange(movies), movies) == 1)
    step = dice.choice(steps, len(counts))[owner]
    first = dice.integers(0, movies, len(counts))[owner]
    table = pa.table(
        {
            "user": (owner + start + 1).astype(np.int32),
            "movie": ((first + step.astype(np.int64) * place) % movies + 1).astype(np.int32),
            "rating": dice.integers(1, 11, len(owner)) / 2,
            "timestamp": dice.integers(789_652_009, 1_574_327_703, len(owner)),
        }
    )
    sink = io.BytesIO()
    arrow_csv.write_csv(table, sink, arrow_csv.WriteOptions(include_header=False))
    return sink.getvalue()
