"""Which format a header is of: one that is known, or a table whose columns are called as the domain's fields are."""

import logging
from collections.abc import Sequence

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.field_names import other_words
from rella_cpp.domains.stream import AVERAGE
from rella_cpp.errors import InputError
from rella_cpp.exports.formats import ANY_DATE, FORMATS, Format, key
from rella_gguf.near_names import nearest, shown_name

_log = logging.getLogger("rella_cpp")
_WORDS = {
    "title": ("movie title", "film title", "book title", "primary title"),
    "year": ("release year", "released", "publication year", "year published", "movie year", "film year"),
    "rating": ("my rating", "your rating", "user rating", "my score", "star rating", "rated"),
    "timestamp": (
        "watched date", "date watched", "date rated", "rated date", "rating date", "date read", "read date",
        "last watched", "finished", "date added",
    ),
    "average": ("mean", "community rating"),
    "genres": ("genre",),
    "author": ("authors",),
    "director": ("directors", "directed by"),
}  # fmt: skip
"""What people call columns, besides what the domain and `field_names` call them."""
_PERSON = ("user", "user id", "username", "profile name", "reviewer", "person")
_KINDS = {"movie": ("movie", "film"), "book": ("book", "novel")}
_OF_DOMAINS = ("movie", "film", "book", "novel", "game", "product", "news article", "article")
"""Nouns of which it is known that a movie is none, or a book."""
_MOST_SHOWN = 12


def format_of(header: Sequence[str], name: str, domain: Domain) -> Format | None:
    """Return the format of a header: of those whose columns it has all, the one that names most; None: unknown.

    `name` is the file's: it tells a watchlist from a list of films seen where both have the same columns.
    """
    keys = [key(column) for column in header]
    found = [
        each
        for each in FORMATS
        if each.known <= set(keys)
        and each.stem in name.casefold()
        and not (each.exact and (len(keys) > len(each.known) or not fits(each, domain)))
    ]
    if found:
        return max(found, key=lambda each: (len(each.known), len(each.stem)))
    return table_format(header, domain)


def fits(found: Format, domain: Domain) -> bool:
    """Tell whether a format's items may be those of a domain: they are none where both are known, and differ."""
    return not found.kind or domain.noun not in _OF_DOMAINS or domain.noun in _KINDS[found.kind]


def check_kind(found: Format, domain: Domain, source: str) -> None:
    """Refuse a format of other things than the domain's.

    Raises
    ------
    InputError
        It is one.

    """
    if not fits(found, domain):
        other = {"movie": "movies", "book": "books"}[found.kind]
        raise InputError(
            f"is of {other} ({found.name}), but the domain {domain.name} is of {domain.plural}",
            source=source,
            remedy=f"say --domain {other}",
        )


def table_format(header: Sequence[str], domain: Domain) -> Format | None:
    """Return the format of a table by its columns' names; None where it lacks a field that the domain requires."""
    known = [field.name for field in domain.item]
    wanted = [*known, "rating", "timestamp", *([AVERAGE] if domain.reads_averages else [])]
    columns = _columns(header, wanted)
    if not all(field.name in columns for field in domain.item if field.required):
        return None
    names = {column: key(column) for column in header}
    told = "rating" in columns or "timestamp" in columns  # what only has titles lists items
    person = next((column for column, bare in names.items() if bare in map(key, _PERSON)), "")
    fields = {field: (column,) for field, column in columns.items() if field not in ("rating", "timestamp")}
    if "id" in names and "id" not in columns:
        fields["id"] = ("id",)
    return Format(
        "a table",
        tuple(columns.values()),
        fields,
        rating=columns.get("rating", "") if domain.rating is not None else "",
        time=(columns["timestamp"],) if "timestamp" in columns else (),
        dates=ANY_DATE,
        same=("id",) if "id" in fields else (),
        person=person,
        history=8 if told or domain.rating is None else 0,
        items=8,
    )


