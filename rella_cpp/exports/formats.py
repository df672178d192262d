"""What other services call their columns, and on which scale they rate: a table. One reader takes all of it.

To add a format, add a `Format` to `FORMATS`. Names of columns are compared without case, blanks and punctuation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rella_cpp.domains.values import TIMES_TAKEN

ISO = "iso"
"""In place of a pattern for `strptime`: a number or a text that `read_time` takes."""
FILMS = ("movie", "tvmovie", "featurefilm", "film", "short", "tvshort", "video", "documentary")
"""What IMDb and Trakt call films, as `key` writes it: those of television and shorts, too."""
ANY_DATE = (
    ISO, "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y",
    "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
"""How dates are written where nobody says how; the first that reads all of a file is taken."""
DATES_TAKEN = f"{TIMES_TAKEN}, or a date such as 2024-05-31 or 5/31/2024"


def key(name: str) -> str:
    """Return a name as it is compared: its letters and digits, in small."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that a service writes.

    Parameters
    ----------
    name
        What it is called in messages.
    known_by
        Columns by which it is known: of several formats that have them all, the one that names most is meant.
    fields
        An item's field → its column, or several: the first that is filled. Fields that a domain lacks are not read.
    kind
        What its items are: `movie`, `book`, or anything.
    rating, scale
        The column of ratings; the lowest and highest of these and of averages; no scale: the domain's own.
    zero_is_none
        A rating of 0 is none.
    time, dates
        Columns of the time, the first that is filled; how it is written.
    same
        Columns in which two rows of the same item agree; none: its title, year and author.
    type, types
        The column that says what a row is, and what is taken, as `key` writes it.
    episodes
        Titles such as `Show: Season 1: Pilot` are episodes of series.
    shelf, done, wanted
        The column that says on which shelf an item is: those of a history, and of items to come.
    person
        The column that says whose row it is.
    history, items
        How rich it is for a history, and for items, where an archive holds several: 1 is the richest; 0: it is none.
    wishes
        It lists what somebody wants: no history, but for what has a rating.
    stem
        A word in the name of its file, where another format has the same columns.
    exact
        It has no other columns.
    diary
        It lists what somebody did, so that an item may come again.

    """

    name: str
    known_by: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]
    kind: str = ""
    rating: str = ""
    scale: tuple[float, float] | None = None
    zero_is_none: bool = False
    time: tuple[str, ...] = ()
    dates: tuple[str, ...] = (ISO,)
    same: tuple[str, ...] = ()
    type: str = ""
    types: tuple[str, ...] = ()
    episodes: bool = False
    shelf: str = ""
    done: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    person: str = ""
    history: int = 0
    items: int = 9
    wishes: bool = False
    stem: str = ""
    exact: bool = False
    diary: bool = False
    known: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        """Keep the keys of the columns by which it is known."""
        object.__setattr__(self, "known", frozenset(map(key, self.known_by)))


_LETTERBOXD: Mapping[str, tuple[str, ...]] = {"title": ("Name",), "year": ("Year",)}
_IMDB: Mapping[str, tuple[str, ...]] = {
    "title": ("Title",),
    "year": ("Year",),
    "genres": ("Genres",),
    "director": ("Directors",),
    "average": ("IMDb Rating",),
}
_IMDB_AGES = (ISO, "%a %b %d %H:%M:%S %Y", "%a %b %d %Y")
_TRAKT: Mapping[str, tuple[str, ...]] = {
    "title": ("title",),
    "year": ("year",),
    "genres": ("genres",),
    "overview": ("overview",),
    "average": ("average",),
}
_MOVIELENS: Mapping[str, tuple[str, ...]] = {"title": ("title",), "average": ("average_rating",)}

FORMATS = (
    Format(
        "Letterboxd ratings", ("Name", "Letterboxd URI", "Rating"), _LETTERBOXD, kind="movie",
        rating="Rating", scale=(0.5, 5), time=("Date",), history=1, items=4,
    ),
    Format(
        "Letterboxd diary", ("Name", "Letterboxd URI", "Rating", "Watched Date"), _LETTERBOXD, kind="movie",
        rating="Rating", scale=(0.5, 5), time=("Watched Date", "Date"), history=2, items=5, diary=True,
    ),
    Format(
        "Letterboxd reviews", ("Name", "Letterboxd URI", "Rating", "Watched Date", "Review"), _LETTERBOXD, kind="movie",
        rating="Rating", scale=(0.5, 5), time=("Watched Date", "Date"), history=3, items=6, diary=True,
    ),
    Format(
        "Letterboxd films", ("Name", "Letterboxd URI"), _LETTERBOXD, kind="movie", time=("Date",), history=4, items=7,
    ),
    Format(
        "Letterboxd watchlist", ("Name", "Letterboxd URI"), _LETTERBOXD, kind="movie",
        items=1, wishes=True, stem="watchlist",
    ),
    Format(
        "IMDb ratings", ("Const", "Your Rating", "Title"), _IMDB, kind="movie", rating="Your Rating", scale=(1, 10),
        time=("Date Rated",), same=("Const",), type="Title Type", types=FILMS, history=1, items=4,
    ),
    Format(
        "IMDb ratings before 2017", ("const", "created", "position", "Title", "You rated"), _IMDB, kind="movie",
        rating="You rated", scale=(1, 10), time=("created",), dates=_IMDB_AGES, same=("const",),
        type="Title type", types=FILMS, history=1, items=4,
    ),
    Format(
        "IMDb list", ("Const", "Created", "Position", "Title"), _IMDB, kind="movie", rating="Your Rating",
        scale=(1, 10), time=("Date Rated", "Created"), dates=_IMDB_AGES, same=("Const",), type="Title Type",
        types=FILMS, history=5, items=1, wishes=True,
    ),
    Format(
        "Goodreads", ("Title", "Author", "My Rating", "Exclusive Shelf"),
        {
            "title": ("Title",),
            "author": ("Author",),
            "year": ("Original Publication Year", "Year Published"),
            "publisher": ("Publisher",),
            "average": ("Average Rating",),
        },
        kind="book", rating="My Rating", scale=(1, 5), zero_is_none=True, time=("Date Read", "Date Added"),
        dates=("%Y/%m/%d", ISO), same=("Book Id",), shelf="Exclusive Shelf", done=("read",), wanted=("to-read",),
        history=1, items=1,
    ),
    Format(
        "StoryGraph", ("Title", "Authors", "Read Status", "Star Rating"),
        {"title": ("Title",), "author": ("Authors",)},
        kind="book", rating="Star Rating", scale=(0.25, 5), zero_is_none=True, time=("Last Date Read", "Date Added"),
        dates=("%Y/%m/%d", ISO), shelf="Read Status", done=("read", "did-not-finish"), wanted=("to-read",),
        history=1, items=1,
    ),
    Format(
        "Trakt ratings", ("trakt", "rated_at"), _TRAKT, kind="movie", rating="rating", scale=(1, 10),
        zero_is_none=True, time=("rated_at",), same=("trakt",), type="type", types=FILMS, history=1, items=4,
    ),
    Format(
        "Trakt history", ("trakt", "watched_at"), _TRAKT, kind="movie", scale=(1, 10), time=("watched_at",),
        same=("trakt",), type="type", types=FILMS, history=2, items=5, diary=True,
    ),
    Format(
        "Trakt watched", ("trakt", "last_watched_at"), _TRAKT, kind="movie", scale=(1, 10),
        time=("last_watched_at",), same=("trakt",), type="type", types=FILMS, history=3, items=6,
    ),
    Format(
        "Trakt watchlist", ("trakt", "listed_at"), _TRAKT, kind="movie", scale=(1, 10), same=("trakt",), type="type",
        types=FILMS, items=1, wishes=True,
    ),
    Format(
        "MovieLens ratings", ("movie_id", "imdb_id", "rating", "average_rating", "title"), _MOVIELENS, kind="movie",
        rating="rating", scale=(0.5, 5), same=("movie_id",), history=1, items=4,
    ),
    Format(
        "MovieLens wishlist", ("movie_id", "imdb_id", "average_rating", "title"), _MOVIELENS, kind="movie",
        scale=(0.5, 5), same=("movie_id",), items=1, wishes=True,
    ),
    Format(
        "Netflix viewing history", ("Title", "Date"), {"title": ("Title",)}, kind="movie", time=("Date",),
        dates=("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", ISO), episodes=True, exact=True,
        history=2, items=5, diary=True,
    ),
    Format(
        "Netflix viewing activity", ("Profile Name", "Start Time", "Title", "Supplemental Video Type"),
        {"title": ("Title",)}, kind="movie", time=("Start Time",), type="Supplemental Video Type", types=("",),
        person="Profile Name", episodes=True, history=1, items=4, diary=True,
    ),
)  # fmt: skip
