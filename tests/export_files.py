"""Exports of 30 invented rows, as services write them."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROWS = range(30)


def table(header: str, rows: Sequence[Sequence[object]], delimiter: str = ",") -> str:
    """Write rows under a header that commas part."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(header.split(","))
    writer.writerows(rows)
    return text.getvalue()


def film(n: int) -> str:
    """Name an invented film; some have commas and quotes."""
    return (f"Harbor {n}", f'The "Quiet" Lake, Part {n}', f"Überfahrt {n}")[n % 3]


def day(n: int) -> str:
    """Give a day of 2023."""
    return f"2023-{n % 12 + 1:02}-{n % 28 + 1:02}"


def letterboxd_ratings() -> str:
    """Write 30 films, 2 of them without a rating."""
    rows = [[day(n), film(n), 1980 + n, f"https://boxd.it/{n}", "" if n in (3, 7) else n % 10 / 2 + 0.5] for n in ROWS]
    return table("Date,Name,Year,Letterboxd URI,Rating", rows)


def letterboxd_diary() -> str:
    """Write 30 entries: 4 without a rating, 5 films that were seen before."""
    rows = [
        [day(n), film(n % 25), 1980 + n % 25, f"https://boxd.it/{n}", "" if n in (6, 7, 8, 9) else 4, "", "", day(n)]
        for n in ROWS
    ]
    return table("Date,Name,Year,Letterboxd URI,Rating,Rewatch,Tags,Watched Date", rows)


def letterboxd_films() -> str:
    """Write 30 films, as watched.csv and watchlist.csv have them."""
    return table("Date,Name,Year,Letterboxd URI", [[day(n), film(n), 1980 + n, f"https://boxd.it/{n}"] for n in ROWS])


def _imdb(n: int, episode: str, movie: str) -> str:
    return episode if n in (4, 5) else movie


def imdb_ratings() -> str:
    """Write 30 titles: 2 of television, 1 without a rating."""
    rows = [
        [
            f"tt{n:07}", "" if n == 9 else n % 10 + 1, day(n), film(n), film(n), f"https://imdb.example/{n}",
            _imdb(n, "TV Series", "Movie"), 7.4, 100, 1980 + n, "Drama, Sci-Fi", 1000, day(n), "Ada Example",
        ]
        for n in ROWS
    ]  # fmt: skip
    return table(
        "Const,Your Rating,Date Rated,Title,Original Title,URL,Title Type,IMDb Rating,Runtime (mins),Year,Genres,"
        "Num Votes,Release Date,Directors",
        rows,
    )


def imdb_old_ratings() -> str:
    """Write 30 titles as before 2017: 2 of television."""
    rows = [
        [
            n + 1, f"tt{n:07}", f"Sat Apr {n % 28 + 1:2} 00:00:00 2013", "", "", film(n),
            _imdb(n, "TV Series", "Feature Film"), "Ada Example", n % 10 + 1, 7.4, 100, 1980 + n, "drama, sci_fi", 9,
            day(n), f"http://imdb.example/{n}",
        ]
        for n in ROWS
    ]  # fmt: skip
    return table(
        "position,const,created,modified,description,Title,Title type,Directors,You rated,IMDb Rating,Runtime (mins),"
        "Year,Genres,Num. Votes,Release Date (month/day/year),URL",
        rows,
    )


def imdb_watchlist() -> str:
    """Write 30 titles to come: 2 of television."""
    rows = [
        [
            n + 1, f"tt{n:07}", day(n), day(n), "", film(n), film(n), f"https://imdb.example/{n}",
            _imdb(n, "TV Mini Series", "Movie"), 7.4, 100, 1980 + n, "Drama", 1000, day(n), "Ada Example", "", "",
        ]
        for n in ROWS
    ]  # fmt: skip
    return table(
        "Position,Const,Created,Modified,Description,Title,Original Title,URL,Title Type,IMDb Rating,Runtime (mins),"
        "Year,Genres,Num Votes,Release Date,Directors,Your Rating,Date Rated",
        rows,
    )


def goodreads() -> str:
    """Write 30 books: 18 read, 2 of them without a rating; 10 to read, 2 being read."""
    shelves = {n: "to-read" if n < 10 else "currently-reading" if n < 12 else "read" for n in ROWS}
    rows = [
        [
            n, f"Saltmarsh {n} (The Tides, #{n})", "Ada Example", "Example, Ada", "", '="0000000000"', '=""',
            n % 5 + 1 if n >= 14 else 0, 3.9, "Small Press", "Paperback", 300, 2010, 1990 + n,
            f"2022/05/{n + 1:02}" if n >= 12 else "", f"2022/01/{n + 1:02}", "", "", shelves[n], "", "", "", 1, 0,
        ]
        for n in ROWS
    ]  # fmt: skip
    return table(
        "Book Id,Title,Author,Author l-f,Additional Authors,ISBN,ISBN13,My Rating,Average Rating,Publisher,Binding,"
        "Number of Pages,Year Published,Original Publication Year,Date Read,Date Added,Bookshelves,"
        "Bookshelves with positions,Exclusive Shelf,My Review,Spoiler,Private Notes,Read Count,Owned Copies",
        rows,
    )