def _columns(header: Sequence[str], fields: Sequence[str]) -> dict[str, str]:
    """Find the columns of fields: those called so first, then those called by another word, the usual ones first."""
    found: dict[str, str] = {}
    for words in (lambda field: (field,), lambda field: (*other_words(field), *_WORDS.get(field, ()))):
        for field in fields:
            for word in () if field in found else words(field):
                column = next((each for each in header if key(each) == key(word)), None)
                if column is not None and column not in found.values():
                    found[field] = column
                    break
    return found


def check_spelling(header: Sequence[str], found: Format, domain: Domain, source: str) -> None:
    """Refuse a column that is misspelt: without it, another format would be taken, or a field would be missing.

    Of a table of one's own, where a column may be anything, only what is nearly `rating` is refused; what is nearly
    another field is logged.

    Raises
    ------
    InputError
        Naming the column, and what was probably meant.

    """
    own = found in FORMATS
    richer = [each for each in FORMATS if not each.exact and (not own or len(each.known) > len(found.known))]
    for meant in (*richer, *([found] if own else [])):
        for column, name in _misspelt(header, meant, wholly=meant is not found):
            finding = f"the column {shown_name(name)} is not known"
            raise InputError(finding, source=source, place="line 1", remedy=f"did you mean {column} ({meant.name})?")
    if own or not header:
        return
    taken = {column for columns in found.fields.values() for column in columns} | {found.rating, *found.time}
    left = [column for column in header if column not in taken]
    if not found.rating and domain.rating is not None:
        for name in left:
            if nearest(name, ("rating", *_WORDS["rating"]), closely=True):
                finding = f"the column {shown_name(name)} is not known"
                raise InputError(finding, source=source, place="line 1", remedy="did you mean rating?")
    for field in (each.name for each in domain.item if each.name not in found.fields):
        if near := nearest(field, left, closely=True):
            _log.warning("%s: the column %s is not read; did you mean %s?", source, shown_name(near[0]), field)


def _misspelt(header: Sequence[str], meant: Format, *, wholly: bool) -> list[tuple[str, str]]:
    """Return a format's columns that a header lacks, each with the one of it that is nearly that.

    `wholly`: of a header that has or nearly has all columns by which the format is known, all but one of them exactly.
    """
    keys = {key(name) for name in header}
    columns = [*meant.known_by, *(column for each in meant.fields.values() for column in each), *meant.time]
    own = {key(column) for column in (*columns, meant.rating, meant.type, meant.shelf, *meant.same)}
    others = [name for name in header if key(name) not in own]
    found = [
        (column, near[0])
        for column in dict.fromkeys(columns)
        if key(column) not in keys and (near := nearest(column, others, closely=True))
    ]
    if wholly:
        lacking = [column for column in meant.known_by if key(column) not in keys]
        return found if len(lacking) == 1 < len(meant.known_by) - 1 and lacking[0] in dict(found) else []
    return found


def unknown_header(header: Sequence[str], domain: Domain, source: str) -> InputError:
    """Return the refusal of a header that nobody knows: its columns, and the format that is nearest."""
    columns = [shown_name(name.strip()) for name in header[:_MOST_SHOWN]]
    more = f" and {len(header) - _MOST_SHOWN} more" if len(header) > _MOST_SHOWN else ""
    near = max(FORMATS, key=lambda each: _likeness(each, header))
    fields = [field.name for field in domain.item if field.required]
    own = f"of a table of your own, call a column {' and one '.join(fields)}"
    said = (
        f"the nearest known is {near.name}, with {', '.join(near.known_by)}; {own}" if _likeness(near, header) else own
    )
    return InputError(
        f"has a header that is not known: its columns are {', '.join(columns)}{more}",
        source=source,
        place="line 1",
        remedy=said,
    )


def _likeness(each: Format, header: Sequence[str]) -> float:
    """Return which share of the columns by which a format is known a header has, or nearly."""
    near = sum(bool(nearest(column, header, closely=True)) for column in each.known_by)
    return near / len(each.known_by)