def storygraph() -> str:
    """Write 30 books: 20 read, 1 of them without a rating; 10 to read."""
    rows = [
        [
            f"Saltmarsh {n}", "Ada Example, Bo Example", "", "", "paperback", "to-read" if n < 10 else "read",
            f"2022/01/{n + 1:02}", f"2022/05/{n + 1:02}" if n >= 10 else "", "", 1, "dark", "slow", "Character", "Yes",
            "Yes", "Yes", "Yes", "" if n in (*range(10), 11) else n % 20 / 4 + 0.25, "", "", "", "", "No",
        ]
        for n in ROWS
    ]  # fmt: skip
    return table(
        "Title,Authors,Contributors,ISBN/UID,Format,Read Status,Date Added,Last Date Read,Dates Read,Read Count,Moods,"
        "Pace,Character- or Plot-Driven?,Strong Character Development?,Loveable Characters?,Diverse Characters?,"
        "Flawed Characters?,Star Rating,Review,Content Warnings,Content Warning Description,Tags,Owned?",
        rows,
    )


def _trakt(time: str, more: Callable[[int], dict[str, object]]) -> str:
    entries = []
    for n in ROWS:
        thing = {"title": film(n), "year": 1980 + n, "ids": {"trakt": n, "slug": f"film-{n}", "imdb": f"tt{n:07}"}}
        kind = "show" if n in (4, 5, 6) else "movie"
        entries.append({time: f"{day(n)}T20:15:00.000Z", "type": kind, kind: thing} | more(n))
    return json.dumps(entries)


def trakt_ratings() -> str:
    """Write 30 ratings, 3 of them of shows."""
    return _trakt("rated_at", lambda n: {"rating": n % 10 + 1})


def trakt_history() -> str:
    """Write 30 entries, 3 of them of shows."""
    return _trakt("watched_at", lambda n: {"id": n, "action": "watch"})


def trakt_watchlist() -> str:
    """Write 30 entries, 3 of them shows."""
    return _trakt("listed_at", lambda n: {"rank": n, "notes": None})


def movielens() -> str:
    """Write 30 ratings; MovieLens puts articles behind and years into titles."""
    rows = [[n, n, n, n % 10 / 2 + 0.5, 3.72, f"Lighthouse {n}, The ({1970 + n})"] for n in ROWS]
    return table("movie_id,imdb_id,tmdb_id,rating,average_rating,title", rows)


def netflix() -> str:
    """Write 30 views: 10 of episodes, 1 film seen twice."""
    titles = [f"Harbor Watch: Season 1: Night {n}" if n < 10 else film(10 if n == 29 else n) for n in ROWS]
    return table("Title,Date", [[title, f"{n % 12 + 1}/{n % 28 + 1}/23"] for n, title in enumerate(titles)])


def own_table() -> str:
    """Write 30 rows as people write them; 1 without a title, 2 without stars."""
    stars = ("★★★★½", "4/5", "8/10", "3,5", "2", "☆")
    rows = [
        ["" if n == 1 else film(n), 1980 + n, "" if n in (2, 3) else stars[n % 5], day(n), "Drama|Crime"] for n in ROWS
    ]
    return table("Movie,Release Year,My Rating,Watched Date,Genre", rows, ";")


def titles() -> str:
    """Write 30 titles, one a line."""
    return "".join(f"{film(n)} ({1980 + n})\n" for n in ROWS)


def archive(path: Path, members: dict[str, str]) -> Path:
    """Zip texts by their names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as whole:
        for name, text in members.items():
            whole.writestr(name, text)
    return path


FILES: dict[str, Callable[[], str]] = {
    "ratings.csv": letterboxd_ratings,
    "diary.csv": letterboxd_diary,
    "watched.csv": letterboxd_films,
    "watchlist.csv": letterboxd_films,
    "imdb.csv": imdb_ratings,
    "imdb-old.csv": imdb_old_ratings,
    "WATCHLIST.csv": imdb_watchlist,
    "goodreads_library_export.csv": goodreads,
    "storygraph.csv": storygraph,
    "ratings-movies.json": trakt_ratings,
    "watched-history-1.json": trakt_history,
    "lists-watchlist.json": trakt_watchlist,
    "movielens-ratings.csv": movielens,
    "NetflixViewingHistory.csv": netflix,
    "mine.csv": own_table,
    "titles.txt": titles,
}


def write(folder: Path, name: str, text: str | None = None) -> Path:
    """Write a file of that name: its own export, or a text."""
    path = folder / name
    path.write_text(FILES[name]() if text is None else text, encoding="utf-8", newline="")
    return path
